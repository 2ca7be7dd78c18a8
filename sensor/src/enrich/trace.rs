//! Where the span of a call stands in its trace.
//!
//! In: requests that processes serve, and calls. Out: a [`Trace`] for each call, and for
//! each served request that is the parent of one. Must not know: bytes, framing.
//!
//! A parent is named only where something says so, and how it is known goes with it.
//! Where two served requests could be the one that a call is made for, it has none.

use std::sync::Arc;

use crate::event::ConnectionId;
use crate::llm::call::TraceContext;
use crate::llm::{Call, CallId};
use crate::time::{ClockOffset, Timestamp};

#[cfg(test)]
mod tests;
mod tracer;

pub use tracer::Tracer;

/// The identity of a span and its place among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Never 0.
    pub trace: u128,
    /// Never 0. Follows from the call alone: a replay gives it again.
    pub span: u64,
    /// `None`: the trace begins here.
    pub parent: Option<Parent>,
    /// What whoever began the trace decided; `None` where nobody has.
    pub sampled: Option<bool>,
    /// Members of the `tracestate` that the trace was passed on with.
    pub state: Option<Arc<str>>,
}

/// The span that another belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub span: u64,
    pub known: Known,
}

/// How a parent is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Known {
    /// The request carries a trace context that names it.
    Sent,
    /// The request carries the very context that one served request came with: the
    /// process passes it on.
    Forwarded,
    /// It is the other end of the same connection, on this host.
    Peer,
    /// The thread that makes the call has read one request and not answered it; in this
    /// process the thread that reads a request is the one that answers it.
    Thread,
    /// The goroutine that makes the call has read one request and not answered it; others
    /// may write what it asks.
    Goroutine,
    /// The process has one request in hand, and only one.
    Sole,
}

/// How far a [`Known`] can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    Medium,
    High,
    /// Both sides say so.
    Certain,
}

impl Known {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Forwarded => "forwarded",
            Self::Peer => "peer",
            Self::Thread => "thread",
            Self::Goroutine => "goroutine",
            Self::Sole => "sole_request",
        }
    }

    pub const fn confidence(self) -> Confidence {
        match self {
            Self::Sent | Self::Forwarded | Self::Peer => Confidence::Certain,
            Self::Thread | Self::Goroutine => Confidence::High,
            Self::Sole => Confidence::Medium,
        }
    }
}

impl Confidence {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Medium => "medium",
            Self::High => "high",
            Self::Certain => "certain",
        }
    }
}

impl Trace {
    fn in_context(mut self, context: &TraceContext) -> Self {
        self.trace = context.trace;
        self.parent = Some(Parent {
            span: context.span,
            known: Known::Sent,
        });
        self.sampled = context.sampled;
        self.state = context.state.as_deref().map(Arc::from);
        self
    }
}

impl Trace {
    fn below(mut self, parent: &Self, known: Known) -> Self {
        self.trace = parent.trace;
        self.parent = Some(Parent {
            span: parent.span,
            known,
        });
        self.sampled = parent.sampled;
        self.state.clone_from(&parent.state);
        self
    }
}

/// What ids are made of beside the call.
#[derive(Clone, Debug, Default)]
pub struct Seed {
    pub host: Option<Arc<str>>,
    pub clock: ClockOffset,
}

impl Seed {
    /// A trace of its own for what began at `start`; the same again for the same.
    pub fn root(&self, connection: ConnectionId, id: CallId, start: Timestamp) -> Trace {
        let host = self.host.as_deref().unwrap_or_default();
        let half = |seed: u64| {
            let seed = host.bytes().fold(mix(seed), |h, b| mix(h ^ u64::from(b)));
            let parts = [connection.0, id.0, start.as_nanos()];
            let unix = self.clock.unix_nanos(start);
            let parts = parts.into_iter().chain([unix]);
            // An id of zero is invalid in OpenTelemetry.
            parts.fold(seed, |h, n| mix(h ^ n)).max(1)
        };
        Trace {
            trace: u128::from(half(1)) << 64 | u128::from(half(2)),
            span: half(3),
            parent: None,
            sampled: None,
            state: None,
        }
    }

    /// What the call alone says.
    pub fn place(&self, call: &Call) -> Trace {
        let own = self.root(call.connection, call.id, call.timing.start);
        match &call.context {
            Some(context) => own.in_context(context),
            None => own,
        }
    }
}

/// A permutation of 64 bits in which each bit of the input moves half of the output's.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
