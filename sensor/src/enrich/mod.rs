//! Facts about where a call happened, joined to it.
//!
//! In: [`Call`]s, and the facts that their connections' events told. Out:
//! [`EnrichedCall`]s. Must not know: bytes, framing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::engine::{Answered, Served};
use crate::event::{ConnectionId, Event, EventKind, Origin};
use crate::llm::Call;
use crate::time::ClockOffset;

mod command;
mod container;
pub mod cost;
pub mod k8s;
pub mod process;
pub mod service;
pub mod tokens;
pub mod trace;

use cost::{Cost, Prices};
use trace::{Seed, Trace, Tracer};

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

/// A served request for which calls were made, with all that is known of its place. Not
/// redacted.
#[derive(Clone, Debug)]
pub struct EnrichedRequest {
    pub served: Box<Served>,
    pub answer: Answered,
    pub origin: Arc<Origin>,
    pub host: Option<Arc<str>>,
    pub clock: ClockOffset,
    pub trace: Trace,
}

/// Connections whose facts are kept at most; beyond it the oldest are forgotten.
const MAX_CONNECTIONS: usize = 1 << 17;

/// Closed connections whose facts are kept for calls that end a little later.
const MAX_CLOSED: usize = 1 << 10;

/// Joins calls to the facts of their connections, and to each other.
#[derive(Debug, Default)]
pub struct Joiner {
    clock: ClockOffset,
    host: Option<Arc<str>>,
    origins: Origins,
    tracer: Tracer,
}

/// What is known of each connection.
#[derive(Debug, Default)]
pub struct Origins {
    services: service::Rules,
    known: HashMap<ConnectionId, Facts>,
    /// In the order of their opening; holds closed ones, too, for a while.
    opened: VecDeque<ConnectionId>,
    closed: VecDeque<ConnectionId>,
}

#[derive(Debug)]
struct Facts {
    /// With the name under which its service is reported.
    origin: Arc<Origin>,
    /// The name that the process gives itself.
    declared: Option<Box<str>>,
}

impl Joiner {
    pub fn new(clock: ClockOffset, host: Option<&str>) -> Self {
        let host: Option<Arc<str>> = host.map(Arc::from);
        let seed = Seed {
            host: host.clone(),
            clock,
        };
        Self {
            clock,
            host,
            origins: Origins::default(),
            tracer: Tracer::new(seed),
        }
    }

    /// Names services by these rules from now on.
    pub fn name_services(&mut self, rules: service::Rules) {
        self.origins.services = rules;
        for facts in self.origins.known.values_mut() {
            facts.name(&self.origins.services);
        }
    }

    /// Takes note of the facts in `event`.
    pub fn observe(&mut self, event: &Event<'_>) {
        self.origins.observe(event);
    }

    /// What is known of `connection`.
    pub fn origin(&self, connection: ConnectionId) -> Arc<Origin> {
        self.origins.of(connection)
    }

    /// Takes note of a request that a process is to answer.
    pub fn serving(&mut self, served: Box<Served>) {
        let pid = self.origins.of(served.connection).pid;
        self.tracer.serving(served, pid);
    }

    /// Takes note of its end; gives it back where a call was made for it and it is none
    /// itself.
    pub fn answered(&mut self, answer: Answered) -> Option<EnrichedRequest> {
        let (served, trace) = self.tracer.answered(&answer)?;
        Some(EnrichedRequest {
            origin: self.origins.of(served.connection),
            host: self.host.clone(),
            clock: self.clock,
            served,
            answer,
            trace,
        })
    }

    /// A call that goes on.
    pub fn started(&mut self, call: Call) -> EnrichedCall {
        EnrichedCall {
            trace: self.tracer.place(&call, &self.origins),
            origin: self.origins.of(call.connection),
            host: self.host.clone(),
            clock: self.clock,
            cost: None,
            is_estimated: false,
            call,
        }
    }

    /// A call that is over.
    pub fn finished(&mut self, call: Call) -> EnrichedCall {
        let enriched = self.started(call);
        self.tracer.finished(&enriched.call);
        enriched
    }

    /// Calls that could not be put below one of the requests that their process had in hand.
    pub fn ambiguous(&self) -> u64 {
        self.tracer.ambiguous()
    }
}

impl Origins {
    fn observe(&mut self, event: &Event<'_>) {
        match &event.kind {
            EventKind::Open(origin) => self.open(event.connection, origin),
            EventKind::Data { .. } => {}
            EventKind::Close => {
                self.closed.push_back(event.connection);
                if self.closed.len() > MAX_CLOSED
                    && let Some(oldest) = self.closed.pop_front()
                {
                    self.known.remove(&oldest);
                }
            }
        }
    }

    fn of(&self, connection: ConnectionId) -> Arc<Origin> {
        let facts = self.known.get(&connection);
        facts
            .map(|facts| Arc::clone(&facts.origin))
            .unwrap_or_default()
    }

    fn open(&mut self, connection: ConnectionId, origin: &Origin) {
        if let Some(known) = self.known.get_mut(&connection) {
            known.update(origin, &self.services);
            return;
        }
        let mut facts = Facts {
            origin: Arc::default(),
            declared: None,
        };
        facts.update(origin, &self.services);
        self.known.insert(connection, facts);
        self.opened.push_back(connection);
        if self.opened.len() > MAX_CONNECTIONS
            && let Some(oldest) = self.opened.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Facts {
    fn update(&mut self, newer: &Origin, services: &service::Rules) {
        let origin = Arc::make_mut(&mut self.origin);
        origin.service = self.declared.take();
        origin.update(newer.clone());
        self.declared.clone_from(&origin.service);
        self.name(services);
    }

    fn name(&mut self, services: &service::Rules) {
        let origin = Arc::make_mut(&mut self.origin);
        origin.service.clone_from(&self.declared);
        origin.service = services.service(origin);
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
        assert_eq!(joiner.origins.known.len(), MAX_CLOSED);
    }

    #[test]
    fn services_are_renamed_while_their_connections_last() {
        let mut joiner = Joiner::default();
        let origin = Origin {
            unit: Some("shop.service".into()),
            ..Origin::default()
        };
        joiner.observe(&event(1, EventKind::Open(Box::new(origin))));
        let service = |joiner: &Joiner| joiner.origin(ConnectionId(1)).service.clone();
        assert_eq!(service(&joiner).as_deref(), Some("shop"));
        joiner.name_services(service::Rules::new(vec![service::Rule {
            unit: Some(service::Matcher::new("shop.*")),
            name: "ruled".into(),
            ..service::Rule::default()
        }]));
        assert_eq!(service(&joiner).as_deref(), Some("ruled"));
        joiner.observe(&open(1, 7));
        assert_eq!(service(&joiner).as_deref(), Some("ruled"));
        joiner.name_services(service::Rules::default());
        assert_eq!(service(&joiner).as_deref(), Some("shop"));
    }

    #[test]
    fn a_connection_that_never_closes_is_forgotten_at_last() {
        let mut joiner = Joiner::default();
        for connection in 0..=MAX_CONNECTIONS as u64 {
            joiner.observe(&open(connection, 7));
        }
        assert_eq!(joiner.origin(ConnectionId(0)).pid, None);
        assert_eq!(joiner.origins.known.len(), MAX_CONNECTIONS);
    }
}
