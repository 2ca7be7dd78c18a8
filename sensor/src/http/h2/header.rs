//! Frame headers of HTTP/2 (RFC 9113, sections 4.1 and 6).
//!
//! In: nine octets. Out: a [`Header`], and whether a peer would take it. Must not know:
//! what was there before.

/// What a client sends before its first frame.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Octets of a frame header.
pub const HEADER: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    Push,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Other(u8),
}

impl Kind {
    const fn from_octet(octet: u8) -> Self {
        match octet {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::Push,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Other(other),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub length: u32,
    pub kind: Kind,
    pub flags: u8,
    /// Whether the reserved bit is clear, as it has to be sent.
    pub reserved_clear: bool,
    pub stream: u32,
}

impl Header {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;

    /// Of no frame at all.
    pub const NONE: Self = Self {
        length: 0,
        kind: Kind::Other(u8::MAX),
        flags: 0,
        reserved_clear: true,
        stream: 0,
    };

    pub fn parse(octets: &[u8; HEADER]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *octets;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::from_octet(kind),
            flags,
            reserved_clear: stream & 0x8000_0000 == 0,
            stream: stream & 0x7fff_ffff,
        }
    }

    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a peer would take this frame, as far as its header tells.
    pub fn is_lawful(&self) -> bool {
        let on_stream = self.stream != 0;
        self.prefix() <= self.length
            && match self.kind {
                Kind::Data | Kind::Headers | Kind::Continuation => on_stream,
                Kind::Push => on_stream && self.length >= 4,
                Kind::Priority => on_stream && self.length == 5,
                Kind::Reset => on_stream && self.length == 4,
                Kind::Settings => !on_stream && self.length.is_multiple_of(6),
                Kind::Ping => !on_stream && self.length == 8,
                Kind::GoAway => !on_stream && self.length >= 8,
                Kind::WindowUpdate => self.length == 4,
                Kind::Other(_) => true,
            }
    }

    /// Octets before the content: pad length, priority, promised stream.
    pub const fn prefix(&self) -> u32 {
        let padding = self.is_padded() as u32;
        match self.kind {
            Kind::Headers if self.has(Self::PRIORITY) => padding.saturating_add(5),
            Kind::Push => padding.saturating_add(4),
            _ => padding,
        }
    }

    pub const fn is_padded(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers | Kind::Push) && self.has(Self::PADDED)
    }

    /// Whether its content is part of a header block.
    pub const fn carries_fields(&self) -> bool {
        matches!(self.kind, Kind::Headers | Kind::Push | Kind::Continuation)
    }
}
