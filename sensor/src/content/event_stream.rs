//! AWS event streams (`application/vnd.amazon.eventstream`).
//!
//! In: bytes, cut anywhere. Out: one unit a message, checksums verified. Must not know:
//! what a payload says.
//!
//! A message: total length (4 bytes, big-endian), length of headers (4), CRC-32 of these
//! eight (4), headers, payload, CRC-32 of all before (4).

use std::str;

use super::pieces::{PAYLOAD_PART, Pieces};
use super::{MessageKind, Units};

const PRELUDE: usize = 12;
const CRC: usize = 4;
/// AWS allows 24 MiB of payload and 128 KiB of headers; more is no prelude.
const LARGEST: usize = 25 << 20;
const LARGEST_HEADERS: usize = 128 << 10;

#[derive(Debug)]
pub(super) struct EventStream {
    limit: usize,
    /// The start of a message whose end has not come; while lost, the last bytes seen.
    held: Vec<u8>,
    place: Place,
    /// The stream that payloads are pieces of, where they are.
    pieces: Pieces,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Message,
    /// Within a message that is too long; so many bytes of it are to come.
    Skip(usize),
    /// Looking for a prelude.
    Lost,
}

/// The lengths that a message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prelude {
    total: usize,
    headers: usize,
}

impl Prelude {
    /// Reads a prelude; `None` where the checksum or the lengths are wrong.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let checked = bytes.get(..8)?;
        let total = usize::try_from(be32(bytes, 0)?).ok()?;
        let headers = usize::try_from(be32(bytes, 4)?).ok()?;
        let least = headers.checked_add(PRELUDE)?.checked_add(CRC)?;
        let plausible = least <= total && total <= LARGEST && headers <= LARGEST_HEADERS;
        (plausible && be32(bytes, 8)? == crc32fast::hash(checked))
            .then_some(Self { total, headers })
    }
}

/// Whether a content that begins so is an event stream; `None`: more bytes are needed.
pub(super) fn sniff(start: &[u8]) -> Option<bool> {
    match start.first() {
        Some(0 | 1) if start.len() < PRELUDE => None,
        Some(0 | 1) => Some(Prelude::parse(start).is_some()),
        _ => Some(false),
    }
}

