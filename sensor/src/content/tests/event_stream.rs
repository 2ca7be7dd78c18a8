//! Messages of AWS event streams, and what damage costs.

use super::*;

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

pub(super) const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

pub(super) fn chunk(payload: &str) -> Vec<u8> {
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

/// A message that holds a piece of another stream.
fn part(payload: &str) -> Vec<u8> {
    let headers = [(":event-type", "PayloadPart"), (":message-type", "event")];
    message(&headers, payload.as_bytes())
}

#[test]
fn payload_parts_are_pieces_of_a_stream() {
    let cases: [&[&str]; 2] = [
        &["data:{", "1}\n\ndata: {2}", "\n\n"],
        &["\n {", "1}\n{", "2}"],
    ];
    for pieces in cases {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| part(piece)).collect();
        let seen = every_cut(stream(EVENT_STREAM), &bytes);
        assert_eq!(seen.units, ["{1}", "{2}"], "{pieces:?}");
        assert_eq!(seen.faults, Faults::default());
    }
}

#[test]
fn a_lost_payload_part_costs_what_it_was_a_piece_of() {
    let parts = ["{1}\n{9", "{2}}\n{3", "}\n"].map(part);
    for (lost_at, left) in [
        (0, &["{3}"][..]),
        (1, &["{1}"][..]),
        // Of the last no end was seen.
        (2, &["{1}", "{9{2}}"][..]),
    ] {
        let segments: Vec<Segment<'_>> = (0..3)
            .map(|at| match at == lost_at {
                true => lost(parts[at].len() as u64),
                false => Segment::Data(&parts[at]),
            })
            .collect();
        let seen = run(stream(EVENT_STREAM)(), &segments, true);
        assert_eq!(seen.units, left, "part {lost_at}");
    }
}
