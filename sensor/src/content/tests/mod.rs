//! Contents cut at every place, decoded from every coding, with holes and hostile.

use super::*;

mod codings;
mod event_stream;
mod events;

use event_stream::{EVENT_STREAM, chunk};

const UNITS: Limits = Limits {
    whole: 1 << 20,
    tail: 1 << 10,
    message: 1 << 16,
    decoded: 1 << 28,
};

/// What a content gave: its units, and what was gathered.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    units: Vec<String>,
    times: Vec<u64>,
    whole: Option<(String, String, Missing)>,
    missing: Missing,
    faults: Faults,
}

fn show(bytes: &[u8]) -> String {
    match bytes.len() {
        0..300 => bytes.escape_ascii().to_string(),
        long => format!("[{long} bytes]"),
    }
}

fn run(mut content: Content, segments: &[Segment<'_>], complete: bool) -> Seen {
    let mut seen = Seen::default();
    let mut out = |message: Message<'_>| {
        let exception = match message.kind {
            MessageKind::Exception => "!",
            _ => "",
        };
        let name = message.name.map(|name| format!("{name}: "));
        let data = show(message.data);
        seen.units
            .push(format!("{exception}{}{data}", name.unwrap_or_default()));
        seen.times.push(message.at.as_nanos());
    };
    let mut at = 0;
    for segment in segments {
        at += 1;
        content.feed(Timestamp::from_nanos(at), *segment, &mut out);
    }
    content.finish(Timestamp::from_nanos(at + 1), complete, &mut out);
    seen.whole = content
        .body()
        .map(|body| (show(body.head), show(body.tail), body.missing));
    seen.missing = content.missing();
    seen.faults = content.faults();
    seen
}

/// Feeds `bytes` whole, then in two pieces cut at each place, then byte by byte; all must
/// give the same.
fn every_cut(make: impl Fn() -> Content, bytes: &[u8]) -> Seen {
    let mut whole = run(make(), &[Segment::Data(bytes)], true);
    whole.times.clear();
    let check = |segments: &[Segment<'_>]| {
        let mut seen = run(make(), segments, true);
        seen.times.clear();
        assert_eq!(seen, whole, "{} pieces", segments.len());
    };
    for at in 1..bytes.len() {
        let (a, b) = bytes.split_at(at);
        check(&[Segment::Data(a), Segment::Data(b)]);
    }
    check(&bytes.chunks(1).map(Segment::Data).collect::<Vec<_>>());
    whole
}

fn stream(content_type: &'static str) -> impl Fn() -> Content {
    move || Content::stream(Some(content_type), None, UNITS)
}

fn lost(bytes: u64) -> Segment<'static> {
    Segment::Gap(Missing {
        lost: bytes,
        cut: 0,
    })
}

const SSE: &str = "text/event-stream";

#[test]
fn lines_of_json() {
    let seen = every_cut(
        stream("application/x-ndjson; charset=utf-8"),
        b"{\"a\":1}\n\n  {\"b\":2}\r\n\x1e{\"c\":3}",
    );
    assert_eq!(
        seen.units,
        ["{\\\"a\\\":1}", "{\\\"b\\\":2}", "{\\\"c\\\":3}"]
    );
}

#[test]
fn elements_of_an_array() {
    let seen = every_cut(
        stream("application/json"),
        b" [ {\"t\":\"]}\\\"\\\\\"}\n,\n{\"n\":[1,[2]],\"o\":{}} , 7,true , \"s,]\",[[]]] ",
    );
    assert_eq!(
        seen.units,
        [
            r#"{\"t\":\"]}\\\"\\\\\"}"#,
            r#"{\"n\":[1,[2]],\"o\":{}}"#,
            "7",
            "true",
            r#"\"s,]\""#,
            "[[]]",
        ]
    );
}

#[test]
fn types_lie() {
    let kinds: &[(&str, &[u8], &str)] = &[
        ("application/json", b"data: {}\n\n", "units"),
        ("", b"event: x\ndata: {}\n\n", "units"),
        ("text/plain", b"id: 1\ndata: {}\n\n", "units"),
        ("application/json", b"[{\"a\":1}]", "units"),
        ("application/json", b"\n\n [\n {\"a\":1}]", "units"),
        ("application/json", b"[[0.1,0.2]]", "whole"),
        ("application/json", b"[]", "whole"),
        ("application/json", b"\n\n{\"a\":1}", "whole"),
        ("text/event-stream", b"{\"error\":1}", "whole"),
        (
            "text/event-stream; charset=utf-8",
            b": hi\n\ndata: 1\n\n",
            "units",
        ),
        ("application/x-ndjson", b"{\"a\":1}\n", "units"),
        (
            "application/vnd.amazon.eventstream",
            b"{\"message\":1}",
            "whole",
        ),
        ("text/plain", b"dat", "whole"),
        ("text/plain", b"identity", "whole"),
        ("audio/mpeg", b"\x00\x00\x00\x20ftypmp42....", "whole"),
        ("application/json", b"", "whole"),
    ];
    for (content_type, bytes, kind) in kinds {
        let content_type = (!content_type.is_empty()).then_some(*content_type);
        let seen = every_cut(|| Content::stream(content_type, None, UNITS), bytes);
        match *kind {
            "whole" => {
                assert_eq!(seen.units, [""; 0], "{}", bytes.escape_ascii());
                assert_eq!(seen.whole.unwrap().0, show(bytes));
            }
            _ => assert_eq!(seen.units.len(), 1, "{}", bytes.escape_ascii()),
        }
    }
}

