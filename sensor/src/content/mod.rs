//! Content of a message: coding undone, cut into the units its type defines.
//!
//! In: body segments, content type, content coding. Out: [`Message`]s or a
//! [`Body`]. Must not know: HTTP version, provider.

use crate::event::Missing;
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
