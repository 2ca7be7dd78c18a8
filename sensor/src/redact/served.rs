//! What of a served request may leave this process.

use std::sync::Arc;

use super::{Content, Policy, Selection, rules, without_keys};
use crate::engine::{Answered, Served};
use crate::enrich::EnrichedRequest;
use crate::enrich::trace::Trace;
use crate::event::Origin;
use crate::time::ClockOffset;

/// A request that a process served, for which it made calls, with everything removed that
/// was to be hidden: the span that those calls stand below.
#[derive(Clone, Debug)]
pub struct ServedRecord {
    served: Box<Served>,
    answer: Answered,
    origin: Arc<Origin>,
    host: Option<Arc<str>>,
    clock: ClockOffset,
    trace: Trace,
    share: f64,
}

impl ServedRecord {
    pub fn served(&self) -> &Served {
        &self.served
    }

    pub fn answer(&self) -> &Answered {
        &self.answer
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Where its span stands.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Of how many like it one is to be kept, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Whether the process could not answer.
    pub fn has_failed(&self) -> bool {
        self.answer.status.is_some_and(|status| status >= 500)
    }

    pub fn start_unix_nanos(&self) -> u64 {
        self.clock.unix_nanos(self.served.began)
    }

    pub fn end_unix_nanos(&self) -> u64 {
        self.clock.unix_nanos(self.answer.at)
    }
}

impl Policy {
    pub fn apply_served(&self, enriched: EnrichedRequest) -> ServedRecord {
        record(enriched, self.content, 1.0)
    }
}

impl Selection {
    /// The record of a served request, kept and cut as calls under its name and path are;
    /// `None` where nothing of it may leave.
    pub fn apply_served(
        &self,
        enriched: EnrichedRequest,
        service: Option<&str>,
    ) -> Option<ServedRecord> {
        let path = enriched.served.path.as_deref();
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.matches_place(service, path));
        if rule.is_some_and(|rule| rule.drop) {
            return None;
        }
        let content = rule.and_then(|rule| rule.content).unwrap_or(self.content);
        let share = rule.and_then(|rule| rule.share).unwrap_or(self.share);
        let mut record = record(enriched, content, share.0);
        if let Some(path) = &mut record.served.path {
            *path = self.patterns.mask(path.to_string()).into();
        }
        let took = record.answer.at.since(record.served.began);
        let is_slow = self.keep_slower.is_some_and(|limit| took > limit);
        if is_slow || (self.keep_errors && record.has_failed()) {
            record.share = 1.0;
        }
        Some(record)
    }
}

/// Paths of a service of the user's own may name people.
fn record(enriched: EnrichedRequest, content: Content, share: f64) -> ServedRecord {
    let EnrichedRequest {
        mut served,
        answer,
        origin,
        host,
        clock,
        trace,
    } = enriched;
    if content != Content::Full
        && let Some(masked) = served.path.as_deref().and_then(rules::mask)
    {
        served.path = Some(masked.into());
    }
    ServedRecord {
        served,
        answer,
        origin: without_keys(origin),
        host,
        clock,
        trace,
        share,
    }
}
