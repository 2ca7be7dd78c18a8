//! One engine takes the events of a source and gives calls.
//!
//! In: [`Event`]s. Out: [`Output`]s. It is total: no input makes it fail. It reads no
//! clock, opens no file and starts no thread, so that live capture, replay, fuzzers
//! and benchmarks run the same code. Connections don't share state: shard them over
//! as many engines as there are cores.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, reason = "a test may fail loudly")
)]

use std::collections::HashMap;

use crate::event::{ConnectionId, Event, EventKind, Verdict};
use crate::llm::{Call, CallId};
use crate::time::Timestamp;

mod connection;
mod conversation;
mod dialogue;
mod exchange;
#[doc(hidden)]
pub mod fuzz;
pub mod limits;
mod served;
#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use served::{Answered, Served};

use connection::Connection;

/// What comes out of an engine.
#[derive(Debug)]
pub enum Output {
    /// A request was read and is a call; what is known so far, but for its content.
    Started(Box<Call>),
    /// More text of the first choice.
    Text {
        call: CallId,
        at: Timestamp,
        text: String,
    },
    /// The call is over.
    Finished(Box<Call>),
    /// The process has read the head of a request that it is to answer, a call or not.
    Serving(Box<Served>),
    /// It has answered it, or never will. Comes after the call is over, if it was one.
    Answered(Answered),
    /// What the source may do with the rest of this connection.
    Verdict {
        connection: ConnectionId,
        verdict: Verdict,
    },
}

/// What an engine is to build.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub llm: crate::llm::Options,
    /// Give [`Output::Text`] as it comes.
    pub follow_text: bool,
    pub limits: Limits,
}

/// What an engine has seen, for its own health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub events: u64,
    pub bytes: u64,
    pub lost_bytes: u64,
    pub cut_bytes: u64,
    pub exchanges: u64,
    pub calls: u64,
    /// Connections forgotten because there were too many.
    pub evicted: u64,
    /// Exchanges not followed because their connection had too many open.
    pub refused_exchanges: u64,
    /// Of connections that are over.
    pub http: crate::http::Faults,
    /// Of contents that are over.
    pub content: crate::content::Faults,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    shared: Shared,
    connections: HashMap<ConnectionId, Connection>,
}

/// What every connection of an engine may use.
#[derive(Debug)]
struct Shared {
    options: Options,
    counters: Counters,
    next_call: u64,
}

impl Shared {
    fn next_call(&mut self) -> CallId {
        self.next_call = self.next_call.wrapping_add(1);
        CallId(self.next_call)
    }
}

impl Engine {
    pub fn new(options: Options) -> Self {
        let shared = Shared {
            options,
            counters: Counters::default(),
            next_call: 0,
        };
        Self {
            shared,
            connections: HashMap::new(),
        }
    }

    /// Applies to exchanges that begin from now on.
    pub fn set_options(&mut self, options: Options) {
        self.shared.options = options;
    }

    /// Takes one event. Events of one connection come in the order of their bytes.
    pub fn feed(&mut self, event: Event<'_>, out: &mut dyn FnMut(Output)) {
        let Event {
            connection: id,
            at,
            kind,
        } = event;
        count(&mut self.shared.counters.events, 1);
        if matches!(kind, EventKind::Close) {
            if let Some(connection) = self.connections.remove(&id) {
                connection.end(Some(at), &mut self.shared, out);
            }
            return;
        }
        if self.is_full() && !self.connections.contains_key(&id) {
            self.make_room(out);
        }
        let connection = self
            .connections
            .entry(id)
            .or_insert_with(|| Connection::new(id, at));
        match kind {
            EventKind::Open(origin) => connection.opened(at, *origin),
            EventKind::Data {
                direction,
                missing,
                bytes,
            } => {
                count(&mut self.shared.counters.bytes, bytes.len() as u64);
                count(&mut self.shared.counters.lost_bytes, missing.lost);
                count(&mut self.shared.counters.cut_bytes, missing.cut);
                connection.data(at, direction, missing, bytes, &mut self.shared, out);
            }
            EventKind::Close => {}
        }
    }

    /// Ends what has been silent for longer than the limits allow. `now` comes from the
    /// clock that stamps the events.
    pub fn advance(&mut self, now: Timestamp, out: &mut dyn FnMut(Output)) {
        let idle = self.shared.options.limits.idle;
        let silent = |c: &Connection| now.since(c.last_active()) > idle;
        for (_, connection) in self.connections.extract_if(|_, c| silent(c)) {
            connection.end(None, &mut self.shared, out);
        }
    }

    /// Ends everything; what was under way is reported as unfinished.
    pub fn finish(&mut self, out: &mut dyn FnMut(Output)) {
        let mut rest: Vec<_> = self.connections.drain().collect();
        rest.sort_unstable_by_key(|(id, _)| *id);
        for (_, connection) in rest {
            connection.end(None, &mut self.shared, out);
        }
    }

    pub fn counters(&self) -> Counters {
        self.shared.counters
    }

    /// Connections that the engine holds state for.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    fn is_full(&self) -> bool {
        self.connections.len() >= self.shared.options.limits.connections.max(1)
    }

    /// Forgets the quarter that was silent longest, so that the cost of looking for it is
    /// spread over that many new connections.
    fn make_room(&mut self, out: &mut dyn FnMut(Output)) {
        let mut ages: Vec<_> = self
            .connections
            .values()
            .map(Connection::last_active)
            .collect();
        let (_, newest_evicted, _) = ages.select_nth_unstable(self.connections.len() / 4);
        let newest_evicted = *newest_evicted;
        let old = |c: &Connection| c.last_active() <= newest_evicted;
        for (_, connection) in self.connections.extract_if(|_, c| old(c)) {
            count(&mut self.shared.counters.evicted, 1);
            connection.end(None, &mut self.shared, out);
        }
    }
}

fn count(counter: &mut u64, by: u64) {
    *counter = counter.saturating_add(by);
}