impl EventStream {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Vec::new(),
            place: Place::Message,
            pieces: Pieces::Blank(false),
        }
    }

    pub fn held_bytes(&self) -> usize {
        self.held.len().saturating_add(self.pieces.held_bytes())
    }

    pub fn feed(&mut self, mut bytes: &[u8], units: &mut Units<'_>) {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Message if self.held.is_empty() => self.lent(bytes, units),
                Place::Message => self.gathered(bytes, units),
                Place::Skip(left) => self.skip(left, bytes),
                Place::Lost => self.lost(bytes),
            };
        }
    }

    pub fn gap(&mut self) {
        self.held.clear();
        self.pieces.gap();
        self.place = Place::Lost;
    }

    /// The body is over. Messages say themselves where they end, what they are pieces of
    /// does not.
    pub fn finish(&mut self, complete: bool, units: &mut Units<'_>) {
        let whole = complete && self.place == Place::Message && self.held.is_empty();
        self.pieces.finish(whole, units);
    }

    /// Takes a message that lies in one piece, or the start of one.
    fn lent<'a>(&mut self, bytes: &'a [u8], units: &mut Units<'_>) -> &'a [u8] {
        if bytes.len() >= PRELUDE {
            let Some(prelude) = self.prelude(bytes, units) else {
                return bytes;
            };
            if let Some((message, rest)) = bytes.split_at_checked(prelude.total) {
                self.emit(prelude, message, units);
                return rest;
            }
        }
        self.held.extend_from_slice(bytes);
        &[]
    }

    /// Goes on with a message of which some is held.
    fn gathered<'a>(&mut self, bytes: &'a [u8], units: &mut Units<'_>) -> &'a [u8] {
        let known = Prelude::parse(&self.held);
        let need = known.map_or(PRELUDE, |prelude| prelude.total);
        let need = need.saturating_sub(self.held.len()).min(bytes.len());
        let (piece, rest) = bytes.split_at(need);
        self.held.extend_from_slice(piece);
        match known {
            Some(prelude) if self.held.len() == prelude.total => {
                let held = std::mem::take(&mut self.held);
                self.emit(prelude, &held, units);
                self.held = held;
                self.held.clear();
                self.held.shrink_to(KEPT);
            }
            None if self.held.len() == PRELUDE => {
                let held = std::mem::take(&mut self.held);
                self.prelude(&held, units);
                match &mut self.place {
                    Place::Message => self.held = held,
                    Place::Lost => self.held.extend(held.get(1..).unwrap_or_default()),
                    Place::Skip(left) => *left = left.saturating_sub(PRELUDE),
                }
            }
            _ => {}
        }
        rest
    }

    /// The prelude at the start of `bytes`, unless it is wrong or its message too long.
    fn prelude(&mut self, bytes: &[u8], units: &mut Units<'_>) -> Option<Prelude> {
        let Some(prelude) = Prelude::parse(bytes) else {
            units.faults.malformed = units.faults.malformed.saturating_add(1);
            self.pieces.gap();
            self.place = Place::Lost;
            return None;
        };
        if prelude.total > self.limit {
            units.faults.oversized = units.faults.oversized.saturating_add(1);
            self.pieces.gap();
            self.place = Place::Skip(prelude.total);
            return None;
        }
        Some(prelude)
    }

    fn skip<'a>(&mut self, left: usize, bytes: &'a [u8]) -> &'a [u8] {
        let here = left.min(bytes.len());
        self.place = match left.saturating_sub(here) {
            0 => Place::Message,
            left => Place::Skip(left),
        };
        bytes.get(here..).unwrap_or_default()
    }

    /// Looks for a prelude whose checksum holds: first one that begins in what is held.
    fn lost<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let before = self.held.len();
        let (more, _) = bytes.split_at(bytes.len().min(PRELUDE));
        self.held.extend_from_slice(more);
        let is_prelude = |window: &[u8]| Prelude::parse(window).is_some();
        let straddles = self.held.windows(PRELUDE).take(before).position(is_prelude);
        if let Some(at) = straddles {
            self.held.truncate(before);
            self.held.drain(..at);
            self.place = Place::Message;
            return bytes;
        }
        if let Some(at) = bytes.windows(PRELUDE).position(is_prelude) {
            self.held.clear();
            self.place = Place::Message;
            return bytes.get(at..).unwrap_or_default();
        }
        if bytes.len() > PRELUDE {
            self.held.clear();
            self.held.extend_from_slice(
                bytes
                    .get(bytes.len().saturating_sub(PRELUDE)..)
                    .unwrap_or_default(),
            );
        }
        let extra = self.held.len().saturating_sub(PRELUDE.saturating_sub(1));
        self.held.drain(..extra);
        &[]
    }

    /// Gives a whole message to `units`, unless its checksum is wrong.
    fn emit(&mut self, prelude: Prelude, message: &[u8], units: &mut Units<'_>) {
        let Some((headers, payload)) = open(prelude, message) else {
            units.faults.malformed = units.faults.malformed.saturating_add(1);
            self.pieces.gap();
            return;
        };
        let payload = match headers.error_message {
            Some(text) if payload.is_empty() => text.as_bytes(),
            _ => payload,
        };
        match headers.message_type {
            Some("exception") => {
                units.unit(MessageKind::Exception, headers.exception_type, payload)
            }
            Some("error") => units.unit(MessageKind::Exception, headers.error_code, payload),
            _ if headers.event_type == Some(PAYLOAD_PART) => {
                self.pieces.feed(payload, self.limit, units);
            }
            _ => units.event(headers.event_type, payload),
        }
    }
}

