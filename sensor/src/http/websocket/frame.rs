//! Frame headers of WebSocket (RFC 6455, section 5.2).
//!
//! In: bytes. Out: a [`Header`], or the place where one is. Must not know: messages.

/// Longest message that a search is ready to hold.
const LONGEST_ANCHOR: u64 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// It ends a message.
    pub last: bool,
    /// The first reserved bit.
    pub compressed: bool,
    opcode: u8,
    pub mask: Option<[u8; 4]>,
    pub length: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The header, and what follows it.
    Header(Header, &'a [u8]),
    NeedMore,
    Invalid,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

impl Header {
    /// Of no frame at all.
    pub const NONE: Self = Self {
        last: true,
        compressed: false,
        opcode: 8,
        mask: None,
        length: 0,
    };

    pub fn parse(bytes: &[u8]) -> Parsed<'_> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else {
            return Parsed::NeedMore;
        };
        let length = match second & 0x7f {
            126 => rest
                .split_first_chunk()
                .map(|(l, rest)| (u64::from(u16::from_be_bytes(*l)), rest)),
            127 => rest
                .split_first_chunk()
                .map(|(l, rest)| (u64::from_be_bytes(*l), rest)),
            length => Some((u64::from(length), rest)),
        };
        let mut header = Self {
            last: first & 0x80 != 0,
            compressed: first & 0x40 != 0,
            opcode: first & 0x0f,
            mask: None,
            length: u64::from(second & 0x7f),
        };
        if first & 0x30 != 0 || !header.is_lawful() {
            return Parsed::Invalid;
        }
        let Some((length, mut rest)) = length else {
            return Parsed::NeedMore;
        };
        // The shortest form has to be used (and the top bit is clear).
        let shortest = match second & 0x7f {
            126 => length > 125,
            127 => length > 0xffff && length >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Parsed::Invalid;
        }
        header.length = length;
        if second & 0x80 != 0 {
            let Some((mask, after)) = rest.split_first_chunk() else {
                return Parsed::NeedMore;
            };
            header.mask = Some(*mask);
            rest = after;
        }
        Parsed::Header(header, rest)
    }

    pub const fn is_control(&self) -> bool {
        self.opcode & 0x8 != 0
    }

    pub const fn is_continuation(&self) -> bool {
        self.opcode == CONTINUATION
    }

    pub const fn is_binary(&self) -> bool {
        self.opcode == BINARY
    }

    /// Undoes the mask; `passed`: octets of the payload before these.
    pub fn unmask(&self, octets: &mut [u8], passed: u64) {
        let Some(mask) = self.mask else { return };
        let turn = u32::try_from(passed % 4).unwrap_or(0);
        let mask = u32::from_be_bytes(mask).rotate_left(turn.saturating_mul(8));
        for (octet, key) in octets.iter_mut().zip(mask.to_be_bytes().iter().cycle()) {
            *octet ^= key;
        }
    }

    /// Control frames are short and whole; only the first frame of a message is marked
    /// as compressed. To be asked with the seven bits of the length alone, too.
    const fn is_lawful(&self) -> bool {
        match self.opcode {
            CONTINUATION => !self.compressed,
            TEXT | BINARY => true,
            8..=10 => self.last && !self.compressed && self.length <= 125,
            _ => false,
        }
    }
}

/// Result of a search.
#[derive(Debug, PartialEq, Eq)]
pub enum Search {
    /// A frame begins here.
    Found(usize),
    /// None begins before this place; from here on it takes more bytes to tell.
    Hold(usize),
}

/// Looks for a message in one frame that is a JSON document, the only kind that can be
/// told from its surroundings: a header is but two octets.
pub fn search(input: &[u8]) -> Search {
    let start = |octet: u8| octet == 0x80 | TEXT || octet == 0x80 | BINARY;
    for at in input
        .iter()
        .enumerate()
        .filter(|(_, octet)| start(**octet))
        .map(|(at, _)| at)
    {
        match is_document(input.get(at..).unwrap_or(&[])) {
            Some(true) => return Search::Found(at),
            Some(false) => {}
            None => return Search::Hold(at),
        }
    }
    Search::Hold(input.len())
}

/// `None`: too short to tell.
fn is_document(bytes: &[u8]) -> Option<bool> {
    let (header, payload) = match Header::parse(bytes) {
        Parsed::Header(header, payload) => (header, payload),
        Parsed::NeedMore => return None,
        Parsed::Invalid => return Some(false),
    };
    if !(2..=LONGEST_ANCHOR).contains(&header.length) {
        return Some(false);
    }
    let end = header.length.saturating_sub(1);
    let octet = |at: u64| {
        let mut octet = [*payload.get(usize::try_from(at).ok()?)?];
        header.unmask(&mut octet, at);
        Some(octet[0])
    };
    match octet(0)? {
        b'{' => Some(octet(end)? == b'}'),
        b'[' => Some(octet(end)? == b']'),
        _ => Some(false),
    }
}
