//! Which units a content is cut into.
//!
//! In: decoded bytes and holes. Out: units, by the framer that fits. Must not know: the
//! codings the content had.

use super::ndjson::Ndjson;
use super::sse::Sse;
use super::whole::Whole;
use super::{Limits, Units};
use crate::event::Missing;

#[derive(Debug)]
pub(super) enum Framer {
    Undecided {
        kind: Option<Kind>,
        limits: Limits,
        held: Vec<u8>,
    },
    Sse(Sse),
    Ndjson(Ndjson),
    Whole(Whole),
}

/// How a content is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sse,
    Ndjson,
    Whole,
}

/// Bytes that are looked at; blanks before the first of them count, as some servers send
/// blank lines to keep a connection alive.
const LONGEST_START: usize = 4 << 10;

impl Framer {
    pub fn undecided(content_type: Option<&str>, limits: Limits) -> Self {
        Self::Undecided {
            kind: content_type.and_then(by_type),
            limits,
            held: Vec::new(),
        }
    }

    pub fn feed(&mut self, bytes: &[u8], units: &mut Units<'_>) {
        match self {
            Self::Undecided { kind, limits, held } => {
                let mut held = std::mem::take(held);
                let start = if held.is_empty() {
                    bytes
                } else {
                    held.extend_from_slice(bytes);
                    &held
                };
                match choose(*kind, start, false) {
                    Some(kind) => {
                        let mut framer = Self::of(kind, *limits);
                        framer.feed(start, units);
                        *self = framer;
                    }
                    None => {
                        if held.is_empty() {
                            held.extend_from_slice(bytes);
                        }
                        *self = Self::Undecided {
                            kind: *kind,
                            limits: *limits,
                            held,
                        };
                    }
                }
            }
            Self::Sse(sse) => sse.feed(bytes, units),
            Self::Ndjson(ndjson) => ndjson.feed(bytes, units),
            Self::Whole(whole) => whole.feed(bytes),
        }
    }

    pub fn gap(&mut self, missing: Missing, units: &mut Units<'_>) {
        match self {
            Self::Undecided { .. } => {
                self.decide(units);
                self.gap(missing, units);
            }
            Self::Sse(sse) => sse.gap(),
            Self::Ndjson(ndjson) => ndjson.gap(),
            Self::Whole(whole) => whole.gap(missing),
        }
    }

    pub fn finish(&mut self, complete: bool, units: &mut Units<'_>) {
        match self {
            Self::Undecided { .. } => {
                self.decide(units);
                self.finish(complete, units);
            }
            Self::Sse(sse) => sse.finish(complete, units),
            Self::Ndjson(ndjson) => ndjson.finish(complete, units),
            Self::Whole(_) => {}
        }
    }

    /// Decides by what is there, as more will not help.
    fn decide(&mut self, units: &mut Units<'_>) {
        if let Self::Undecided { kind, limits, held } = self {
            let kind = choose(*kind, held, true).unwrap_or(Kind::Whole);
            let (limits, held) = (*limits, std::mem::take(held));
            *self = Self::of(kind, limits);
            self.feed(&held, units);
        }
    }

    fn of(kind: Kind, limits: Limits) -> Self {
        match kind {
            Kind::Sse => Self::Sse(Sse::new(limits.message)),
            Kind::Ndjson => Self::Ndjson(Ndjson::new(limits.message)),
            Kind::Whole => Self::Whole(Whole::new(limits)),
        }
    }
}

/// How contents of this type are cut; `None` where it does not say.
fn by_type(content_type: &str) -> Option<Kind> {
    let essence = content_type.split(';').next().unwrap_or(content_type);
    let essence = essence.trim_ascii().to_ascii_lowercase();
    match essence.as_str() {
        "text/event-stream" => Some(Kind::Sse),
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonl"
        | "application/jsonlines"
        | "application/x-jsonlines"
        | "application/json-lines"
        | "application/stream+json"
        | "application/x-json-stream"
        | "application/json-seq" => Some(Kind::Ndjson),
        _ => None,
    }
}

/// Decides by the type and the first bytes; `None`: more bytes are needed, which `last`
/// denies.
fn choose(by_type: Option<Kind>, start: &[u8], last: bool) -> Option<Kind> {
    let last = last || start.len() >= LONGEST_START;
    let text = start
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(start)
        .trim_ascii_start();
    if text.is_empty() && !last {
        return None;
    }
    let begins = |prefix: &[u8]| match text.get(..prefix.len()) {
        Some(start) => Some(start == prefix),
        None if last || !prefix.starts_with(text) => Some(false),
        None => None,
    };
    match text.first() {
        // Errors come as one document, whatever the type promised.
        Some(b'{' | b'[') if by_type == Some(Kind::Sse) => Some(Kind::Whole),
        Some(b'd' | b'e' | b'i' | b'r') if by_type.is_none() => {
            for field in [&b"data:"[..], b"event:", b"id:", b"retry:"] {
                if begins(field)? {
                    return Some(Kind::Sse);
                }
            }
            Some(Kind::Whole)
        }
        _ => Some(by_type.unwrap_or(Kind::Whole)),
    }
}
