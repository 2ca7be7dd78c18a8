//! Which units a content is cut into.
//!
//! In: decoded bytes and holes. Out: units, by the framer that fits. Must not know: the
//! codings the content had.

use super::event_stream::{self, EventStream};
use super::grpc::Grpc;
use super::json_array::JsonArray;
use super::ndjson::Ndjson;
use super::sse::Sse;
use super::whole::Whole;
use super::{Limits, Units};
use crate::event::Missing;

#[derive(Debug)]
pub(super) enum Framer {
    Undecided(Undecided),
    Sse(Sse),
    EventStream(EventStream),
    Ndjson(Ndjson),
    Grpc(Grpc),
    JsonArray(JsonArray),
    Whole(Whole),
}

/// A content whose first bytes did not tell yet.
#[derive(Debug)]
pub(super) struct Undecided {
    by_type: Option<Kind>,
    limits: Limits,
    /// Bytes that are announced.
    expected: usize,
    held: Vec<u8>,
}

/// How a content is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sse,
    EventStream,
    Ndjson,
    Grpc,
    JsonArray,
    Whole,
}

/// Content types that say how a content is cut.
const TYPES: [(&str, Kind); 17] = [
    ("text/event-stream", Kind::Sse),
    ("application/vnd.amazon.eventstream", Kind::EventStream),
    ("application/x-ndjson", Kind::Ndjson),
    ("application/ndjson", Kind::Ndjson),
    ("application/jsonl", Kind::Ndjson),
    ("application/x-jsonl", Kind::Ndjson),
    ("application/jsonlines", Kind::Ndjson),
    ("application/x-jsonlines", Kind::Ndjson),
    ("application/json-lines", Kind::Ndjson),
    ("application/stream+json", Kind::Ndjson),
    ("application/x-json-stream", Kind::Ndjson),
    ("application/json-seq", Kind::Ndjson),
    ("application/grpc", Kind::Grpc),
    ("application/grpc+proto", Kind::Grpc),
    ("application/grpc+json", Kind::Grpc),
    ("application/grpc-web", Kind::Grpc),
    ("application/grpc-web+proto", Kind::Grpc),
];

impl Kind {
    /// How contents of this type are cut; `None` where it does not say.
    pub fn of_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or(content_type);
        let essence = essence.trim_ascii();
        let is_essence = |(name, _): &&(&str, Self)| name.eq_ignore_ascii_case(essence);
        TYPES.iter().find(is_essence).map(|(_, kind)| *kind)
    }
}

/// Bytes that are looked at; blanks before the first of them count, as some servers send
/// blank lines to keep a connection alive.
const LONGEST_START: usize = 4 << 10;

impl Framer {
    pub fn undecided(content_type: Option<&str>, limits: Limits) -> Self {
        Self::Undecided(Undecided {
            by_type: content_type.and_then(Kind::of_type),
            limits,
            expected: 0,
            held: Vec::new(),
        })
    }

    /// So many bytes are announced.
    pub fn expect(&mut self, bytes: usize) {
        match self {
            Self::Undecided(undecided) => undecided.expected = bytes,
            Self::Whole(whole) => whole.expect(bytes),
            _ => {}
        }
    }

    fn of(kind: Kind, limits: Limits) -> Self {
        match kind {
            Kind::Sse => Self::Sse(Sse::new(limits.message)),
            Kind::EventStream => Self::EventStream(EventStream::new(limits.message)),
            Kind::Ndjson => Self::Ndjson(Ndjson::new(limits.message)),
            Kind::Grpc => Self::Grpc(Grpc::new(limits.message)),
            Kind::JsonArray => Self::JsonArray(JsonArray::new(limits.message)),
            Kind::Whole => Self::Whole(Whole::new(limits)),
        }
    }

