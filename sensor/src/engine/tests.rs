//! What an engine tells of requests that are served.

use super::{Answered, Engine, Options, Output};
use crate::event::{ConnectionId, Direction, Event, EventKind, Missing, Origin};
use crate::time::Timestamp;

/// What comes out for bytes of one connection, each piece moved by a thread.
fn run(pieces: &[(Direction, u32, &str)]) -> Vec<Output> {
    let mut engine = Engine::new(Options::default());
    let mut out = Vec::new();
    for (at, (direction, thread, text)) in (1..).zip(pieces) {
        let origin = Origin {
            tid: Some(*thread),
            ..Origin::default()
        };
        let data = EventKind::Data {
            direction: *direction,
            missing: Missing::NONE,
            bytes: text.as_bytes(),
        };
        for kind in [EventKind::Open(Box::new(origin)), data] {
            let event = Event {
                connection: ConnectionId(1),
                at: Timestamp::from_nanos(at),
                kind,
            };
            engine.feed(event, &mut |output| out.push(output));
        }
    }
    out
}

/// The outputs about served requests, in a few words.
fn told(outputs: &[Output]) -> Vec<String> {
    let tell = |output: &Output| match output {
        Output::Serving(served) => Some(format!(
            "{} serves {} {} on {:?} in {:?}",
            served.id.0,
            served.method,
            served.path.as_deref().unwrap_or("?"),
            served.thread.unwrap_or(0),
            served.context.as_ref().map(|c| c.span),
        )),
        Output::Answered(Answered {
            id,
            at,
            status,
            thread,
        }) => Some(format!(
            "{} answered {:?} on {:?} at {}",
            id.0,
            status.unwrap_or(0),
            thread.unwrap_or(0),
            at.as_nanos()
        )),
        Output::Finished(call) => Some(format!("{} was a call", call.id.0)),
        _ => None,
    };
    outputs.iter().filter_map(tell).collect()
}

use Direction::{Read, Write};

#[test]
fn what_is_served_is_told_with_its_threads() {
    let outputs = run(&[
        (
            Read,
            4,
            "GET /a?b=c HTTP/1.1\r\nhost: x\r\nb3: 1111111111111111-",
        ),
        (Read, 5, "0000000000000002-1\r\n\r\n"),
        (Write, 6, "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n"),
        (Write, 7, "no"),
        (
            Read,
            4,
            "POST /d HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n1",
        ),
        (Write, 4, "HTTP/1.1 204 OK\r\n\r\n"),
    ]);
    assert_eq!(
        told(&outputs),
        [
            "1 serves GET /a on 5 in Some(2)",
            "1 answered 500 on 6 at 4",
            "2 serves POST /d on 4 in None",
            "2 answered 204 on 4 at 6",
        ]
    );
}

#[test]
fn what_a_process_asks_for_is_not_served() {
    let outputs = run(&[
        (Write, 4, "GET /a HTTP/1.1\r\nhost: x\r\n\r\n"),
        (Read, 4, "HTTP/1.1 204 OK\r\n\r\n"),
    ]);
    assert_eq!(told(&outputs), [""; 0]);
}

#[test]
fn a_subscription_is_answered_when_it_begins() {
    for head in [
        "HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    ] {
        let outputs = run(&[
            (
                Read,
                4,
                "GET /a HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            ),
            (Write, 4, head),
        ]);
        assert_eq!(told(&outputs).len(), 2, "{head}");
    }
    // The stream that answers a question is part of the answer.
    let outputs = run(&[
        (
            Read,
            4,
            "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            Write,
            4,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n",
        ),
    ]);
    assert_eq!(told(&outputs), ["1 serves POST /a on 4 in None"]);
}

#[test]
fn a_served_call_has_the_number_of_its_request() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    let reply = r#"{"object":"chat.completion","choices":[]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{reply}",
        reply.len()
    );
    let outputs = run(&[
        (Read, 4, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        (Write, 4, "HTTP/1.1 204 OK\r\n\r\n"),
        (Read, 4, &request),
        (Write, 4, &response),
    ]);
    let told = told(&outputs);
    assert_eq!(
        told[3..],
        ["2 was a call", "2 answered 200 on 4 at 4"],
        "{told:?}"
    );
}
