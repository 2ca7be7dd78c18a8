//! Content of a message: coding undone, cut into the units its type defines.
//!
//! In: body segments, content type, content coding. Out: [`Message`]s or a
//! [`Body`]. Must not know: HTTP version, provider.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        reason = "a test that fails by panicking is a test that fails"
    )
)]

use crate::event::Missing;
use crate::stream::Segment;
use crate::time::Timestamp;

/// One unit of a streamed body: an SSE event, an AWS event-stream message, a line of
/// NDJSON, an element of a JSON array; or the whole of a body that is one document.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// When the last byte of it crossed.
    pub at: Timestamp,
    pub kind: MessageKind,
    /// SSE `event`, or AWS `:event-type` / `:exception-type`.
    pub name: Option<&'a str>,
    pub data: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A unit of a stream.
    Event,
    /// An AWS event-stream message of type `exception` or `error`.
    Exception,
    /// A body that is not a stream; may come with holes, see [`Body`].
    Whole,
}

/// A body that was gathered whole, up to a limit: its head and, where something was
/// left out or lost, what came after the first hole.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    pub head: &'a [u8],
    /// Empty where nothing is missing.
    pub tail: &'a [u8],
    /// What lies between head and tail (before decoding: bytes on the wire for a
    /// loss, decoded bytes for a cut).
    pub missing: Missing,
}

/// How much of one content is kept and decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes kept of a content that is gathered whole, head and tail together.
    pub whole: usize,
    /// How many of these are the tail, once something was cut.
    pub tail: usize,
    /// The longest unit of a stream; longer ones are skipped and counted.
    pub message: usize,
    /// Bytes that decoding may give; what is beyond counts as cut.
    pub decoded: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            whole: 16 << 20,
            tail: 64 << 10,
            message: 16 << 20,
            decoded: 256 << 20,
        }
    }
}

/// What went wrong in a content; adds up over contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Contents whose coding is unknown or broken.
    pub undecodable: u64,
    /// Contents that gave more than [`Limits::decoded`], or grew suspiciously.
    pub inflated: u64,
    /// Units longer than [`Limits::message`].
    pub oversized: u64,
    /// Units whose checksum or framing is wrong.
    pub malformed: u64,
}

/// The content of one message: decoded, and framed or gathered.
#[derive(Debug)]
pub struct Content {
    limits: Limits,
}

impl Content {
    /// Gathers the content whole, as for a request. `coding`: the value of
    /// `Content-Encoding`, see [`Fields::coding`](crate::http::Fields).
    pub fn whole(coding: Option<&str>, limits: Limits) -> Self {
        let _ = coding;
        Self { limits }
    }

    /// Cuts the content into the units of its type, or gathers it whole where that has
    /// none. Types lie: the first bytes have their say.
    pub fn stream(content_type: Option<&str>, coding: Option<&str>, limits: Limits) -> Self {
        let _ = (content_type, coding);
        Self { limits }
    }

    /// Takes the next piece of the body; units that it completes go to `out`.
    pub fn feed(&mut self, at: Timestamp, segment: Segment<'_>, out: &mut dyn FnMut(Message<'_>)) {
        let _ = (at, segment, out, self.limits);
    }

    /// The body is over; `complete`: its framing says that it is whole. Gives the last
    /// unit where that needs no terminator. A gathered content stays where it is, for
    /// [`body`](Self::body).
    pub fn finish(&mut self, at: Timestamp, complete: bool, out: &mut dyn FnMut(Message<'_>)) {
        let _ = (at, complete, out);
    }

    /// What was gathered; `None` where the content is a stream of units.
    pub fn body(&self) -> Option<Body<'_>> {
        None
    }

    /// Bytes of this content that are missing, on the wire or cut while decoding.
    pub fn missing(&self) -> Missing {
        Missing::NONE
    }

    pub fn faults(&self) -> Faults {
        Faults::default()
    }
}
