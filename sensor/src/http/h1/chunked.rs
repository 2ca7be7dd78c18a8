//! The chunked transfer coding (RFC 9112, section 7.1), undone without a copy.
//!
//! In: bytes of a chunked body, cut anywhere. Out: slices of its content. Must not
//! know: to which message it belongs.

/// Where a chunked body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    /// Amid the digits of a chunk's size.
    Size { size: u64, digits: u8 },
    /// Past the digits, before the line's end; `seen` bytes of it so far.
    Extension { size: u64, seen: u16 },
    /// So many bytes of the chunk are to come.
    Data(u64),
    /// Before the line end that closes a chunk.
    DataEnd { cr: bool },
    /// In the trailer section; `line`: bytes of the current line without CR.
    Trailer { line: u32, seen: u32 },
}

/// One step through a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Data(&'a [u8]),
    /// A piece of the trailer section (RFC 9112, section 7.1.2).
    Trailers(&'a [u8]),
    /// All was framing, and more is to come.
    More,
    /// The end, with the last piece of the trailer section.
    End(&'a [u8]),
    /// This is not the chunked coding.
    Broken,
}

const LONGEST_EXTENSION: u16 = 16 << 10;
const LONGEST_TRAILERS: u32 = 64 << 10;
/// The largest chunk that is tried for after a hole; it has to be held meanwhile.
const LARGEST_TRIED: usize = 64 << 10;
const MOST_DIGITS_TRIED: usize = 8;

impl Chunked {
    pub const fn new() -> Self {
        Self::Size { size: 0, digits: 0 }
    }

    /// Past the size line of a chunk.
    const fn at_data(size: u64) -> Self {
        match size {
            0 => Self::Trailer { line: 0, seen: 0 },
            size => Self::Data(size),
        }
    }

    /// Takes a step; gives what is left of `bytes`, which must not be empty.
    pub fn step<'a>(&mut self, mut bytes: &'a [u8]) -> (Piece<'a>, &'a [u8]) {
        if let Self::Data(left) = *self {
            let here = usize::try_from(left).map_or(bytes.len(), |n| n.min(bytes.len()));
            let (data, rest) = bytes.split_at(here);
            *self = match left.saturating_sub(here as u64) {
                0 => Self::DataEnd { cr: false },
                left => Self::Data(left),
            };
            return (Piece::Data(data), rest);
        }
        if matches!(self, Self::Trailer { .. }) {
            return self.trailers(bytes);
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = rest;
            match self.framing(byte) {
                Some(()) if matches!(self, Self::Data(_) | Self::Trailer { .. }) => break,
                Some(()) => {}
                None => return (Piece::Broken, bytes),
            }
        }
        (Piece::More, bytes)
    }

    /// Goes on with the trailer section, which an empty line ends.
    fn trailers<'a>(&mut self, bytes: &'a [u8]) -> (Piece<'a>, &'a [u8]) {
        for (at, &byte) in bytes.iter().enumerate() {
            let is_end = matches!(self, Self::Trailer { line: 0, .. }) && byte == b'\n';
            if self.framing(byte).is_none() {
                return (Piece::Broken, bytes.get(at..).unwrap_or_default());
            }
            if is_end {
                let (last, rest) = bytes.split_at(at.saturating_add(1));
                return (Piece::End(last), rest);
            }
        }
        (Piece::Trailers(bytes), &[])
    }

    /// Takes one byte of framing; `None` where it is wrong.
    fn framing(&mut self, byte: u8) -> Option<()> {
        *self = match (*self, byte) {
            (Self::Size { size, digits }, _) => match (byte as char).to_digit(16) {
                Some(_) if size >> 60 != 0 => return None,
                Some(digit) => Self::Size {
                    size: size << 4 | u64::from(digit),
                    digits: 1.max(digits),
                },
                None if digits == 0 => return None,
                None if byte == b'\n' => Self::at_data(size),
                None if matches!(byte, b'\r' | b';' | b' ' | b'\t') => {
                    Self::Extension { size, seen: 0 }
                }
                None => return None,
            },
            (Self::Extension { size, .. }, b'\n') => Self::at_data(size),
            (Self::Extension { seen, .. }, _) if seen > LONGEST_EXTENSION => return None,
            (Self::Extension { size, seen }, _) => Self::Extension {
                size,
                seen: seen.saturating_add(1),
            },
            (Self::DataEnd { .. }, b'\n') => Self::new(),
            (Self::DataEnd { cr: false }, b'\r') => Self::DataEnd { cr: true },
            (Self::DataEnd { .. } | Self::Data(_), _) => return None,
            (Self::Trailer { seen, .. }, _) if seen > LONGEST_TRAILERS => return None,
            (Self::Trailer { line, seen }, _) => Self::Trailer {
                line: match byte {
                    b'\n' => 0,
                    b'\r' => line,
                    _ => line.saturating_add(1),
                },
                seen: seen.saturating_add(1),
            },
        };
        Some(())
    }

    /// Passes over `missing` bytes that were not seen. `false`: framing was among them,
    /// so that the rest cannot be read from here.
    pub fn pass(&mut self, missing: u64) -> bool {
        match *self {
            Self::Data(left) if missing < left => *self = Self::Data(left.saturating_sub(missing)),
            Self::Data(left) if missing == left => *self = Self::DataEnd { cr: false },
            _ => return false,
        }
        true
    }

    /// The size of the chunk that this line, its line end included, may open; `None` for
    /// one that is too large to be tried.
    pub fn size_line(line: &[u8]) -> Option<usize> {
        let line = line.strip_suffix(b"\r\n")?;
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, rest) = line.split_at(digits);
        if !matches!(rest, [] | [b';', ..]) || size.len() > MOST_DIGITS_TRIED {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        (size <= LARGEST_TRIED).then_some(size)
    }

    /// Whether a line that begins so may be one that opens a chunk.
    pub fn may_begin(line: &[u8]) -> bool {
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        (1..=MOST_DIGITS_TRIED).contains(&digits)
            && matches!(line.get(digits), None | Some(b'\r' | b'\n' | b';'))
    }
}
