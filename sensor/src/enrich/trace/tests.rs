//! Processes that serve and call, told event by event.

use super::{Known, Parent, Seed, Trace, Tracer};
use crate::engine::{Answered, Served};
use crate::enrich::Origins;
use crate::event::{ConnectionId, Event, EventKind, Origin, Role};
use crate::llm::call::{Request, Response, Server, Timing, TraceContext};
use crate::llm::{Call, CallId};
use crate::time::Timestamp;

const PID: u32 = 7;
const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A host with one process of interest; each step is later than the one before.
#[derive(Default)]
struct Host {
    tracer: Tracer,
    origins: Origins,
    now: u64,
}

impl Host {
    fn new() -> Self {
        Self {
            tracer: Tracer::new(Seed::default()),
            ..Self::default()
        }
    }

    fn tick(&mut self) -> Timestamp {
        self.now += 1;
        Timestamp::from_nanos(self.now)
    }

    fn open(&mut self, connection: u64, pid: u32, local: u16, peer: u16) {
        let address = |port| Some(([127, 0, 0, 1], port).into());
        let origin = Origin {
            pid: Some(pid),
            local: address(local),
            peer: address(peer),
            ..Origin::default()
        };
        self.tell(connection, origin);
    }

    fn tell(&mut self, connection: u64, origin: Origin) {
        self.origins.observe(&Event {
            connection: ConnectionId(connection),
            at: Timestamp::default(),
            kind: EventKind::Open(Box::new(origin)),
        });
    }

    fn serve(&mut self, id: u64, thread: u32, sent: Option<&str>) {
        self.read(id, (thread, None), sent);
    }

    /// Reads a request, by a thread or, on one, by a goroutine.
    fn read(&mut self, id: u64, (thread, goroutine): (u32, Option<u32>), sent: Option<&str>) {
        let served = Served {
            id: CallId(id),
            connection: ConnectionId(id),
            thread: Some(thread),
            goroutine,
            context: sent.and_then(TraceContext::parse),
            began: self.tick(),
            method: "POST".into(),
            path: None,
            host: None,
            port: None,
        };
        self.tracer.serving(Box::new(served), Some(PID));
    }

    fn answer(&mut self, id: u64, thread: u32) -> Option<Trace> {
        let answer = Answered {
            id: CallId(id),
            at: self.tick(),
            status: Some(200),
            thread: Some(thread),
        };
        self.tracer.answered(&answer).map(|(_, trace)| trace)
    }

    /// Serves and answers so often that the process's threads are trusted.
    fn prove(&mut self) {
        for id in 1_000..1_010 {
            self.serve(id, 1, None);
            self.serve(id + 100, 2, None);
            assert_eq!(self.answer(id, 1), None, "no call was made for it");
            self.answer(id + 100, 2);
        }
    }

    fn call(&mut self, id: u64, thread: u32, sent: Option<&str>) -> Trace {
        self.open(id, PID, 40_000, 443);
        let call = self.made(id, Role::Client, thread, sent);
        self.tracer.place(&call, &self.origins)
    }

    /// A call of a program of Go.
    fn go(&mut self, id: u64, thread: u32, goroutine: u32) -> Trace {
        self.open(id, PID, 40_000, 443);
        let origin = Origin {
            language: Some("go".into()),
            ..Origin::default()
        };
        self.tell(id, origin);
        let mut call = self.made(id, Role::Client, thread, None);
        call.goroutine = Some(goroutine);
        self.tracer.place(&call, &self.origins)
    }

    fn made(&mut self, id: u64, role: Role, thread: u32, sent: Option<&str>) -> Call {
        Call {
            id: CallId(id),
            connection: ConnectionId(id),
            role,
            thread: Some(thread),
            goroutine: None,
            context: sent.and_then(TraceContext::parse),
            operation: "chat".into(),
            provider: "openai".into(),
            dialect: "openai.chat",
            server: Server::default(),
            request: Request::default(),
            response: Response::default(),
            usage: crate::llm::call::Usage::default(),
            timing: Timing {
                start: self.tick(),
                ..Timing::default()
            },
            error: None,
            capture: crate::llm::call::Capture::default(),
            extra: Vec::new(),
        }
    }
}