/// The headers and the payload of a whole message; `None` where its checksum is wrong.
fn open(prelude: Prelude, message: &[u8]) -> Option<(Headers<'_>, &[u8])> {
    let (checked, crc) = message.split_at_checked(prelude.total.checked_sub(CRC)?)?;
    let (headers, payload) = checked.get(PRELUDE..)?.split_at_checked(prelude.headers)?;
    (be32(crc, 0)? == crc32fast::hash(checked)).then_some(())?;
    Some((Headers::parse(headers)?, payload))
}

/// The headers that say what a message is.
#[derive(Debug, Default)]
struct Headers<'a> {
    message_type: Option<&'a str>,
    event_type: Option<&'a str>,
    exception_type: Option<&'a str>,
    error_code: Option<&'a str>,
    error_message: Option<&'a str>,
}

impl<'a> Headers<'a> {
    fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        let mut headers = Self::default();
        while let Some((&length, rest)) = bytes.split_first() {
            let (name, rest) = rest.split_at_checked(usize::from(length))?;
            let (&kind, rest) = rest.split_first()?;
            let (value, rest) = value(kind, rest)?;
            bytes = rest;
            let text = || {
                (kind == STRING)
                    .then(|| str::from_utf8(value).ok())
                    .flatten()
            };
            match name {
                b":message-type" => headers.message_type = text(),
                b":event-type" => headers.event_type = text(),
                b":exception-type" => headers.exception_type = text(),
                b":error-code" => headers.error_code = text(),
                b":error-message" => headers.error_message = text(),
                _ => {}
            }
        }
        Some(headers)
    }
}

const STRING: u8 = 7;

/// The value of a header of type `kind`, and what follows it.
fn value(kind: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let fixed = match kind {
        // true and false
        0 | 1 => 0,
        // byte, short, integer, long
        2 => 1,
        3 => 2,
        4 => 4,
        5 => 8,
        // byte array, string
        6 | STRING => {
            let (length, rest) = bytes.split_first_chunk()?;
            return rest.split_at_checked(usize::from(u16::from_be_bytes(*length)));
        }
        // timestamp, UUID
        8 => 8,
        9 => 16,
        _ => return None,
    };
    bytes.split_at_checked(fixed)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*field))
}

/// What is kept of a buffer between two messages.
const KEPT: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use serde_json::{Value, json};

    use crate::content::{Content, Faults, Limits, Message, MessageKind};
    use crate::stream::Segment;
    use crate::time::Timestamp;

    /// What AWS's own codec for JavaScript wrote (`tests/corpus/event_stream`).
    #[test]
    fn messages_of_another_implementation() {
        let case = include_str!("../../../tests/corpus/event_stream/messages.json");
        let case: Value = serde_json::from_str(case).unwrap();
        let bytes = BASE64_STANDARD.decode(case["bytes"].as_str().unwrap());
        let bytes = bytes.unwrap();
        for size in [bytes.len(), 1, 11, 4096] {
            let mut content = Content::stream(None, None, Limits::default());
            let mut told = Vec::new();
            let mut tell = |message: Message<'_>| {
                let is_error = message.kind == MessageKind::Exception;
                let data = String::from_utf8(message.data.to_vec()).unwrap();
                told.push(json!([is_error, message.name, data]));
            };
            let at = Timestamp::default();
            for piece in bytes.chunks(size) {
                content.feed(at, Segment::Data(piece), &mut tell);
            }
            content.finish(at, true, &mut tell);
            let sent = case["messages"].as_array().unwrap().iter();
            let sent: Vec<Value> = sent
                .map(|m| json!([m["kind"] != "event", m["name"], m["data"]]))
                .collect();
            assert_eq!(told, sent, "in pieces of {size}");
            assert_eq!(content.faults(), Faults::default());
        }
    }
}
