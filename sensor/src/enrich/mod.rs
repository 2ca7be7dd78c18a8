//! Facts about where a call happened, joined to it.
//!
//! In: [`Call`]s, and the facts that their connections' events told. Out:
//! [`EnrichedCall`]s. Must not know: bytes, framing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::event::{ConnectionId, Event, EventKind, Origin};
use crate::llm::Call;
use crate::time::ClockOffset;

pub mod cost;
pub mod process;
pub mod tokens;
pub mod trace;

use cost::{Cost, Prices};
use trace::{Seed, Trace};

/// A call with all that is known of its place. Not redacted: only
/// [`redact`](crate::redact) takes it on.
#[derive(Clone, Debug)]
pub struct EnrichedCall {
    pub call: Call,
    pub origin: Arc<Origin>,
    pub host: Option<Arc<str>>,
    pub clock: ClockOffset,
    pub trace: Trace,
    /// What it cost the process that made it; known of finished calls only.
    pub cost: Option<Cost>,
    /// Its tokens were counted by us; see [`tokens`].
    pub is_estimated: bool,
}

impl EnrichedCall {
    /// Works out what the call cost.
    pub fn price(&mut self, prices: &Prices) {
        let start = self.clock.unix_nanos(self.call.timing.start);
        self.cost = prices.cost(&self.call, start);
    }
}

/// Connections whose facts are kept at most; beyond it the oldest are forgotten.
const MAX_CONNECTIONS: usize = 1 << 17;

/// Closed connections whose facts are kept for calls that end a little later.
const MAX_CLOSED: usize = 1 << 10;

/// Joins calls to the facts of their connections.
#[derive(Debug, Default)]
pub struct Joiner {
    clock: ClockOffset,
    host: Option<Arc<str>>,
    origins: HashMap<ConnectionId, Arc<Origin>>,
    /// In the order of their opening; holds closed ones, too, for a while.
    opened: VecDeque<ConnectionId>,
    closed: VecDeque<ConnectionId>,
}

impl Joiner {
    pub fn new(clock: ClockOffset, host: Option<&str>) -> Self {
        Self {
            clock,
            host: host.map(Arc::from),
            ..Self::default()
        }
    }

    /// Takes note of the facts in `event`.
    pub fn observe(&mut self, event: &Event<'_>) {
        match &event.kind {
            EventKind::Open(origin) => self.open(event.connection, origin),
            EventKind::Data { .. } => {}
            EventKind::Close => {
                self.closed.push_back(event.connection);
                if self.closed.len() > MAX_CLOSED
                    && let Some(oldest) = self.closed.pop_front()
                {
                    self.origins.remove(&oldest);
                }
            }
        }
    }

    /// What is known of `connection`.
    pub fn origin(&self, connection: ConnectionId) -> Arc<Origin> {
        self.origins.get(&connection).cloned().unwrap_or_default()
    }

    pub fn join(&self, call: Call) -> EnrichedCall {
        EnrichedCall {
            origin: self.origin(call.connection),
            host: self.host.clone(),
            clock: self.clock,
            trace: self.place(&call),
            cost: None,
            is_estimated: false,
            call,
        }
    }

    fn place(&self, call: &Call) -> Trace {
        let seed = Seed {
            host: self.host.clone(),
            clock: self.clock,
        };
        seed.place(call)
    }

    fn open(&mut self, connection: ConnectionId, origin: &Origin) {
        if let Some(known) = self.origins.get_mut(&connection) {
            Arc::make_mut(known).update(origin.clone());
            return;
        }
        self.origins.insert(connection, Arc::new(origin.clone()));
        self.opened.push_back(connection);
        if self.opened.len() > MAX_CONNECTIONS
            && let Some(oldest) = self.opened.pop_front()
        {
            self.origins.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn event(connection: u64, kind: EventKind<'static>) -> Event<'static> {
        Event {
            connection: ConnectionId(connection),
            at: Timestamp::default(),
            kind,
        }
    }

    fn open(connection: u64, pid: u32) -> Event<'static> {
        let origin = Origin {
            pid: Some(pid),
            ..Origin::default()
        };
        event(connection, EventKind::Open(Box::new(origin)))
    }

    #[test]
    fn facts_add_up_and_outlive_the_connection_for_a_while() {
        let mut joiner = Joiner::default();
        joiner.observe(&open(1, 7));
        let named = Origin {
            comm: Some("curl".into()),
            ..Origin::default()
        };
        joiner.observe(&event(1, EventKind::Open(Box::new(named))));
        joiner.observe(&event(1, EventKind::Close));
        let origin = joiner.origin(ConnectionId(1));
        assert_eq!(
            (origin.pid, origin.comm.as_deref()),
            (Some(7), Some("curl"))
        );

        for connection in 2..3000 {
            joiner.observe(&open(connection, 7));
            joiner.observe(&event(connection, EventKind::Close));
        }
        assert_eq!(joiner.origin(ConnectionId(1)).pid, None);
        assert_eq!(joiner.origins.len(), MAX_CLOSED);
    }

    #[test]
    fn a_connection_that_never_closes_is_forgotten_at_last() {
        let mut joiner = Joiner::default();
        for connection in 0..=MAX_CONNECTIONS as u64 {
            joiner.observe(&open(connection, 7));
        }
        assert_eq!(joiner.origin(ConnectionId(0)).pid, None);
        assert_eq!(joiner.origins.len(), MAX_CONNECTIONS);
    }
}
