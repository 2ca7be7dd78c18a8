//! A program that writes in one thread and reads in another may be heard to read a reply
//! before it is heard to write the request. No call gets the reply of another for that.

use llmtap::engine::{Engine, Options, Output};
use llmtap::event::Direction::{self, Read, Write};
use llmtap::event::{ConnectionId, Event, EventKind, Missing};
use llmtap::llm::call::Completeness;
use llmtap::time::Timestamp;

fn message(first: &str, body: &str) -> String {
    let length = body.len();
    format!("{first}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn request(number: u64) -> String {
    let body = format!(r#"{{"model":"{number}","messages":[{{"role":"user","content":"x"}}]}}"#);
    message("POST /v1/chat/completions HTTP/1.1\r\nHost: a.test", &body)
}

fn reply(number: u64) -> String {
    let choice = r#"{"index":0,"message":{"role":"assistant","content":"y"}}"#;
    let body = format!(r#"{{"id":"{number}","object":"chat.completion","choices":[{choice}]}}"#);
    message("HTTP/1.1 200 OK", &body)
}

/// The number of each request, that of its reply, and whether the call is whole, where
/// requests and replies come like that; `lost` bytes are missing before the last request.
fn calls(order: &[(Direction, u64)], lost: u64) -> Vec<(String, Option<String>, bool)> {
    let mut engine = Engine::new(Options::default());
    let mut calls = vec![];
    let mut clock = 0;
    let mut feed = |kind: EventKind<'_>| {
        clock += 1000;
        let event = Event {
            connection: ConnectionId(1),
            at: Timestamp::from_nanos(clock),
            kind,
        };
        engine.feed(event, &mut |output| {
            if let Output::Finished(call) = output {
                calls.push((
                    call.request.model.expect("it was asked for").into(),
                    call.response.id.map(Into::into),
                    call.capture.completeness == Completeness::Complete,
                ));
            }
        });
    };
    let last = order.iter().rposition(|(direction, _)| *direction == Write);
    for (index, &(direction, number)) in order.iter().enumerate() {
        let bytes = match direction {
            Write => request(number),
            Read => reply(number),
        };
        let missing = Missing {
            lost: if Some(index) == last { lost } else { 0 },
            cut: 0,
        };
        feed(EventKind::Data {
            direction,
            missing,
            bytes: bytes.as_bytes(),
        });
    }
    feed(EventKind::Close);
    calls.sort();
    calls
}

fn whole(number: u64) -> (String, Option<String>, bool) {
    (number.to_string(), Some(number.to_string()), true)
}

fn unanswered(number: u64) -> (String, Option<String>, bool) {
    (number.to_string(), None, false)
}

#[test]
fn a_request_that_its_reply_overtook_waits_for_no_other() {
    let order = [
        (Write, 1),
        (Read, 1),
        (Read, 2),
        (Write, 2),
        (Write, 3),
        (Read, 3),
        (Write, 4),
        (Read, 4),
    ];
    let expected = [whole(1), unanswered(2), whole(3), whole(4)];
    assert_eq!(calls(&order, 0), expected);
}

/// Whoever joins midway may see a reply first, whose request is never seen.
#[test]
fn a_reply_at_the_beginning_overtook_nothing() {
    let order = [(Read, 1), (Write, 2), (Read, 2)];
    assert_eq!(calls(&order, 0), [whole(2)]);
}

/// A request was lost, which is told when the next one comes.
#[test]
fn a_lost_request_was_not_overtaken() {
    let order = [(Write, 1), (Read, 1), (Read, 2), (Write, 3), (Read, 3)];
    let lost = request(2).len() as u64;
    assert_eq!(calls(&order, lost), [whole(1), whole(3)]);
}
