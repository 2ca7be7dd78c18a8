//! What the two sides of an HTTP/1 connection have in common: messages.
//!
//! In: what [`Half`](super::Half) cuts out of its bytes. Out: how it is to go on. Must
//! not know: how messages are cut.

use crate::event::Missing;
use crate::http::End;
use crate::http::detect::StartLine;
use crate::stream::Segment;
use crate::time::Timestamp;

/// Takes the messages of one direction.
pub(super) trait Messages {
    /// Which line opens a message here.
    const OPENS: StartLine;

    /// A whole head, line ends included; `None` where it is none after all.
    fn head(&mut self, head: RawHead<'_>) -> Option<Framing>;
    fn body(&mut self, at: Timestamp, segment: Segment<'_>);
    /// The trailer section of a body (RFC 9112, section 7.1.2), its last line included;
    /// it may hold no field.
    fn trailers(&mut self, at: Timestamp, section: &mut [u8]);
    fn end(&mut self, at: Timestamp, end: End);
    /// A hole outside of any body; messages may have been in it.
    fn lost(&mut self, at: Timestamp, missing: Missing);
    /// A hole came, and what follows it may be something else than was expected.
    fn lost_framing(&mut self);
    /// A hole cut a head that began so.
    fn broken(&mut self, start: &[u8]);
}

#[derive(Debug)]
pub(super) struct RawHead<'a> {
    pub began: Timestamp,
    pub at: Timestamp,
    pub bytes: &'a mut [u8],
    /// Framing was lost since the message before, so that others may be missing between.
    pub resynced: bool,
}

/// What follows a head (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// An interim response: the head is all, and not the end.
    Interim,
    Fixed(u64),
    Chunked,
    UntilClose,
    /// Contradictory: where the body ends cannot be told.
    Unknown,
    /// Another protocol.
    Handover,
}
