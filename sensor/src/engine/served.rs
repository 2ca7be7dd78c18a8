//! Requests that a process serves, whatever they are about: what it does meanwhile may
//! be done for them.

use crate::event::{ConnectionId, Origin};
use crate::http::{RequestHead, TraceContext};
use crate::llm::CallId;
use crate::time::Timestamp;

/// A request whose head a process has read and which it is to answer.
#[derive(Clone, Debug)]
pub struct Served {
    /// That of the call, should the request turn out to be one.
    pub id: CallId,
    pub connection: ConnectionId,
    /// The thread that read the head.
    pub thread: Option<u32>,
    /// The goroutine that read it; see [`Origin::goroutine`].
    pub goroutine: Option<u32>,
    /// The trace that the request says it belongs to.
    pub context: Option<TraceContext>,
    /// When its first byte crossed.
    pub began: Timestamp,
    pub method: Box<str>,
    /// Without query; at most [`MAX_PATH`] bytes.
    pub path: Option<Box<str>>,
    pub host: Option<Box<str>>,
    pub port: Option<u16>,
}

/// The end of a [`Served`] request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    pub id: CallId,
    /// When the last byte of its response crossed that was seen.
    pub at: Timestamp,
    pub status: Option<u16>,
    /// The thread that wrote the head of the response.
    pub thread: Option<u32>,
}

/// Bytes kept of a path.
pub const MAX_PATH: usize = 1024;

impl Served {
    pub(super) fn new(
        id: CallId,
        connection: ConnectionId,
        origin: &Origin,
        began: Timestamp,
        head: &RequestHead,
    ) -> Self {
        let path = head.path();
        let cut = (0..=MAX_PATH).rev().find(|at| path.is_char_boundary(*at));
        Self {
            id,
            connection,
            thread: origin.tid,
            goroutine: origin.goroutine,
            context: TraceContext::of(&head.fields),
            began,
            method: head.method.clone(),
            path: head
                .target
                .as_ref()
                .and(cut)
                .and_then(|cut| Some(path.get(..cut)?.into())),
            host: head.host().map(Box::from),
            port: head.port(),
        }
    }
}