fn known(trace: &Trace) -> Option<Known> {
    trace.parent.map(|parent| parent.known)
}

/// Below `parent`, for that reason.
#[track_caller]
fn assert_below(trace: &Trace, parent: &Trace, known: Known) {
    let span = parent.span;
    assert_eq!(trace.parent, Some(Parent { span, known }));
    assert_eq!(trace.trace, parent.trace);
    assert_ne!(trace.span, parent.span);
}

#[test]
fn ids_follow_from_the_call_and_the_host() {
    let seed = Seed::default();
    let root = |c, id, at| seed.root(ConnectionId(c), CallId(id), Timestamp::from_nanos(at));
    let first = root(1, 2, 3);
    assert_eq!(first, root(1, 2, 3));
    let elsewhere = Seed {
        host: Some("b".into()),
        ..Seed::default()
    };
    let elsewhere = elsewhere.root(ConnectionId(1), CallId(2), Timestamp::from_nanos(3));
    for other in [root(2, 2, 3), root(1, 3, 3), root(1, 2, 4), elsewhere] {
        assert_ne!(first.trace, other.trace);
        assert_ne!(first.span, other.span);
    }
}

#[test]
fn a_call_that_nobody_asked_for_begins_a_trace() {
    let mut host = Host::new();
    assert_eq!(host.call(1, 1, None).parent, None);
    host.serve(2, 1, None);
    host.answer(2, 1);
    assert_eq!(host.call(3, 1, None).parent, None);
}

