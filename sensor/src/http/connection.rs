//! One connection: what it speaks is found out, then its dissector takes over.
//!
//! In: segments of both directions. Out: [`ExchangeEvent`]s. Must not know: what an
//! exchange is about.

use crate::event::Direction;
use crate::http::{Detection, ExchangeEvent};
use crate::stream::Segment;
use crate::time::Timestamp;

/// The HTTP side of a connection, of any version.
#[derive(Debug, Default)]
pub struct Connection {}

impl Connection {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, or the next hole, of one direction.
    pub fn feed(
        &mut self,
        direction: Direction,
        at: Timestamp,
        segment: Segment<'_>,
        out: &mut dyn FnMut(ExchangeEvent<'_>),
    ) {
        let _ = (direction, at, segment, out);
    }

    /// Ends what is open: the connection was closed, or the capture is over.
    pub fn close(&mut self, at: Timestamp, out: &mut dyn FnMut(ExchangeEvent<'_>)) {
        let _ = (at, out);
    }

    /// Whether this is HTTP. May turn from `Match` to `NotForUs` (a tunnel, an
    /// unknown upgrade); `NotForUs` is final.
    pub fn detection(&self) -> Detection {
        Detection::NeedMore
    }

    /// The direction in which requests go, once known.
    pub fn requester(&self) -> Option<Direction> {
        None
    }
}
