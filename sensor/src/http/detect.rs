//! What a connection speaks, told from its bytes and never from a port.
//!
//! In: segments of a connection of which nothing is known. Out: the dissector that
//! understands them. Must not know: what comes after the first line.

use crate::event::Direction;
use crate::http::h1::Half;
use crate::http::h2;
use crate::stream::Segment;
use crate::time::Timestamp;

/// An answer about bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    Match,
    NotForUs,
    NeedMore,
}

/// The two kinds of line that open an HTTP/1 message (RFC 9112, sections 3 and 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine {
    Request,
    Response,
}

impl StartLine {
    /// What a whole line, its line end included, opens. `maybe_cut`: its start may be
    /// missing, so that of methods only those are believed that are no others' end.
    pub fn parse(line: &[u8], maybe_cut: bool) -> Option<Self> {
        let line = line.strip_suffix(b"\n")?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(rest) = line.strip_prefix(b"HTTP/1.") {
            return match rest {
                [b'0' | b'1', b' ', a, b, c] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => {
                    Some(Self::Response)
                }
                [b'0' | b'1', b' ', a, b, c, b' ', ..]
                    if [a, b, c].iter().all(|d| d.is_ascii_digit()) =>
                {
                    Some(Self::Response)
                }
                _ => None,
            };
        }
        let head = line
            .strip_suffix(b" HTTP/1.1")
            .or_else(|| line.strip_suffix(b" HTTP/1.0"))?;
        let space = head.iter().position(|&b| b == b' ')?;
        let (method, target) = head.split_at(space);
        let target = target.trim_ascii();
        let graphic = target.iter().all(|&b| b > b' ' && b != 0x7f);
        let method = if maybe_cut {
            COMMON_METHODS.contains(&method)
        } else {
            is_method(method)
        };
        (method && !target.is_empty() && graphic).then_some(Self::Request)
    }

    /// Whether a line that begins so may become one. Looks at a fixed number of bytes,
    /// so that asking after every byte stays cheap.
    pub fn may_begin(line: &[u8]) -> bool {
        const STATUS: &[u8] = b"HTTP/1.";
        if line.len().min(STATUS.len()) > 0 && line.iter().zip(STATUS).all(|(a, b)| a == b) {
            return true;
        }
        let method = line
            .iter()
            .take(LONGEST_METHOD.saturating_add(1))
            .position(|&b| b == b' ');
        match method {
            Some(end) => line.get(..end).is_some_and(is_method),
            None => line.len() <= LONGEST_METHOD && line.iter().all(|&b| is_method_byte(b)),
        }
    }
}

const LONGEST_METHOD: usize = 24;
const COMMON_METHODS: [&[u8]; 8] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"PATCH",
];

/// Any token would do (RFC 9110, section 9.1); all that are in use look like this.
fn is_method(method: &[u8]) -> bool {
    (3..=LONGEST_METHOD).contains(&method.len()) && method.iter().all(|&b| is_method_byte(b))
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_')
}

/// Whether a stream begins with a TLS record: such a connection carries nothing for us.
fn is_tls_record(bytes: &[u8]) -> bool {
    matches!(bytes, [0x14..=0x18, 0x03, 0x00..=0x04, ..])
}

/// Turns (runs of one direction) without a sign of HTTP before a connection is given up.
const MOST_TURNS: u32 = 32;
/// Bytes without one; large, as the sensor may join amid a long response.
const MOST_BYTES: u64 = 4 << 20;

/// Bytes that are kept until HTTP/2 shows in them, and segments that they may take: each
/// has them looked at again.
const MOST_HELD: usize = 64 << 10;
const MOST_LOOKS: u8 = 64;

/// A connection that nothing is known of.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    write: Side,
    read: Side,
    last: Option<Direction>,
    turns: u32,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Side {
    http1: Half,
    held: Held,
}

/// Bytes that may be the start of HTTP/2.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub at: Timestamp,
    pub bytes: Vec<u8>,
    looks: u8,
}

/// What became of a segment.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    NeedMore,
    NotForUs,
    /// A start line was found; `rest` is what follows it in this segment.
    Http1 {
        requester: Direction,
        write: Half,
        read: Half,
        rest: &'a [u8],
    },
    /// What came before this segment and belongs to it: of the other direction, and of
    /// this one.
    Http2 {
        other: Held,
        this: Held,
    },
}

impl Undecided {
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        let side = |side: &Side| side.http1.held_bytes() + side.held.bytes.capacity();
        side(&self.write) + side(&self.read)
    }

    pub fn feed<'a>(
        &mut self,
        direction: Direction,
        at: Timestamp,
        segment: Segment<'a>,
    ) -> Outcome<'a> {
        let (this, other) = match direction {
            Direction::Write => (&mut self.write, &mut self.read),
            Direction::Read => (&mut self.read, &mut self.write),
        };
        if self.last.replace(direction) != Some(direction) {
            self.turns = self.turns.saturating_add(1);
            this.http1.turn();
        }
        let bytes = match segment {
            Segment::Data(bytes) => bytes,
            Segment::Gap(_) => {
                this.http1.rescan();
                this.held = Held::default();
                return Outcome::NeedMore;
            }
        };
        if self.bytes == 0 && is_tls_record(bytes) {
            return Outcome::NotForUs;
        }
        if let Some((line, rest)) = this.http1.scan(at, bytes) {
            return self.http1(direction, line, rest);
        }
        if this.held.is_http2(at, bytes) {
            return Outcome::Http2 {
                other: std::mem::take(&mut other.held),
                this: std::mem::take(&mut this.held),
            };
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.turns > MOST_TURNS || self.bytes > MOST_BYTES {
            return Outcome::NotForUs;
        }
        Outcome::NeedMore
    }

    /// The two halves, as `direction` began a message with a line of this kind.
    fn http1<'a>(&mut self, direction: Direction, line: StartLine, rest: &'a [u8]) -> Outcome<'a> {
        Outcome::Http1 {
            requester: match line {
                StartLine::Request => direction,
                StartLine::Response => direction.opposite(),
            },
            write: std::mem::take(&mut self.write.http1),
            read: std::mem::take(&mut self.read.http1),
            rest,
        }
    }
}

impl Held {
    /// Whether HTTP/2 shows with these bytes; keeps them if more are needed.
    fn is_http2(&mut self, at: Timestamp, bytes: &[u8]) -> bool {
        let before = self.bytes.len();
        let detection = if before == 0 {
            h2::detect(bytes)
        } else {
            self.bytes.extend_from_slice(bytes);
            let detection = h2::detect(&self.bytes);
            self.bytes.truncate(before);
            detection
        };
        self.looks = self.looks.saturating_add(1);
        let fits = before.saturating_add(bytes.len()) <= MOST_HELD && self.looks <= MOST_LOOKS;
        match detection {
            Detection::Match => return true,
            Detection::NeedMore if fits => {
                if before == 0 {
                    self.at = at;
                }
                self.bytes.extend_from_slice(bytes);
            }
            Detection::NeedMore | Detection::NotForUs => *self = Self::default(),
        }
        false
    }
}
