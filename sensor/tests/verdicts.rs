//! What the engine lets its source leave out of a connection, and what it says of a call
//! that lost something to that.

use llmtap::engine::{Engine, Options, Output};
use llmtap::event::{ConnectionId, Direction, Event, EventKind, Missing, Verdict};
use llmtap::llm::Call;
use llmtap::llm::call::Completeness;
use llmtap::time::Timestamp;

const REPLY: &str = r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,
    "message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}"#;

struct Wire {
    engine: Engine,
    clock: u64,
    verdicts: Vec<Verdict>,
    calls: Vec<Call>,
}

impl Wire {
    fn new() -> Self {
        Self {
            engine: Engine::new(Options::default()),
            clock: 0,
            verdicts: vec![],
            calls: vec![],
        }
    }

    fn feed(&mut self, kind: EventKind<'_>) {
        self.clock += 1000;
        let event = Event {
            connection: ConnectionId(1),
            at: Timestamp::from_nanos(self.clock),
            kind,
        };
        self.engine.feed(event, &mut |output| match output {
            Output::Verdict { verdict, .. } => self.verdicts.push(verdict),
            Output::Finished(call) => self.calls.push(*call),
            _ => {}
        });
    }

    fn data(&mut self, direction: Direction, cut: u64, bytes: &[u8]) {
        let missing = Missing { lost: 0, cut };
        self.feed(EventKind::Data {
            direction,
            missing,
            bytes,
        });
    }

    /// An exchange of which all is seen; the verdicts that it led to.
    fn exchange(&mut self, request: &str, body: &str, reply: &str) -> Vec<Verdict> {
        self.data(Direction::Write, 0, message(request, body).as_bytes());
        let reply = message("HTTP/1.1 200 OK", reply);
        self.data(Direction::Read, 0, reply.as_bytes());
        std::mem::take(&mut self.verdicts)
    }

    fn get(&mut self) -> Vec<Verdict> {
        self.exchange("GET /health HTTP/1.1\r\nHost: gateway.test", "", "{}")
    }

    fn post(&mut self) -> Vec<Verdict> {
        let line = "POST /v1/items HTTP/1.1\r\nHost: gateway.test";
        self.exchange(line, r#"{"items":[1,2]}"#, "{}")
    }

    fn call(&mut self) -> Vec<Verdict> {
        self.exchange(CHAT, &prompt(10), REPLY)
    }
}

const CHAT: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway.test";

fn message(first: &str, body: &str) -> String {
    let length = body.len();
    let kind = "Content-Type: application/json";
    format!("{first}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn prompt(length: usize) -> String {
    let text = "x".repeat(length);
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

#[test]
fn of_other_requests_heads_are_enough_until_there_is_a_call() {
    use Verdict::{HeadsAndPosts, Undecided, Wanted};
    let mut wire = Wire::new();
    assert_eq!(wire.get(), [HeadsAndPosts]);
    for _ in 0..20 {
        assert_eq!(wire.get(), []);
    }
    assert_eq!(wire.call(), [Undecided, Wanted]);
    assert_eq!(wire.calls.len(), 1);
    assert_eq!(wire.calls[0].capture.completeness, Completeness::Complete);
    assert_eq!(wire.get(), [], "it carries calls");
    assert_eq!(wire.post(), []);
}

#[test]
fn where_much_is_posted_that_is_no_call_heads_are_enough_of_that_too() {
    use Verdict::{HeadsAndPosts, HeadsOnly, Undecided, Wanted};
    let mut wire = Wire::new();
    assert_eq!(wire.post(), [HeadsAndPosts]);
    for _ in 0..6 {
        assert_eq!(wire.post(), [Undecided, HeadsAndPosts]);
    }
    assert_eq!(wire.post(), [Undecided, HeadsOnly]);
    for _ in 0..20 {
        assert_eq!(wire.post(), [], "one more is no reason to look closer");
    }
    assert_eq!(wire.call(), [Undecided, Wanted]);
    assert_eq!(wire.calls.len(), 1);
}

/// The head of the request and its first bytes came; the rest had been left out by then,
/// which is told when the reply begins, or after it.
#[test]
fn a_call_that_a_verdict_cut_says_so() {
    for told_late in [false, true] {
        let mut wire = Wire::new();
        for _ in 0..20 {
            wire.post();
        }
        let request = message(CHAT, &prompt(200_000));
        let (head, rest) = request.split_at(4096);
        let cut = rest.len() as u64;
        wire.data(Direction::Write, 0, head.as_bytes());
        assert_eq!(wire.verdicts, [Verdict::Undecided]);
        if !told_late {
            wire.data(Direction::Write, cut, b"");
        }
        let reply = message("HTTP/1.1 200 OK", REPLY);
        wire.data(Direction::Read, 0, reply.as_bytes());
        if told_late {
            wire.data(Direction::Write, cut, b"");
        }
        wire.feed(EventKind::Close);
        let [call] = &wire.calls[..] else {
            panic!("{} calls", wire.calls.len());
        };
        assert_eq!(call.capture.completeness, Completeness::Truncated);
        assert!(call.capture.truncated);
        assert_eq!(call.capture.lost_bytes, 0, "left out is not lost");
        assert_eq!(call.response.model.as_deref(), Some("m"));
    }
}
