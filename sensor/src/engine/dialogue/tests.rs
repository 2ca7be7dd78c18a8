use std::collections::BTreeMap;

use crate::engine::{Engine, Limits, Options, Output};
use crate::event::{ConnectionId, Direction, Event, EventKind, Missing, Origin, Role, Verdict};
use crate::llm::Call;
use crate::llm::call::{Failure, TraceContext, Value};
use crate::time::Timestamp;

use Direction::{Read, Write};

/// Bytes, in which direction they go, and how many are missing before them.
type Piece = (Direction, Missing, Vec<u8>);

fn said(direction: Direction, text: &str) -> Piece {
    (direction, Missing::NONE, format!("{text}\n").into_bytes())
}

fn lost(direction: Direction, bytes: u64, text: &str) -> Piece {
    let (_, _, bytes_after) = said(direction, text);
    let missing = Missing {
        lost: bytes,
        cut: 0,
    };
    (direction, missing, bytes_after)
}

fn pipe() -> Origin {
    Origin {
        pid: Some(5),
        tls: Some("none".into()),
        pipe: Some(70),
        ..Origin::default()
    }
}

/// What comes out of an engine for pieces that cross at these times, of a connection that is
/// closed at the end.
fn play(limits: Limits, origin: Origin, pieces: &[(u64, Piece)]) -> Vec<Output> {
    let mut engine = Engine::new(Options {
        llm: crate::llm::Options { content: true },
        follow_text: false,
        limits,
    });
    let mut out = Vec::new();
    let mut feed = |at, kind| {
        let (connection, at) = (ConnectionId(1), Timestamp::from_nanos(at));
        let event = Event {
            connection,
            at,
            kind,
        };
        engine.feed(event, &mut |output| out.push(output));
    };
    feed(0, EventKind::Open(Box::new(origin)));
    for (at, (direction, missing, bytes)) in pieces {
        let data = EventKind::Data {
            direction: *direction,
            missing: *missing,
            bytes,
        };
        feed(*at, data);
    }
    feed(99, EventKind::Close);
    out
}

/// The same of pieces that cross one a nanosecond, from 1 on.
fn run_with(limits: Limits, origin: Origin, pieces: &[Piece]) -> Vec<Output> {
    let timed: Vec<_> = (1..).zip(pieces.iter().cloned()).collect();
    play(limits, origin, &timed)
}

fn run(pieces: &[Piece]) -> Vec<Output> {
    run_with(Limits::default(), pipe(), pieces)
}

fn finished(outputs: &[Output]) -> Vec<&Call> {
    let calls = outputs.iter().filter_map(|output| match output {
        Output::Finished(call) => Some(&**call),
        _ => None,
    });
    calls.collect()
}

fn text<'a>(call: &'a Call, name: &str) -> &'a str {
    match call.extra.iter().find(|(known, _)| known == name) {
        Some((_, Value::String(text))) => text,
        _ => "",
    }
}

/// Calls in a few words: who asked what, when, and what went wrong.
fn told(outputs: &[Output]) -> Vec<String> {
    let tell = |call: &Call| {
        let role = match call.role {
            Role::Client => "asks",
            Role::Server => "serves",
        };
        let (method, id) = (
            text(call, "mcp.method.name"),
            text(call, "jsonrpc.request.id"),
        );
        let times = [call.timing.start, call.timing.end].map(Timestamp::as_nanos);
        let mut told = format!("{role} {method} {id} {}-{}", times[0], times[1]);
        if let Some(error) = &call.error {
            told += &format!(" {}", error.kind);
        }
        if call.capture.lost_bytes > 0 {
            told += &format!(" -{}", call.capture.lost_bytes);
        }
        told
    };
    finished(outputs).into_iter().map(tell).collect()
}

fn verdicts(outputs: &[Output]) -> Vec<Verdict> {
    let verdicts = outputs.iter().filter_map(|output| match output {
        Output::Verdict { verdict, .. } => Some(*verdict),
        _ => None,
    });
    verdicts.collect()
}

fn asks(direction: Direction, id: u32, method: &str, params: &str) -> Piece {
    let text =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#);
    said(direction, &text)
}

fn answers(direction: Direction, id: u32, result: &str) -> Piece {
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{result}}}}}"#);
    said(direction, &text)
}

