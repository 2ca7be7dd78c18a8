//! HTTP as an observer sees it: both directions, joined at any point, with holes.
//!
//! In: [`Segment`](crate::stream::Segment)s of both directions. Out:
//! [`ExchangeEvent`]s. Must not know: process, provider, JSON, wall time.

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

use crate::event::{Direction, Missing};
use crate::stream::Segment;
use crate::time::Timestamp;

mod connection;
#[cfg(test)]
mod corpus;
pub mod detect;
#[doc(hidden)]
pub mod fuzz;
mod h1;
pub mod h2;
pub mod head;
#[cfg(test)]
mod testing;
pub mod trace_context;
pub mod websocket;

pub use connection::{Connection, Faults};
pub use detect::Detection;
pub use head::{Fields, RequestHead, ResponseHead};
pub use trace_context::TraceContext;

/// Numbers the exchanges of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// One step of one exchange (RFC 9110: a request and its response).
#[derive(Debug)]
pub struct ExchangeEvent<'a> {
    pub exchange: ExchangeId,
    /// When the bytes that complete this step crossed.
    pub at: Timestamp,
    pub step: Step<'a>,
}

/// The steps of an exchange, in their order but for this: a response may begin
/// before its request has ended, and either half may be missing.
#[derive(Debug)]
pub enum Step<'a> {
    /// `began`: when the first byte of the request crossed. `requester`: the direction
    /// in which requests go on this connection.
    Request {
        began: Timestamp,
        requester: Direction,
        head: Box<RequestHead>,
    },
    /// Content with framing removed and content coding still on.
    RequestBody(Segment<'a>),
    RequestEnd(End),
    /// Final response (never 1xx but 101).
    Response(Box<ResponseHead>),
    ResponseBody(Segment<'a>),
    /// Trailers of the response, where it has some; before its end.
    ResponseTrailers(Box<Fields>),
    ResponseEnd(End),
    /// A WebSocket message, after a 101 or an extended CONNECT, decompressed.
    /// `direction` is relative to the process.
    WebSocket {
        direction: Direction,
        binary: bool,
        data: &'a [u8],
        missing: Missing,
    },
    /// The exchange is over; nothing more comes for it.
    Over,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its framing says that it is whole.
    Complete,
    /// The connection closed, was reset, or the capture ended before it was whole.
    Unfinished,
    /// Bytes are missing and its end could not be told from them.
    Lost,
}
