//! A stream inside of messages: what SageMaker wraps into `PayloadPart`s, cut anywhere.
//!
//! In: payloads. Out: the units of the stream that they are pieces of. Must not know: what
//! wraps them.

use super::Units;
use super::ndjson::Ndjson;
use super::sse::Sse;

/// `:event-type` of a message that holds a piece and no more.
pub(super) const PAYLOAD_PART: &str = "PayloadPart";

#[derive(Debug)]
pub(super) enum Pieces {
    /// Nothing but blanks came so far; whether pieces before are missing.
    Blank(bool),
    Sse(Sse),
    Ndjson(Ndjson),
}

impl Pieces {
    pub fn feed(&mut self, piece: &[u8], limit: usize, units: &mut Units<'_>) {
        if let Self::Blank(holed) = *self {
            *self = match piece.trim_ascii_start() {
                [] => return,
                [b'{' | b'[', ..] => Self::Ndjson(Ndjson::new(limit)),
                _ => Self::Sse(Sse::new(limit)),
            };
            if holed {
                self.gap();
            }
        }
        match self {
            Self::Blank(_) => {}
            Self::Sse(sse) => sse.feed(piece, units),
            Self::Ndjson(ndjson) => ndjson.feed(piece, units),
        }
    }

    /// A piece, or some, are missing here.
    pub fn gap(&mut self) {
        match self {
            Self::Blank(holed) => *holed = true,
            Self::Sse(sse) => sse.gap(),
            Self::Ndjson(ndjson) => ndjson.gap(),
        }
    }

    pub fn finish(&mut self, complete: bool, units: &mut Units<'_>) {
        match self {
            Self::Blank(_) => {}
            Self::Sse(sse) => sse.finish(complete, units),
            Self::Ndjson(ndjson) => ndjson.finish(complete, units),
        }
    }

    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Blank(_) => 0,
            Self::Sse(sse) => sse.held_bytes(),
            Self::Ndjson(ndjson) => ndjson.held_bytes(),
        }
    }
}