    /// `None`: the first bytes did not tell yet.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Undecided(_) => return None,
            Self::Sse(_) => Kind::Sse,
            Self::EventStream(_) => Kind::EventStream,
            Self::Ndjson(_) => Kind::Ndjson,
            Self::Grpc(_) => Kind::Grpc,
            Self::JsonArray(_) => Kind::JsonArray,
            Self::Whole(_) => Kind::Whole,
        })
    }

    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Undecided(undecided) => undecided.held.len(),
            Self::Sse(sse) => sse.held_bytes(),
            Self::EventStream(stream) => stream.held_bytes(),
            Self::Ndjson(ndjson) => ndjson.held_bytes(),
            Self::Grpc(grpc) => grpc.held_bytes(),
            Self::JsonArray(array) => array.held_bytes(),
            Self::Whole(whole) => whole.held_bytes(),
        }
    }

    pub fn feed(&mut self, bytes: &[u8], units: &mut Units<'_>) {
        match self {
            Self::Undecided(undecided) => {
                let mut held = std::mem::take(&mut undecided.held);
                if !held.is_empty() {
                    held.extend_from_slice(bytes);
                }
                let start = if held.is_empty() { bytes } else { &held };
                match choose(undecided.by_type, start, false) {
                    None => undecided.held = start.to_vec(),
                    Some(kind) => {
                        let mut framer = Self::of(kind, undecided.limits);
                        framer.expect(undecided.expected);
                        framer.feed(start, units);
                        *self = framer;
                    }
                }
            }
            Self::Sse(sse) => sse.feed(bytes, units),
            Self::EventStream(stream) => stream.feed(bytes, units),
            Self::Ndjson(ndjson) => ndjson.feed(bytes, units),
            Self::Grpc(grpc) => grpc.feed(bytes, units),
            Self::JsonArray(array) => array.feed(bytes, units),
            Self::Whole(whole) => whole.feed(bytes),
        }
    }

    pub fn gap(&mut self, missing: Missing, units: &mut Units<'_>) {
        self.decide(units);
        match self {
            Self::Undecided(_) => {}
            Self::Sse(sse) => sse.gap(),
            Self::EventStream(stream) => stream.gap(),
            Self::Ndjson(ndjson) => ndjson.gap(),
            Self::Grpc(grpc) => grpc.gap(missing),
            Self::JsonArray(array) => array.gap(),
            Self::Whole(whole) => whole.gap(missing),
        }
    }

    pub fn finish(&mut self, complete: bool, units: &mut Units<'_>) {
        self.decide(units);
        match self {
            Self::Sse(sse) => sse.finish(complete, units),
            Self::Ndjson(ndjson) => ndjson.finish(complete, units),
            Self::Grpc(grpc) => grpc.finish(units),
            Self::EventStream(stream) => stream.finish(complete, units),
            // Its units say themselves where they end.
            Self::JsonArray(_) => {}
            Self::Whole(_) | Self::Undecided(_) => {}
        }
    }

    /// Decides by what is there, as no more will come.
    fn decide(&mut self, units: &mut Units<'_>) {
        if let Self::Undecided(undecided) = self {
            let held = std::mem::take(&mut undecided.held);
            let kind = choose(undecided.by_type, &held, true).unwrap_or(Kind::Whole);
            *self = Self::of(kind, undecided.limits);
            self.feed(&held, units);
        }
    }
}

/// Decides by the type and the first bytes; `None`: more bytes are needed, which `last`
/// denies.
fn choose(by_type: Option<Kind>, start: &[u8], last: bool) -> Option<Kind> {
    if by_type == Some(Kind::Grpc) {
        return by_type;
    }
    let last = last || start.len() >= LONGEST_START;
    if event_stream::sniff(start).or(last.then_some(false))? {
        return Some(Kind::EventStream);
    }
    let text = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    let text = text.trim_ascii_start();
    let otherwise = by_type.unwrap_or(Kind::Whole);
    match text {
        [] if last => Some(otherwise),
        [] | [0xEF] | [0xEF, 0xBB] if !last => None,
        // Errors come as one document, whatever the type promised.
        [b'{', ..] if by_type != Some(Kind::Ndjson) => Some(Kind::Whole),
        [b'[', rest @ ..] if by_type != Some(Kind::Ndjson) => match rest.trim_ascii_start() {
            [] if !last => None,
            [b'{', ..] => Some(Kind::JsonArray),
            _ => Some(Kind::Whole),
        },
        [b'd' | b'e' | b'i' | b'r' | b':', ..] if by_type.is_none() => {
            let field = field_of_event(text).or(last.then_some(false))?;
            Some(if field { Kind::Sse } else { Kind::Whole })
        }
        _ => Some(otherwise),
    }
}

/// Whether a text begins with a field of a server-sent event; `None`: too short to tell.
fn field_of_event(text: &[u8]) -> Option<bool> {
    let mut too_short = false;
    // The last is a comment, as servers send to keep a connection alive.
    for field in [&b"data:"[..], b"event:", b"id:", b"retry:", b":"] {
        if text.starts_with(field) {
            return Some(true);
        }
        too_short |= field.starts_with(text);
    }
    (!too_short).then_some(false)
}