#[test]
fn what_the_call_says_comes_first() {
    let mut host = Host::new();
    host.prove();
    host.serve(1, 1, None);
    let call = host.call(2, 1, Some(SENT));
    assert_eq!(call.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert_eq!(known(&call), Some(Known::Sent));
    assert_eq!(call.parent.unwrap().span, 0xb7ad_6b71_6920_3331);
    assert_eq!(call.sampled, Some(true));
    assert_eq!(host.answer(1, 1), None, "it is no parent of ours");
}

#[test]
fn a_context_that_is_passed_on_tells_which_request_it_is_for() {
    let mut host = Host::new();
    let other = SENT.replace("0af7", "1111");
    host.serve(1, 1, Some(&other));
    host.serve(2, 1, Some(SENT));
    let call = host.call(3, 9, Some(SENT));
    let served = host.answer(2, 1).expect("it is a parent");
    assert_below(&call, &served, Known::Forwarded);
    assert_eq!(known(&served), Some(Known::Sent));
    // Two came with the same: it is for one of them, but which?
    host.serve(4, 1, Some(&other));
    assert_eq!(known(&host.call(5, 9, Some(&other))), Some(Known::Sent));
}

#[test]
fn the_only_request_in_hand_is_likely_the_reason() {
    let mut host = Host::new();
    host.serve(1, 1, None);
    let first = host.call(2, 1, None);
    let second = host.call(3, 5, None);
    let served = host.answer(1, 1).expect("it is a parent");
    assert_eq!(served.parent, None);
    assert_below(&first, &served, Known::Sole);
    assert_below(&second, &served, Known::Sole);
}

#[test]
fn threads_that_answer_what_they_read_tell_requests_apart() {
    let mut host = Host::new();
    host.prove();
    host.serve(1, 1, Some(SENT));
    host.serve(2, 2, None);
    let (a, b) = (host.call(3, 1, None), host.call(4, 2, None));
    assert_eq!(host.call(5, 3, None).parent, None, "a thread of neither");
    assert_eq!(host.tracer.ambiguous(), 1);
    let (served_b, served_a) = (host.answer(2, 2).unwrap(), host.answer(1, 1).unwrap());
    assert_below(&a, &served_a, Known::Thread);
    assert_below(&b, &served_b, Known::Thread);
    assert_eq!(served_a.sampled, Some(true));
    assert_eq!(a.sampled, Some(true));
}

#[test]
fn threads_of_go_tell_nothing() {
    let mut host = Host::new();
    host.prove();
    host.serve(1, 1, None);
    host.serve(2, 2, None);
    host.open(3, PID, 40_000, 443);
    let origin = Origin {
        language: Some("go".into()),
        ..Origin::default()
    };
    host.tell(3, origin);
    assert_eq!(host.call(3, 1, None).parent, None);
    host.answer(2, 2);
    assert_eq!(known(&host.call(3, 1, None)), None, "it stays what it was");
    host.tell(
        4,
        Origin {
            language: Some("go".into()),
            ..Origin::default()
        },
    );
    assert_eq!(known(&host.call(4, 1, None)), Some(Known::Sole));
}

#[test]
fn goroutines_tell_requests_apart() {
    let mut host = Host::new();
    // On whichever thread was free.
    host.read(1, (7, Some(70)), Some(SENT));
    host.read(2, (7, Some(71)), None);
    let (a, b) = (host.go(3, 9, 70), host.go(4, 9, 71));
    assert_eq!(host.go(5, 7, 72).parent, None, "started by one of them");
    let (served_b, served_a) = (host.answer(2, 8).unwrap(), host.answer(1, 8).unwrap());
    assert_below(&a, &served_a, Known::Goroutine);
    assert_below(&b, &served_b, Known::Goroutine);
    assert_eq!(host.go(6, 7, 70).parent, None, "it has answered");
}

#[test]
fn a_goroutine_with_several_requests_in_hand_tells_nothing() {
    let mut host = Host::new();
    host.read(1, (7, Some(70)), None);
    host.read(2, (7, Some(70)), None);
    host.read(3, (7, Some(71)), None);
    assert_eq!(host.go(4, 7, 70).parent, None);
    host.answer(2, 7);
    assert_eq!(host.go(5, 7, 70).parent, None, "nor with one of them left");
    assert_eq!(known(&host.go(6, 7, 71)), Some(Known::Goroutine));
    host.answer(1, 7);
    host.read(7, (7, Some(70)), None);
    let another = host.go(8, 7, 70);
    assert_eq!(known(&another), Some(Known::Goroutine), "of the same name");
}

#[test]
fn threads_without_proof_tell_nothing() {
    let mut host = Host::new();
    host.serve(1, 1, None);
    host.serve(2, 2, None);
    assert_eq!(host.call(3, 1, None).parent, None);
}

#[test]
fn requests_one_at_a_time_prove_nothing() {
    let mut host = Host::new();
    for id in 1_000..1_010 {
        host.serve(id, 1, None);
        host.answer(id, 1);
    }
    host.serve(1, 1, None);
    host.serve(2, 2, None);
    assert_eq!(host.call(3, 1, None).parent, None);
}

#[test]
fn threads_that_hand_over_tell_nothing() {
    let mut host = Host::new();
    host.prove();
    host.serve(1, 1, None);
    host.answer(1, 2);
    host.serve(2, 1, None);
    host.serve(3, 2, None);
    assert_eq!(host.call(4, 1, None).parent, None);
    host.answer(3, 2);
    assert_eq!(known(&host.call(5, 1, None)), Some(Known::Sole));
}

#[test]
fn a_thread_with_several_requests_in_hand_tells_nothing() {
    let mut host = Host::new();
    host.prove();
    host.serve(1, 1, None);
    host.serve(2, 1, None);
    host.serve(3, 2, None);
    assert_eq!(host.call(4, 1, None).parent, None);
    // Nor does it later, with one of them left.
    host.answer(2, 1);
    assert_eq!(host.call(5, 1, None).parent, None);
    // Another thread still does.
    assert_eq!(known(&host.call(6, 2, None)), Some(Known::Thread));
}

#[test]
fn a_request_that_came_after_the_call_is_no_reason() {
    let mut host = Host::new();
    host.open(1, PID, 1, 2);
    let call = host.made(1, Role::Client, 1, None);
    host.serve(2, 1, None);
    let placed = host.tracer.place(&call, &host.origins);
    assert_eq!(placed.parent, None);
}

#[test]
fn both_ends_of_a_call_are_one_trace() {
    let mut host = Host::new();
    // Two calls one after the other on one connection, as the client has them.
    host.open(1, PID, 40_000, 443);
    host.open(2, 9, 443, 40_000);
    let mut client = host.made(10, Role::Client, 1, Some(SENT));
    client.connection = ConnectionId(1);
    let first = host.tracer.place(&client, &host.origins);
    let mut server = host.made(20, Role::Server, 2, Some(SENT));
    server.connection = ConnectionId(2);
    let second = host.tracer.place(&server, &host.origins);
    assert_below(&second, &first, Known::Peer);
    assert_eq!(known(&first), Some(Known::Sent));
    assert_eq!(host.tracer.place(&server, &host.origins), second);
    host.tracer.finished(&server);
    client.timing.end = host.tick();
    host.tracer.finished(&client);

    let mut again = host.made(11, Role::Client, 1, None);
    again.connection = ConnectionId(1);
    let first = host.tracer.place(&again, &host.origins);
    let mut server = host.made(21, Role::Server, 2, None);
    server.connection = ConnectionId(2);
    assert_below(
        &host.tracer.place(&server, &host.origins),
        &first,
        Known::Peer,
    );
}

#[test]
fn an_end_that_is_over_is_no_peer() {
    let mut host = Host::new();
    host.open(1, PID, 40_000, 443);
    host.open(2, 9, 443, 40_000);
    let mut client = host.made(1, Role::Client, 1, None);
    host.tracer.place(&client, &host.origins);
    client.timing.end = host.tick();
    host.tracer.finished(&client);
    let server = host.made(2, Role::Server, 2, None);
    assert_eq!(host.tracer.place(&server, &host.origins).parent, None);
    // Nor is one of another connection.
    host.open(3, PID, 40_001, 443);
    let other = host.made(3, Role::Client, 1, None);
    host.tracer.place(&other, &host.origins);
    assert_eq!(host.tracer.place(&server, &host.origins).parent, None);
}

#[test]
fn a_gateway_passes_a_trace_through() {
    let mut host = Host::new();
    // It serves the call 1, whose client is on this host, and makes the call 2 for it.
    host.open(1, PID, 443, 40_000);
    host.open(5, 9, 40_000, 443);
    let outer = host.made(5, Role::Client, 1, None);
    let outer = host.tracer.place(&outer, &host.origins);
    host.serve(1, 1, None);
    let served = host.made(1, Role::Server, 1, None);
    let placed = host.tracer.place(&served, &host.origins);
    assert_below(&placed, &outer, Known::Peer);
    let inner = host.call(2, 4, None);
    assert_below(&inner, &placed, Known::Sole);
    host.tracer.finished(&served);
    assert_eq!(host.answer(1, 1), None, "it comes out as a call");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut host = Host::new();
    for id in 0..70_000 {
        host.serve(id, 1, None);
        let call = host.made(100_000 + id, Role::Client, 1, None);
        host.tracer.place(&call, &host.origins);
    }
    let Tracer {
        in_hand,
        calls,
        started,
        ends,
        ..
    } = &host.tracer;
    assert!(in_hand.len() <= super::tracer::MAX_IN_HAND);
    assert!(calls.len() <= super::tracer::MAX_CALLS && started.len() <= calls.len() + 1);
    assert!(ends.len() <= super::tracer::MAX_ENDS);
}
