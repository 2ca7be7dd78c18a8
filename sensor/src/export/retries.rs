//! Finds the attempts of one request.
//!
//! In: records, as their calls end. Out: the same, each linked to the attempt that
//! failed before it: the same body from the same process to the same place, after a
//! status that asks to try again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::event::Role;
use crate::redact::{Record, SpanRef};
use crate::time::Timestamp;

/// Failed attempts that are remembered.
const MOST: usize = 4096;
/// Nobody waits longer before trying again.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Attempts that failed not long ago.
#[derive(Debug, Default)]
pub struct Retries {
    failed: HashMap<Request, Attempt>,
    /// By age.
    order: VecDeque<(Request, Timestamp)>,
}

/// What the attempts of one request have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    pid: u32,
    address: Option<Box<str>>,
    path: Option<Box<str>>,
    fingerprint: u64,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    span: SpanRef,
    end: Timestamp,
}

impl Retries {
    /// Links `record` to the attempt before it, and remembers it where it failed itself.
    pub fn link(&mut self, record: &mut Record) {
        let Some(request) = Request::of(record) else {
            return;
        };
        let timing = record.call().timing;
        let earlier = self.failed.remove(&request);
        // Two at once are no attempts of one.
        if let Some(earlier) = earlier
            && timing.start >= earlier.end
            && timing.start.since(earlier.end) <= LONGEST
        {
            record.link_retry(earlier.span);
        }
        if asks_for_another(record) {
            let span = SpanRef {
                trace: record.trace().trace,
                span: record.trace().span,
            };
            let end = timing.end;
            self.failed.insert(request.clone(), Attempt { span, end });
            self.order.push_back((request, end));
            self.forget();
        }
    }

    fn forget(&mut self) {
        while self.order.len() > MOST
            && let Some((request, end)) = self.order.pop_front()
        {
            // It may have failed again since.
            if self.failed.get(&request).is_some_and(|a| a.end == end) {
                self.failed.remove(&request);
            }
        }
    }
}

impl Request {
    fn of(record: &Record) -> Option<Self> {
        let call = record.call();
        if call.role != Role::Client {
            return None;
        }
        Some(Self {
            pid: record.origin().pid?,
            address: call.server.address.clone(),
            path: call.server.path.clone(),
            fingerprint: call.request.fingerprint?,
        })
    }
}

/// Statuses after which the clients of the providers try again: timeout, conflict, too
/// many requests, and what is wrong with the server.
fn asks_for_another(record: &Record) -> bool {
    let status = record.call().server.status;
    status.is_some_and(|status| matches!(status, 408 | 409 | 429 | 500..=599))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::CallId;
    use crate::samples::record;

    fn attempt(id: u64, start: u64, status: u16) -> Record {
        record(|call, _| {
            call.id = CallId(id);
            call.timing.start = Timestamp::from_nanos(start * 1_000_000_000);
            call.timing.end = Timestamp::from_nanos((start + 1) * 1_000_000_000);
            call.server.status = Some(status);
            call.request.fingerprint = Some(7);
        })
    }

    fn span(record: &Record) -> SpanRef {
        SpanRef {
            trace: record.trace().trace,
            span: record.trace().span,
        }
    }

    #[test]
    fn each_attempt_links_to_the_one_before() {
        let mut retries = Retries::default();
        let mut attempts = [
            attempt(1, 0, 429),
            attempt(2, 2, 503),
            attempt(3, 5, 200),
            attempt(4, 7, 200),
        ];
        attempts.iter_mut().for_each(|a| retries.link(a));
        let [first, second, third, another] = attempts;
        assert_eq!(first.retry_of(), None);
        assert_eq!(second.retry_of(), Some(span(&first)));
        assert_eq!(third.retry_of(), Some(span(&second)));
        assert_eq!(another.retry_of(), None, "the one before went well");
    }

    #[test]
    fn other_requests_are_no_attempts() {
        let links = |change: fn(&mut Record) -> Record| {
            let mut retries = Retries::default();
            retries.link(&mut attempt(1, 0, 429));
            let mut later = change(&mut attempt(2, 2, 200));
            retries.link(&mut later);
            later.retry_of().is_some()
        };
        assert!(links(|r| r.clone()));
        assert!(!links(|_| record(
            |call, _| call.request.fingerprint = Some(8)
        )));
        assert!(!links(|_| record(|call, origin| {
            call.request.fingerprint = Some(7);
            origin.pid = Some(1);
        })));
        assert!(!links(|_| attempt(2, 0, 200)), "both at once");
        assert!(!links(|_| attempt(2, 2000, 200)), "much later");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut retries = Retries::default();
        for id in 0..2 * MOST as u64 {
            let mut failed = record(|call, _| {
                call.server.status = Some(500);
                call.request.fingerprint = Some(id);
            });
            retries.link(&mut failed);
        }
        assert_eq!(retries.failed.len(), MOST);
        assert_eq!(retries.order.len(), MOST);
    }
}