fn tells(direction: Direction, method: &str, params: &str) -> Piece {
    let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{{params}}}}}"#);
    said(direction, &text)
}

const ADD: &str = r#""name":"add","arguments":{"a":1}"#;

/// What a server's process sees of a whole session.
fn session() -> Vec<Piece> {
    vec![
        asks(
            Read,
            0,
            "initialize",
            r#""protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}"#,
        ),
        answers(
            Write,
            0,
            r#""protocolVersion":"2025-03-26","serverInfo":{"name":"s","version":"2"}"#,
        ),
        tells(Read, "notifications/initialized", ""),
        asks(Read, 1, "tools/list", ""),
        answers(Write, 1, r#""tools":[]"#),
        asks(Read, 2, "tools/call", ADD),
        asks(Write, 2, "sampling/createMessage", r#""messages":[]"#),
        tells(Write, "notifications/progress", r#""progress":1"#),
        asks(
            Read,
            3,
            "tools/call",
            r#""name":"fail","arguments":{"b":2}"#,
        ),
        answers(
            Write,
            3,
            r#""content":[{"type":"text","text":"no"}],"isError":true"#,
        ),
        answers(Read, 2, r#""role":"assistant""#),
        answers(Write, 2, r#""content":[],"structuredContent":{"result":3}"#),
    ]
}

#[test]
fn requests_of_both_sides_find_their_answers() {
    let outputs = run(&session());
    assert_eq!(
        told(&outputs),
        [
            "serves initialize 0 1-2",
            "serves tools/list 1 4-5",
            "serves tools/call 3 9-10 tool_error",
            "asks sampling/createMessage 2 7-11",
            "serves tools/call 2 6-12",
        ]
    );
    assert_eq!(verdicts(&outputs), [Verdict::Wanted]);
}

#[test]
fn a_tool_is_called_with_arguments_and_its_result() {
    let outputs = run(&session());
    let calls = finished(&outputs);
    let of_tool = |call: &&&Call| text(call, "gen_ai.tool.name") == "add";
    let found: Vec<_> = calls.iter().filter(of_tool).collect();
    assert_eq!(found.len(), 1);
    let call = found[0];
    assert_eq!(call.operation, "execute_tool");
    for (name, value) in [
        ("gen_ai.tool.call.arguments", r#"{"a":1}"#),
        ("gen_ai.tool.call.result", r#"{"result":3}"#),
        ("network.transport", "pipe"),
        // The server has the last word on the version.
        ("mcp.protocol.version", "2025-03-26"),
        ("llmtap.mcp.client.name", "c"),
        ("llmtap.mcp.client.version", "1"),
        ("llmtap.mcp.server.name", "s"),
        ("llmtap.mcp.server.version", "2"),
    ] {
        assert_eq!(text(call, name), value, "{name}");
    }
}

#[test]
fn a_served_request_is_told_before_it_is_answered() {
    let outputs = run(&session());
    let told = outputs.iter().filter_map(|output| match output {
        Output::Serving(served) => Some(format!("{} serves {}", served.id.0, served.method)),
        Output::Answered(answered) => Some(format!("{} answered", answered.id.0)),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "1 serves initialize",
            "1 answered",
            "2 serves tools/list",
            "2 answered",
            "3 serves tools/call",
            "5 serves tools/call",
            "5 answered",
            "3 answered",
        ]
    );
}

#[test]
fn the_trace_of_a_request_is_known_from_its_parameters() {
    let params = r#""name":"add","_meta":{"traceparent":"00-11111111111111111111111111111111-2222222222222222-01"}"#;
    let outputs = run(&[asks(Read, 1, "tools/call", params), answers(Write, 1, "")]);
    let span = |context: &Option<TraceContext>| context.as_ref().map(|context| context.span);
    let served = outputs.iter().find_map(|output| match output {
        Output::Serving(served) => span(&served.context),
        _ => None,
    });
    let finished = span(&finished(&outputs)[0].context);
    assert_eq!([served, finished], [Some(0x2222_2222_2222_2222); 2]);
}

#[test]
fn where_the_bytes_are_cut_changes_nothing() {
    let cut = |most: usize| -> Vec<(u64, Piece)> {
        let mut pieces = Vec::new();
        for (at, (direction, _, bytes)) in (1..).zip(session()) {
            let chunk = |bytes: &[u8]| (at, (direction, Missing::NONE, bytes.to_vec()));
            pieces.extend(bytes.chunks(most).map(chunk));
        }
        pieces
    };
    let calls = |most| {
        let outputs = play(Limits::default(), pipe(), &cut(most));
        let calls = finished(&outputs).into_iter();
        calls.map(|call| format!("{call:?}")).collect::<Vec<_>>()
    };
    let whole = calls(usize::MAX);
    assert_eq!(whole.len(), 5);
    for most in [1, 2, 3, 7, 40] {
        assert_eq!(calls(most), whole, "in pieces of {most}");
    }
}

/// A session without these messages, each of which is told to be missing by the next of its
/// direction.
fn session_without(gone: std::ops::RangeInclusive<usize>) -> Vec<Piece> {
    let mut pieces = session();
    let first = *gone.start();
    for (direction, _, bytes) in pieces.drain(gone).collect::<Vec<_>>() {
        let mut later = pieces[first..].iter_mut();
        if let Some(next) = later.find(|(towards, ..)| *towards == direction) {
            let gone = Missing {
                lost: bytes.len() as u64,
                cut: 0,
            };
            next.1 = next.1.and(gone);
        }
    }
    pieces
}

/// Each message of a session goes missing in its turn, alone or with all before it.
#[test]
fn what_is_missing_takes_calls_away_and_changes_none() {
    let names = |call: &Call| {
        let name = |name| text(call, name).to_owned();
        (name("mcp.method.name"), name("jsonrpc.request.id"))
    };
    let whole = run(&session());
    let known: BTreeMap<_, _> = finished(&whole)
        .into_iter()
        .map(|call| (names(call), call))
        .collect();
    let mut seen = 0;
    for last in 0..session().len() {
        for first in [0, last] {
            let outputs = run(&session_without(first..=last));
            for call in finished(&outputs) {
                seen += 1;
                let before = known[&names(call)];
                for attribute in &call.extra {
                    let is_known = before.extra.contains(attribute);
                    assert!(is_known, "{attribute:?} without {first} to {last}");
                }
                let broke_off = |error: &Failure| error.kind == "stream_interrupted";
                let is_open =
                    call.capture.lost_bytes > 0 || call.error.as_ref().is_some_and(broke_off);
                assert!(call.error == before.error || is_open, "{call:?}");
                assert_eq!(call.operation, before.operation);
            }
        }
    }
    assert!(seen > 40, "{seen} calls");
}

#[test]
fn a_hole_is_told_of_the_requests_that_wait() {
    let outputs = run(&[
        asks(Read, 1, "tools/call", ADD),
        asks(Read, 2, "tools/list", ""),
        lost(Write, 9, r#"...rest of a message"}"#),
        answers(Write, 2, ""),
    ]);
    assert_eq!(
        told(&outputs),
        ["serves tools/list 2 2-4", "serves tools/call 1 1-1 -9",]
    );
}

#[test]
fn a_request_taken_back_is_over() {
    let outputs = run(&[
        asks(Write, 1, "tools/call", ADD),
        tells(
            Write,
            "notifications/cancelled",
            r#""requestId":1,"reason":"slow""#,
        ),
        answers(Read, 1, ""),
    ]);
    assert_eq!(
        told(&outputs),
        [
            "asks notifications/cancelled  2-2",
            "asks tools/call 1 1-2 cancelled",
        ]
    );
}

#[test]
fn errors_have_their_code() {
    let error = r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32602,"message":"Unknown tool"}}"#;
    let outputs = run(&[
        said(
            Write,
            r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{}}"#,
        ),
        said(Read, error),
    ]);
    assert_eq!(told(&outputs), ["asks tools/call x 1-2 -32602"]);
    let calls = finished(&outputs);
    assert_eq!(text(calls[0], "rpc.response.status_code"), "-32602");
    let words = calls[0]
        .error
        .as_ref()
        .and_then(|error| error.message.as_deref());
    assert_eq!(words, Some("Unknown tool"));
}

#[test]
fn an_answer_may_be_told_of_before_its_request() {
    let outputs = run(&[
        tells(Read, "notifications/initialized", ""),
        answers(Read, 1, r#""tools":[]"#),
        asks(Write, 1, "tools/list", ""),
    ]);
    assert_eq!(told(&outputs), ["asks tools/list 1 3-3"]);
    // What is older answered something else.
    let early = answers(Read, 1, "");
    let mut pieces = vec![early, tells(Read, "notifications/initialized", "")];
    pieces.extend((0..super::MAX_EARLY).map(|n| answers(Read, 100 + n as u32, "")));
    pieces.push(asks(Write, 1, "tools/list", ""));
    let last = told(&run(&pieces)).pop();
    assert_eq!(
        last.as_deref(),
        Some("asks tools/list 1 11-11 stream_interrupted")
    );
}

#[test]
fn a_list_holds_messages() {
    let outputs = run(&[
        said(
            Write,
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/list"}]"#,
        ),
        said(
            Read,
            r#"[{"jsonrpc":"2.0","id":2,"result":{}},{"jsonrpc":"2.0","id":1,"result":{}}]"#,
        ),
    ]);
    assert_eq!(told(&outputs), ["asks tools/list 2 1-2", "asks ping 1 1-2"]);
}

#[test]
fn other_messages_are_no_calls_and_soon_unwanted() {
    let cases = [
        // A language server, whose heads stand in lines of their own.
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"processId\":1}}Content-Length: 20\r\n\r",
        // An agent's editor.
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"session/prompt","params":{}}"#,
        // Another version, or none.
        r#"{"id":1,"method":"tools/list"}"#,
        r#"{"event":"done"}"#,
        "{",
        "text",
    ];
    for case in cases {
        let pieces: Vec<_> = (0..super::FRUITLESS).map(|_| said(Write, case)).collect();
        let outputs = run(&pieces);
        assert_eq!(told(&outputs), [""; 0], "{case}");
        assert_eq!(verdicts(&outputs), [Verdict::Unwanted], "{case}");
        let fewer = run(&pieces[1..]);
        assert_eq!(verdicts(&fewer), [], "{case}");
    }
}

#[test]
fn a_line_without_end_is_unwanted() {
    let limits = Limits {
        body: 1 << 10,
        ..Limits::default()
    };
    let long = || (Write, Missing::NONE, vec![b'{'; 1 << 20]);
    let outputs = run_with(limits, pipe(), &[long(), long(), long(), long(), long()]);
    assert_eq!(verdicts(&outputs), [Verdict::Unwanted]);
}

#[test]
fn requests_that_nobody_answers_are_given_up() {
    let limits = Limits {
        exchanges: 2,
        ..Limits::default()
    };
    let pieces = [1, 2, 3].map(|id| asks(Write, id, "tools/list", ""));
    let outputs = run_with(limits, pipe(), &pieces);
    assert_eq!(
        told(&outputs),
        [
            "asks tools/list 1 1-1 stream_interrupted",
            "asks tools/list 2 2-2 stream_interrupted",
            "asks tools/list 3 3-3 stream_interrupted",
        ]
    );
    // The first was given up when the third came, the others at the end.
    let place = |wanted: fn(&Output) -> bool| outputs.iter().rposition(wanted);
    let last_started = place(|output| matches!(output, Output::Started(_)));
    let first_finished = outputs
        .iter()
        .position(|output| matches!(output, Output::Finished(_)));
    assert!(first_finished < last_started);
}

/// A capture may lack what says that it is a pipe.
#[test]
fn without_facts_the_bytes_tell() {
    let outputs = run_with(Limits::default(), Origin::default(), &session());
    assert_eq!(told(&outputs), told(&run(&session())));
    let http = "POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
        content-length: 46\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}";
    let reply = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n\
        {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}";
    // Joined amid a request, whose body looks like a message.
    let pieces = [
        (Write, Missing::NONE, http[http.len() - 46..].into()),
        (Read, Missing::NONE, reply.into()),
        (Write, Missing::NONE, http.into()),
        (Read, Missing::NONE, reply.into()),
    ];
    let outputs = run_with(Limits::default(), Origin::default(), &pieces);
    let last = told(&outputs).pop();
    assert_eq!(last.as_deref(), Some("asks tools/list 1 3-4"));
}
