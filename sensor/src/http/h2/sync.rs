//! Where frames begin, told from their bytes alone.
//!
//! In: bytes that begin anywhere. Out: whether, or where, they are HTTP/2. Must not
//! know: what was there before.
//!
//! A header is believed the more the less it could be something else. A random one
//! passes [`is_plausible`] once in some million times, one of text never. Where a stream
//! is joined at a write, one such header is enough; to find one amid other bytes takes
//! two that follow each other.

use super::header::{HEADER, Header, Kind, PREFACE};
use crate::http::Detection;

/// `SETTINGS_MAX_FRAME_SIZE` before anybody changes it.
const DEFAULT_LONGEST: u32 = 1 << 14;

/// A frame as cut as this one has shown enough of itself.
const ENOUGH: usize = 64;

/// Result of a search.
#[derive(Debug, PartialEq, Eq)]
pub enum Search {
    /// Frames begin here.
    Found(usize),
    /// None begins before this place; from here on it takes more bytes to tell. What has
    /// to be held is no longer than a frame of the default size and two headers.
    Hold(usize),
}

/// Looks for the place where frames begin.
pub fn search(input: &[u8]) -> Search {
    for at in memchr::memchr_iter(0, input) {
        let rest = input.get(at..).unwrap_or(&[]);
        match begins(rest) {
            Some(true) => return Search::Found(at),
            Some(false) => {}
            None => return Search::Hold(at),
        }
    }
    Search::Hold(input.len())
}

/// Whether `bytes`, the first ones seen of a direction or of a turn, are HTTP/2.
pub fn detect(bytes: &[u8]) -> Detection {
    let common = bytes.len().min(PREFACE.len());
    if bytes.get(..common) == PREFACE.get(..common) {
        return match common == PREFACE.len() {
            true => Detection::Match,
            false => Detection::NeedMore,
        };
    }
    if let Some((octets, rest)) = bytes.split_first_chunk::<HEADER>() {
        let header = Header::parse(octets);
        if may_start(&header) && rest.len() <= usize::try_from(header.length).unwrap_or(0) {
            let whole = rest.len() as u64 == u64::from(header.length);
            return match whole || rest.len() >= ENOUGH {
                true => Detection::Match,
                false => Detection::NeedMore,
            };
        }
    } else if bytes.first() == Some(&0) {
        return Detection::NeedMore;
    }
    match search(bytes) {
        Search::Found(_) => Detection::Match,
        Search::Hold(0) => Detection::NeedMore,
        Search::Hold(_) => Detection::NotForUs,
    }
}

/// Whether two frames that follow each other begin here; `None`: too short to tell.
fn begins(bytes: &[u8]) -> Option<bool> {
    let (octets, rest) = bytes.split_first_chunk::<HEADER>()?;
    let first = Header::parse(octets);
    if !may_start(&first) {
        return Some(false);
    }
    let next = rest.get(usize::try_from(first.length).ok()?..)?;
    let second = Header::parse(next.first_chunk::<HEADER>()?);
    let open = first.kind == Kind::Headers && !first.has(Header::END_HEADERS);
    let continued = second.kind == Kind::Continuation && second.stream == first.stream;
    Some(is_plausible(&second) && open == continued)
}

/// Whether this may be the header of the first frame that is seen.
pub fn may_start(header: &Header) -> bool {
    header.kind != Kind::Continuation && is_plausible(header)
}

/// Whether this looks like a frame header as programs send them; stricter than
/// [`Header::is_lawful`].
fn is_plausible(header: &Header) -> bool {
    let flags = match header.kind {
        Kind::Data => Header::END_STREAM | Header::PADDED,
        Kind::Headers => {
            Header::END_STREAM | Header::END_HEADERS | Header::PADDED | Header::PRIORITY
        }
        Kind::Push => Header::END_HEADERS | Header::PADDED,
        Kind::Continuation => Header::END_HEADERS,
        Kind::Settings | Kind::Ping => Header::ACK,
        Kind::Priority | Kind::Reset | Kind::GoAway | Kind::WindowUpdate => 0,
        Kind::Other(_) => return false,
    };
    let empty = header.length == 0;
    let sound = match header.kind {
        // An empty one makes sense at the end only; zeroes are common in other bytes.
        Kind::Data => !empty || header.has(Header::END_STREAM),
        Kind::Headers => !empty,
        Kind::Settings => !header.has(Header::ACK) || empty,
        _ => true,
    };
    // Servers open even streams by pushing, which clients of interest don't allow.
    let parity = header.stream == 0 || !header.stream.is_multiple_of(2);
    header.reserved_clear
        && header.is_lawful()
        && header.length <= DEFAULT_LONGEST
        && header.flags & !flags == 0
        && sound
        && parity
}