#[test]
fn blank_lines_keep_a_connection_alive() {
    let mut bytes = b"\n".repeat(3000);
    bytes.extend(b"data: {}\n\n");
    let seen = run(
        Content::stream(None, None, UNITS),
        &bytes.chunks(1).map(Segment::Data).collect::<Vec<_>>(),
        true,
    );
    assert_eq!(seen.units, ["{}"]);
}

#[test]
fn units_have_a_largest_size() {
    let long = "x".repeat(UNITS.message + 1);
    let lines =
        format!("data: a\n\ndata: {long}\n\ndata: b\n\ndata: {long}\ndata: c\n\ndata: d\n\n");
    let seen = run(
        stream(SSE)(),
        &lines
            .as_bytes()
            .chunks(1000)
            .map(Segment::Data)
            .collect::<Vec<_>>(),
        true,
    );
    assert_eq!(seen.units, ["a", "b", "d"]);
    assert_eq!(seen.faults.oversized, 2);

    let lines = format!("1\n{long}\n2\n");
    let seen = run(
        stream("application/jsonl")(),
        &lines
            .as_bytes()
            .chunks(1000)
            .map(Segment::Data)
            .collect::<Vec<_>>(),
        true,
    );
    assert_eq!(
        (&seen.units[..], seen.faults.oversized),
        (&["1".to_owned(), "2".to_owned()][..], 1)
    );

    let messages = [chunk("a"), chunk(&long), chunk("b")].concat();
    let seen = run(
        stream(EVENT_STREAM)(),
        &messages.chunks(1000).map(Segment::Data).collect::<Vec<_>>(),
        true,
    );
    assert_eq!(seen.units, ["chunk: a", "chunk: b"]);
    assert_eq!(seen.faults.oversized, 1);

    let array = format!("[{{\"a\":1}}\n,\n{{\"a\":\"{long}\"}}\n,\n{{\"a\":2}}]");
    let seen = run(
        stream("application/json")(),
        &array
            .as_bytes()
            .chunks(1000)
            .map(Segment::Data)
            .collect::<Vec<_>>(),
        true,
    );
    assert_eq!(seen.units, ["{\\\"a\\\":1}", "{\\\"a\\\":2}"]);
    assert_eq!(seen.faults.oversized, 1);
}

#[test]
fn a_whole_content_keeps_head_and_tail() {
    let limits = Limits {
        whole: 10,
        tail: 4,
        ..UNITS
    };
    let gather = |text: &str, step: usize| {
        let segments: Vec<_> = text.as_bytes().chunks(step).map(Segment::Data).collect();
        run(Content::whole(None, limits), &segments, true)
            .whole
            .unwrap()
    };
    let cut = |cut| Missing { lost: 0, cut };
    for step in [1, 3, 100] {
        assert_eq!(
            gather("0123456789", step),
            ("0123456789".into(), "".into(), cut(0))
        );
        assert_eq!(
            gather("0123456789a", step),
            ("012345".into(), "789a".into(), cut(1))
        );
        let long = "0123456789".repeat(9) + "abcdef";
        assert_eq!(
            gather(&long, step),
            ("012345".into(), "cdef".into(), cut(86))
        );
    }
}

#[test]
fn a_whole_content_with_holes() {
    let seen = run(
        Content::whole(None, UNITS),
        &[
            Segment::Data(b"head"),
            lost(5),
            Segment::Data(b"ta"),
            Segment::Data(b"il"),
        ],
        true,
    );
    assert_eq!(
        seen.whole.unwrap(),
        ("head".into(), "tail".into(), Missing { lost: 5, cut: 0 })
    );

    let seen = run(
        Content::whole(None, UNITS),
        &[
            Segment::Data(b"head"),
            lost(5),
            Segment::Data(b"island"),
            lost(1),
            Segment::Data(b"tail"),
        ],
        true,
    );
    assert_eq!(
        seen.whole.unwrap(),
        ("head".into(), "tail".into(), Missing { lost: 12, cut: 0 })
    );
}
