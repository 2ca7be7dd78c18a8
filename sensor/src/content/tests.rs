//! Contents cut at every place, decoded from every coding, with holes and hostile.

use std::io::Write as _;

use super::*;

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

/// A message of an AWS event stream.
fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(name.len() as u8);
        block.extend(name.as_bytes());
        block.push(7);
        block.extend((value.len() as u16).to_be_bytes());
        block.extend(value.as_bytes());
    }
    framed(&block, payload)
}

fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let total = (headers.len() + payload.len() + 16) as u32;
    let mut bytes = total.to_be_bytes().to_vec();
    bytes.extend((headers.len() as u32).to_be_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend(headers);
    bytes.extend(payload);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

fn chunk(payload: &str) -> Vec<u8> {
    let headers = [
        (":event-type", "chunk"),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    message(&headers, payload.as_bytes())
}

#[test]
fn event_stream_messages() {
    let mut bytes = chunk("one");
    // Every type of header: two booleans, numbers of 1, 2, 4 and 8 bytes, bytes, time, UUID.
    let mut headers =
        b"\x01a\x00\x01b\x01\x01c\x02\x01\x01d\x03\x01\x02\x01e\x04\x01\x02\x03\x04".to_vec();
    headers.extend(b"\x01f\x05\x01\x02\x03\x04\x05\x06\x07\x08\x01g\x06\x00\x02xy");
    headers.extend(b"\x01h\x08\x01\x02\x03\x04\x05\x06\x07\x08\x01i\x09");
    headers.extend(*b"0123456789abcdef");
    headers.extend(b"\x0b:event-type\x07\x00\x04last");
    bytes.extend(framed(&headers, b"two"));
    bytes.extend(message(
        &[
            (":message-type", "exception"),
            (":exception-type", "throttlingException"),
        ],
        b"{\"message\":\"slow\"}",
    ));
    bytes.extend(message(
        &[
            (":message-type", "error"),
            (":error-code", "500"),
            (":error-message", "oh"),
        ],
        b"",
    ));
    let expected = [
        "chunk: one",
        "last: two",
        "!throttlingException: {\\\"message\\\":\\\"slow\\\"}",
        "!500: oh",
    ];
    // With its type, and with one that lies.
    for content_type in [EVENT_STREAM, "**REDACTED**"] {
        let seen = every_cut(stream(content_type), &bytes);
        assert_eq!(seen.units, expected);
        assert_eq!(seen.faults, Faults::default());
    }
}

#[test]
fn event_stream_damage_costs_what_it_hits() {
    let (one, two, three) = (chunk("one"), chunk("two"), chunk("three"));
    let hurt = |at: usize| {
        let mut two = two.clone();
        two[at] ^= 0x40;
        every_cut(stream(EVENT_STREAM), &[&one[..], &two, &three].concat())
    };
    for at in 0..two.len() {
        let seen = hurt(at);
        assert_eq!(seen.units, ["chunk: one", "chunk: three"], "byte {at} hurt");
        assert_eq!(seen.faults.malformed, 1, "byte {at} hurt");
    }
    // A hole that begins and ends anywhere.
    for cut in 1..two.len() {
        let seen = run(
            stream(EVENT_STREAM)(),
            &[
                Segment::Data(&one),
                Segment::Data(&two[..cut / 2]),
                lost((cut - cut / 2) as u64),
                Segment::Data(&two[cut..]),
                Segment::Data(&three),
            ],
            true,
        );
        assert_eq!(seen.units, ["chunk: one", "chunk: three"], "cut at {cut}");
    }
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

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::brotli::CompressorWriter::new(&mut bytes, 4096, 5, 22);
    encoder.write_all(text).unwrap();
    drop(encoder);
    bytes
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(text, 3).unwrap()
}

#[test]
fn codings() {
    let text = b"{\"text\": \"some text, some more text, and text again\"}";
    let cases: &[(&str, Vec<u8>)] = &[
        ("gzip", gzip(text)),
        ("X-GZip", gzip(text)),
        ("gzip", [gzip(&text[..9]), gzip(&text[9..])].concat()),
        ("deflate", zlib(text)),
        ("deflate", raw_deflate(text)),
        ("br", brotli(text)),
        ("zstd", zstd(text)),
        ("zstd", [zstd(&text[..9]), zstd(&text[9..])].concat()),
        ("gzip, br", brotli(&gzip(text))),
        (" identity ,deflate,zstd", zstd(&zlib(text))),
        ("identity", text.to_vec()),
        ("", text.to_vec()),
        // Nobody named it, and it shows.
        ("", gzip(text)),
        ("", zstd(text)),
        ("gzip", [gzip(text), b"trailing".to_vec()].concat()),
    ];
    for (coding, bytes) in cases {
        let coding = (!coding.is_empty()).then_some(*coding);
        let seen = every_cut(|| Content::whole(coding, UNITS), bytes);
        assert_eq!(seen.whole.unwrap().0, show(text), "{coding:?}");
        assert_eq!(seen.faults, Faults::default(), "{coding:?}");
    }
}

#[test]
fn what_was_flushed_is_seen() {
    let events: Vec<String> = (0..20).map(|n| format!("data: event {n}\n\n")).collect();
    let expected: Vec<String> = (0..20).map(|n| format!("event {n}")).collect();
    let times: Vec<u64> = (1..=20).collect();
    let streams: [(&str, Vec<Vec<u8>>); 4] = [
        ("gzip", {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            let flushed = |event: &String| {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            };
            events.iter().map(flushed).collect()
        }),
        ("deflate", {
            let mut encoder =
                flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
            let flushed = |event: &String| {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            };
            events.iter().map(flushed).collect()
        }),
        ("br", {
            let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
            let flushed = |event: &String| {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            };
            events.iter().map(flushed).collect()
        }),
        ("zstd", {
            let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
            let flushed = |event: &String| {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            };
            events.iter().map(flushed).collect()
        }),
    ];
    for (coding, pieces) in &streams {
        let segments: Vec<_> = pieces.iter().map(|p| Segment::Data(p)).collect();
        let seen = run(
            Content::stream(Some(SSE), Some(coding), UNITS),
            &segments,
            true,
        );
        assert_eq!(seen.units, expected, "{coding}");
        assert_eq!(seen.times, times, "{coding}");
    }
}

#[test]
fn a_hole_ends_decoding() {
    let events = gzip(b"data: a\n\ndata: b\n\n");
    let seen = run(
        Content::stream(Some(SSE), Some("gzip"), UNITS),
        &[
            Segment::Data(&events[..10]),
            lost(5),
            Segment::Data(&events[15..]),
        ],
        true,
    );
    assert_eq!(seen.units, [""; 0]);
    assert_eq!(seen.missing.lost as usize, events.len() - 10);
}

#[test]
fn garbage_ends_decoding() {
    for coding in [
        "gzip",
        "deflate",
        "br",
        "zstd",
        "compress",
        "gzip, gzip, gzip, gzip, gzip",
    ] {
        let noise: Vec<u8> = (0..2000_u32).map(|n| (n * n % 251) as u8 | 0x90).collect();
        let seen = run(
            Content::whole(Some(coding), UNITS),
            &noise.chunks(100).map(Segment::Data).collect::<Vec<_>>(),
            true,
        );
        assert_eq!(seen.faults.undecodable, 1, "{coding}");
        assert!(seen.missing.lost > 0, "{coding}");
    }
}

#[test]
fn a_bomb_is_cut() {
    let limits = Limits {
        decoded: 2 << 20,
        ..UNITS
    };
    let zeros = vec![0; 3 << 20];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("br", brotli(&zeros)),
        ("zstd", zstd(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ];
    for (coding, bomb) in &bombs {
        let segments: Vec<_> = bomb.chunks(16).map(Segment::Data).collect();
        let seen = run(Content::whole(Some(coding), limits), &segments, true);
        assert_eq!(seen.faults.inflated, 1, "{coding}");
        assert!(seen.missing.cut > 0, "{coding}");
        assert_eq!(
            seen.whole.unwrap().0,
            format!("[{} bytes]", UNITS.whole - UNITS.tail)
        );
    }
}

#[test]
fn a_content_that_grows_too_fast_is_cut() {
    // Far below the absolute limit, but thousands of bytes for one.
    let bomb = zstd(&vec![0; 17 << 20]);
    let segments: Vec<_> = bomb.chunks(16).map(Segment::Data).collect();
    let seen = run(Content::whole(Some("zstd"), UNITS), &segments, true);
    assert_eq!(seen.faults.inflated, 1);
}
