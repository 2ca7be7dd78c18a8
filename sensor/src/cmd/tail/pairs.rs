//! Finds the two ends of one call where both are on this host.
//!
//! In: calls as they start. Out: which of them is the same call, seen from its other
//! end. Pure.

use std::time::Duration;

use llmtap::llm::CallId;
use llmtap::redact::Record;

/// The ends of one call start no further apart than this.
const APART: Duration = Duration::from_secs(2);

/// Calls that have started and are not known to have another end here.
#[derive(Debug, Default)]
pub struct Pairs(Vec<Record>);

impl Pairs {
    /// Takes in a call that starts and answers its other end, where that started
    /// before.
    pub fn start(&mut self, record: &Record) -> Option<CallId> {
        // Of several alike the first that started is the first to be answered.
        match self.0.iter().position(|end| are_ends(end, record)) {
            Some(at) => Some(self.0.remove(at).call().id),
            None => {
                self.0.push(record.clone());
                None
            }
        }
    }

    /// Forgets a call that has ended.
    pub fn finish(&mut self, id: CallId) {
        self.0.retain(|end| end.call().id != id);
    }
}

/// Whether these are one call, seen by the process that made it and by the one that
/// serves it.
fn are_ends(a: &Record, b: &Record) -> bool {
    let (call, other) = (a.call(), b.call());
    if call.role == other.role || a.origin().pid == b.origin().pid {
        return false;
    }
    let (start, other_start) = (call.timing.start, other.timing.start);
    let apart = start.since(other_start).max(other_start.since(start));
    if apart > APART
        || call.request.model != other.request.model
        || call.message_id() != other.message_id()
    {
        return false;
    }
    // Where an end does not know its socket, the same words must do.
    same_connection(a, b)
        .unwrap_or_else(|| call.request == other.request && call.server.path == other.server.path)
}

/// Whether the sockets are the two ends of one connection; `None` where that can't be
/// told.
fn same_connection(a: &Record, b: &Record) -> Option<bool> {
    let (a, b) = (a.origin(), b.origin());
    if let (Some(a), Some(b)) = (a.pipe, b.pipe) {
        return Some(a == b);
    }
    Some(a.local? == b.peer? && a.peer? == b.local?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::record;
    use llmtap::event::Role;
    use llmtap::llm::call::{MESSAGE_ID, Value};

    fn client(id: u64) -> Record {
        record(|call, _| call.id = CallId(id))
    }

    fn server(id: u64) -> Record {
        record(|call, origin| {
            call.id = CallId(id);
            call.role = Role::Server;
            origin.pid = Some(7);
            std::mem::swap(&mut origin.local, &mut origin.peer);
        })
    }

    #[test]
    fn swapped_addresses_make_a_pair_whichever_starts_first() {
        let mut pairs = Pairs::default();
        assert_eq!(pairs.start(&server(1)), None);
        assert_eq!(pairs.start(&client(2)), Some(CallId(1)));
        // The next call on the same connection is another.
        assert_eq!(pairs.start(&client(3)), None);
        assert_eq!(pairs.start(&server(4)), Some(CallId(3)));
        pairs.start(&client(5));
        pairs.finish(CallId(5));
        assert!(pairs.0.is_empty());
    }

    #[test]
    fn other_sockets_roles_or_times_make_none() {
        let mut pairs = Pairs::default();
        pairs.start(&client(1));
        assert_eq!(pairs.start(&client(2)), None);
        let elsewhere = record(|call, origin| {
            call.role = Role::Server;
            origin.pid = Some(7);
        });
        assert_eq!(pairs.start(&elsewhere), None);
        let later = record(|call, origin| {
            call.role = Role::Server;
            origin.pid = Some(7);
            std::mem::swap(&mut origin.local, &mut origin.peer);
            call.timing.start = llmtap::time::Timestamp::from_nanos(9_000_000_000);
        });
        assert_eq!(pairs.start(&later), None);
    }

    #[test]
    fn without_a_socket_the_request_tells() {
        let blind = |id, text: &str| {
            record(|call, origin| {
                call.id = CallId(id);
                call.role = Role::Server;
                call.request.system = vec![llmtap::llm::call::Part::Text(text.into())];
                origin.pid = Some(7);
                origin.peer = origin.local.take();
            })
        };
        let spoken = record(|call, _| {
            call.request.system = vec![llmtap::llm::call::Part::Text("a".into())];
        });
        let mut pairs = Pairs::default();
        pairs.start(&spoken);
        assert_eq!(pairs.start(&blind(8, "b")), None);
        assert_eq!(pairs.start(&blind(9, "a")), Some(CallId(1)));
    }

    #[test]
    fn over_pipes_the_message_tells() {
        let end = |id, role, pipe, message: &str| {
            record(|call, origin| {
                call.id = CallId(id);
                call.role = role;
                let message = Value::String(message.into());
                call.extra.push((MESSAGE_ID.into(), message));
                origin.pid = Some(if role == Role::Client { 4 } else { 5 });
                (origin.local, origin.peer, origin.pipe) = (None, None, Some(pipe));
            })
        };
        let mut pairs = Pairs::default();
        for (id, message) in [(1, "8"), (2, "9")] {
            assert_eq!(pairs.start(&end(id, Role::Client, 70, message)), None);
        }
        assert_eq!(pairs.start(&end(3, Role::Server, 71, "9")), None);
        assert_eq!(pairs.start(&end(4, Role::Server, 70, "9")), Some(CallId(2)));
    }

    #[test]
    fn a_gateway_is_not_its_own_other_end() {
        let mut pairs = Pairs::default();
        pairs.start(&client(1));
        let own = record(|call, origin| {
            call.role = Role::Server;
            std::mem::swap(&mut origin.local, &mut origin.peer);
        });
        assert_eq!(pairs.start(&own), None);
    }
}
