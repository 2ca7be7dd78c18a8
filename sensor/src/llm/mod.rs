//! From exchanges to calls: who was called ([`provider`]) and in what dialect
//! ([`api`]).
//!
//! In: heads, bodies and messages of one exchange. Out: a [`Call`]. Must not know:
//! connection internals, process, exporter, price.

use crate::content::{Body, Message};
use crate::event::{ConnectionId, Origin, Role};
use crate::http::{RequestHead, ResponseHead};
use crate::time::Timestamp;

pub mod call;

pub use call::{Call, CallId};

/// What to build of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Keep prompts, replies, tools and tool arguments.
    pub content: bool,
}

/// An exchange that may become a call.
#[derive(Debug)]
pub struct Draft {
    options: Options,
    start: Timestamp,
}

impl Draft {
    /// Takes the head of a request; `None` where it can't be a call, so that nothing
    /// of its bodies need be kept.
    pub fn new(
        began: Timestamp,
        head: &RequestHead,
        origin: &Origin,
        options: Options,
    ) -> Option<Self> {
        let _ = (head, origin);
        Some(Self {
            options,
            start: began,
        })
    }

    /// The whole content of the request, decoded. `false`: no call after all, drop it.
    pub fn request(&mut self, body: Body<'_>) -> bool {
        let _ = body;
        false
    }

    pub fn response_head(&mut self, at: Timestamp, head: &ResponseHead) {
        let _ = (at, head);
    }

    /// One unit of the response's content, or the whole of it.
    pub fn response_message(&mut self, message: Message<'_>) {
        let _ = message;
    }

    /// The response's content where it was no stream and has holes.
    pub fn response_body(&mut self, at: Timestamp, body: Body<'_>) {
        let _ = (at, body);
    }

    /// Text of the first choice that came since the last time this was asked.
    pub fn new_text(&mut self) -> Option<&str> {
        None
    }

    /// The call as far as it is known, once the request has been read.
    pub fn started(&self, id: CallId, connection: ConnectionId, role: Role) -> Option<Call> {
        let _ = (id, connection, role, self.options, self.start);
        None
    }
    /// The call, once its exchange is over. `end`: when its last byte crossed.
    pub fn finish(
        self,
        id: CallId,
        connection: ConnectionId,
        role: Role,
        end: Timestamp,
        capture: call::Capture,
    ) -> Option<Call> {
        let _ = (id, connection, role, end, capture);
        None
    }
}
