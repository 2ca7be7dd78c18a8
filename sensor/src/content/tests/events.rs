//! Server-sent events, whole and with holes.

use super::*;

#[test]
fn server_sent_events() {
    // (stream, events)
    let cases: &[(&[u8], &[&str])] = &[
        (b"data: a\n\ndata: b\n\n", &["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
        (b"data: a\r\rdata: b\r\r", &["a", "b"]),
        (b"\xEF\xBB\xBFdata: bom\n\n", &["bom"]),
        (b"event: x\ndata: 1\ndata: 2\n\n", &["x: 1\\n2"]),
        (b"event: x\nevent: y\ndata:1\n\ndata: z\n\n", &["y: 1", "z"]),
        (b": comment\n\n:\nid: 7\nretry: 10\ndata: a\n\n", &["a"]),
        (b"data:  two blanks\n\n", &[" two blanks"]),
        (b"data\n\ndata:\n\n", &["", ""]),
        (b"event: none\n\ndata: a\n\n", &["a"]),
        (
            b"data: {\"a\": \"b:c\"}\nunknown: x\n\n",
            &["{\"a\": \"b:c\"}"],
        ),
        (b"datax: no\n data: no\n\n", &[]),
        (b"data: last, unterminated", &["last, unterminated"]),
        (b"data: last line\n", &["last line"]),
        (b"\n\n\ndata: a\n\n\n\n", &["a"]),
        (b"data: \xff\xfe\n\n", &["\\xff\\xfe"]),
        (b"data: mixed\r\n\ndata: ends\n\r\n", &["mixed", "ends"]),
    ];
    for (bytes, events) in cases {
        let seen = every_cut(stream(SSE), bytes);
        assert_eq!(
            seen.units
                .iter()
                .map(|u| u.replace("\\\"", "\""))
                .collect::<Vec<_>>(),
            *events,
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn an_event_has_the_time_of_its_last_byte() {
    let pieces = |pieces: &[&'static str]| {
        let segments: Vec<_> = pieces.iter().map(|p| Segment::Data(p.as_bytes())).collect();
        run(stream(SSE)(), &segments, false).times
    };
    assert_eq!(pieces(&["data: a", "\n", "\n", "data: b\n\n"]), [3, 4]);
    assert_eq!(pieces(&["data: a\r\n\r", "\ndata: b\r\n\r\n"]), [2, 2]);
    assert_eq!(pieces(&["data: a\r\r", "data: b\r\r"]), [1, 2]);
    assert_eq!(pieces(&["[{}", ",{}", "]"]), [1, 2]);
}

#[test]
fn an_unfinished_event_is_none() {
    let seen = run(
        stream(SSE)(),
        &[Segment::Data(b"data: a\n\ndata: b\n")],
        false,
    );
    assert_eq!(seen.units, ["a"]);
    let seen = run(
        stream("application/x-ndjson")(),
        &[Segment::Data(b"1\n2")],
        false,
    );
    assert_eq!(seen.units, ["1"]);
}

#[test]
fn after_a_hole_events_resume_at_the_next_boundary() {
    let seen = run(
        stream(SSE)(),
        &[
            Segment::Data(b"data: a\n\ndata: {\"x"),
            lost(9),
            Segment::Data(b"\"}\ndata: tail\n\ndata: b\n\n"),
        ],
        true,
    );
    assert_eq!(seen.units, ["a", "b"]);
    assert_eq!(seen.missing.lost, 9);

    // The first line end may end a line whose start is missing.
    let seen = run(
        stream(SSE)(),
        &[lost(9), Segment::Data(b"\ndata: tail\n\ndata: b\n\n")],
        true,
    );
    assert_eq!(seen.units, ["b"]);

    let seen = run(
        stream("application/x-ndjson")(),
        &[Segment::Data(b"1\n2"), lost(3), Segment::Data(b"3\n4\n")],
        true,
    );
    assert_eq!(seen.units, ["1", "4"]);

    let seen = run(
        stream("application/json")(),
        &[
            Segment::Data(b"[{\"a\": 1}\n,\r\n{\"a\": "),
            lost(3),
            Segment::Data(b"{\"b\": 3}\n}\n,\r\n{\"a\": 4}]"),
        ],
        true,
    );
    assert_eq!(seen.units, ["{\\\"a\\\": 1}", "{\\\"a\\\": 4}"]);
}

/// With any bytes lost, every unit that still comes is one that came before.
#[test]
fn holes_take_units_away_and_make_none_up() {
    let messages: Vec<u8> = (0..4)
        .flat_map(|n| chunk(&format!("payload {n}")))
        .collect();
    let streams: [(&str, &[u8]); 5] = [
        (
            SSE,
            b"event: a\ndata: {\"n\": 1}\n\n: ping\n\ndata: one\ndata: two\n\nevent: b\ndata: 3\n\n",
        ),
        (
            SSE,
            b"data: {\"n\": 1}\r\n\r\nid: 1\r\ndata: 22\r\ndata: 33\r\n\r\ndata: {\"n\": 4}\r\n\r\n",
        ),
        ("application/x-ndjson", b"{\"n\":1}\n{\"n\":2}\r\n\n{\"n\":3}\n"),
        (
            "application/json",
            b"[{\n \"a\": [1,\n  {\"b\": \"}],\"}\n ]\n}\n,\r\n{\n \"a\": 2\n}\n,\n{\"a\": 3}\n]\n",
        ),
        (EVENT_STREAM, &messages),
    ];
    for (content_type, bytes) in streams {
        let whole = run(stream(content_type)(), &[Segment::Data(bytes)], true).units;
        assert!(whole.len() >= 3);
        for from in 1..bytes.len() {
            for to in (from + 1)..=bytes.len() {
                let pieces = [
                    Segment::Data(&bytes[..from]),
                    lost((to - from) as u64),
                    Segment::Data(&bytes[to..]),
                ];
                let mut rest = whole.iter();
                for unit in run(stream(content_type)(), &pieces, true).units {
                    assert!(
                        rest.any(|known| *known == unit),
                        "{unit} with {from}..{to} of {content_type} lost"
                    );
                }
            }
        }
    }
}
