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
        let Some((length, rest)) = length(header.length, rest) else {
            return Parsed::NeedMore;
        };
        let Some(length) = length else {
            return Parsed::Invalid;
        };
        header.length = length;
        if second & 0x80 == 0 {
            return Parsed::Header(header, rest);
        }
        match rest.split_first_chunk() {
            Some((mask, rest)) => {
                header.mask = Some(*mask);
                Parsed::Header(header, rest)
            }
            None => Parsed::NeedMore,
        }
    }

    /// Whether its payload is a message as it stands.
    pub const fn is_plain_message(&self) -> bool {
        let alone = self.last && !self.is_continuation() && !self.is_control();
        alone && !self.compressed && self.mask.is_none()
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

/// The length that `short`, of seven bits, begins, and what follows it. The length is
/// `None` where it is not in its shortest form, or has its top bit set; all of it is where
/// there is not enough.
fn length(short: u64, rest: &[u8]) -> Option<(Option<u64>, &[u8])> {
    match short {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = u64::from(u16::from_be_bytes(*length));
            Some(((length > 125).then_some(length), rest))
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = u64::from_be_bytes(*length);
            let sound = length > 0xffff && length >> 63 == 0;
            Some((sound.then_some(length), rest))
        }
        length => Some((Some(length), rest)),
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
