//! What the first bytes of a buffer look like: TLS, HTTP, or something else.

use crate::read;

pub enum Start {
    /// A TLS record begins.
    Tls,
    /// A request of HTTP/1 begins, which is no `POST`, or a connection of HTTP/2.
    Request,
    /// A request of HTTP/1 begins that may well have a body.
    Post,
    /// A response of HTTP/1 begins.
    Response,
    Other,
}

/// A record may be read in parts, its header first.
const RECORD_HEADER: u64 = 5;
/// A head may be written in parts, its method first.
const SHORTEST_METHOD: u64 = 3;

/// What `length` bytes at `buffer` begin with.
#[inline(always)]
pub fn start(buffer: u64, length: u64) -> Start {
    if length < SHORTEST_METHOD {
        return Start::Other;
    }
    let Some(head) = read::user::<[u8; 8]>(buffer) else {
        return Start::Other;
    };
    let head = u64::from_le_bytes(head);
    if length >= RECORD_HEADER && is_tls(head) {
        Start::Tls
    } else {
        http(head, u64::MAX >> (64 - 8 * length.min(8)))
    }
}

const CHANGE_CIPHER_SPEC: u64 = 0x14;
const APPLICATION_DATA: u64 = 0x17;

/// Content type 20 to 23, then version 3.0 to 3.4 (RFC 8446, section 5.1).
#[inline(always)]
fn is_tls(head: u64) -> bool {
    let kind = head & 0xff;
    (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind)
        && head >> 8 & 0xff == 3
        && head >> 16 & 0xff <= 4
}

/// Methods and versions, as far as eight bytes show them, or those of them that are in `there`.
#[inline(always)]
fn http(head: u64, there: u64) -> Start {
    macro_rules! begins_with {
        ($($text:literal)*) => {
            false $(|| {
                const TEXT: u64 = word($text);
                const MASK: u64 = u64::MAX >> (64 - 8 * $text.len());
                (head ^ TEXT) & MASK & there == 0
            })*
        };
    }
    if begins_with!(b"POST ") {
        Start::Post
    } else if begins_with!(b"HTTP/1.") {
        Start::Response
    } else if begins_with!(
        b"GET " b"PUT " b"HEAD " b"PATCH " b"DELETE " b"OPTIONS " b"CONNECT " b"PRI * HT"
    ) {
        Start::Request
    } else {
        Start::Other
    }
}

const fn word(text: &[u8]) -> u64 {
    let mut word = 0;
    let mut index = 0;
    while index < text.len() {
        word |= (text[index] as u64) << (8 * index);
        index += 1;
    }
    word
}

/// Most plaintext in one record.
const RECORD: u64 = 1 << 14;
/// What a record is longer than its plaintext, from AEAD tags to CBC padding.
const OVERHEAD: core::ops::RangeInclusive<u64> = 16..=80;
/// Records looked at: the end of a handshake may come first.
const RECORDS: usize = 4;

/// Sizes of records of application data, as [`RECORD`] and [`OVERHEAD`] have them; 0: none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Records([u16; RECORDS]);

impl Records {
    /// Those in `length` bytes at `buffer`.
    #[inline(always)]
    pub fn read(buffer: u64, length: u64) -> Self {
        let mut sizes = [0; RECORDS];
        let mut at = 0;
        for size in &mut sizes {
            if at >= length {
                break;
            }
            let Some([kind, _, _, high, low]) = read::user::<[u8; 5]>(buffer + at) else {
                break;
            };
            let bytes = (high as u16) << 8 | low as u16;
            if kind as u64 == APPLICATION_DATA {
                *size = bytes;
            }
            at += 5 + bytes as u64;
        }
        Self(sizes)
    }

    /// Whether one of them may be what `length` bytes of plaintext became.
    #[inline(always)]
    pub fn carry(&self, length: u64) -> bool {
        let plain = length.min(RECORD);
        let carries = |size: u16| OVERHEAD.contains(&(size as u64).wrapping_sub(plain));
        self.0.into_iter().any(carries)
    }
}
