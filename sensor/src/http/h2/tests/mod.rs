use super::*;
use crate::http::End;
use hpack::encoder::Encoder;
use wire::*;

mod hostile;
mod laws;
mod peer;
mod wire;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// Request and response on stream 1.
fn simple() -> Traffic {
    let mut traffic = Traffic::new();
    let request = post("/v1/chat?key=canary").inserted("user-agent", "curl");
    traffic.write(&frame(HEADERS, END_HEADERS, 1, &request.0));
    traffic.write(&frame(DATA, END_STREAM, 1, b"{\"model\":1}"));
    let response = ok().inserted(31, "text/event-stream");
    traffic.read(&frame(HEADERS, END_HEADERS, 1, &response.0));
    traffic.read(&frame(DATA, 0, 1, b"data: a\n\n"));
    traffic.read(&frame(DATA, END_STREAM, 1, b"data: b\n\n"));
    traffic
}

#[test]
fn one_exchange() {
    let log = simple().log();
    let exchange = &log.0[&1];
    let head = exchange.request.as_ref().unwrap();
    assert_eq!(&*head.method, "POST");
    assert_eq!(head.authority.as_deref(), Some("api.example.com"));
    assert_eq!(head.path(), "/v1/chat");
    assert_eq!(head.fields.first("user-agent"), Some("curl"));
    assert!(!head.partial);
    assert_eq!(exchange.began, Some(at(2)));
    assert_eq!(exchange.requester, Some(Direction::Write));
    assert_eq!(exchange.request_body.bytes(), b"{\"model\":1}");
    assert_eq!(exchange.request_end, Some((at(3), End::Complete)));
    let (when, response) = exchange.response.as_ref().unwrap();
    assert_eq!((*when, response.status), (at(4), Some(200)));
    assert_eq!(
        response.fields.first("content-type"),
        Some("text/event-stream")
    );
    assert!(!response.partial);
    assert_eq!(exchange.response_body.bytes(), b"data: a\n\ndata: b\n\n");
    assert_eq!(exchange.response_end, Some((at(6), End::Complete)));
    assert!(exchange.over);
    assert_eq!(log.0.len(), 1);
}

#[test]
fn padding_priority_and_continuation() {
    let mut traffic = Traffic::new();
    let block = post("/x").0;
    let (first, rest) = block.split_at(2);
    let mut payload = vec![3, 0, 0, 0, 0, 16];
    payload.extend(first);
    payload.extend([0; 3]);
    traffic.write(&frame(HEADERS, END_STREAM | PADDED | PRIORITY, 1, &payload));
    traffic.write(&frame(CONTINUATION, 0, 1, &rest[..1]));
    traffic.write(&frame(CONTINUATION, END_HEADERS, 1, &rest[1..]));
    traffic.read(&frame(HEADERS, END_HEADERS, 1, &ok().0));
    traffic.read(&frame(DATA, END_STREAM | PADDED, 1, b"\x02hi\0\0"));
    let log = traffic.log();
    let exchange = &log.0[&1];
    assert_eq!(exchange.request.as_ref().unwrap().path(), "/x");
    assert_eq!(exchange.began, Some(at(2)));
    assert_eq!(exchange.request_end, Some((at(4), End::Complete)));
    assert_eq!(exchange.response_body.bytes(), b"hi");
    assert!(exchange.over);
}

#[test]
fn interim_responses_are_left_out_and_trailers_told() {
    let mut traffic = Traffic::new();
    traffic.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &post("/x").0));
    let interim = Encoder::default()
        .inserted(8, "103")
        .inserted("link", "</a>");
    traffic.read(&frame(HEADERS, END_HEADERS, 1, &interim.0));
    traffic.read(&frame(HEADERS, END_HEADERS, 1, &ok().0));
    traffic.read(&frame(DATA, 0, 1, b"m"));
    let trailers = Encoder::default().inserted("grpc-status", "5");
    traffic.read(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers.0));
    let log = traffic.log();
    let exchange = &log.0[&1];
    assert_eq!(exchange.response.as_ref().unwrap().1.status, Some(200));
    assert_eq!(exchange.trailers, [("grpc-status".into(), "5".into())]);
    assert_eq!(exchange.response_end, Some((at(6), End::Complete)));
}

#[test]
fn streams_end_by_reset_refusal_and_close() {
    let mut traffic = Traffic::new();
    for stream in [1, 3, 5, 7] {
        traffic.write(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &post("/x").0,
        ));
    }
    traffic.write(&frame(RESET, 0, 1, &[0, 0, 0, 8]));
    traffic.read(&frame(HEADERS, END_HEADERS, 1, &ok().0));
    traffic.read(&frame(
        GO_AWAY,
        0,
        0,
        &[0, 0, 0, 3, 0, 0, 0, 0, b'b', b'y', b'e'],
    ));
    traffic.read(&frame(HEADERS, END_HEADERS, 3, &ok().0));
    let log = traffic.log();
    assert!(log.0[&1].over && log.0[&1].response.is_none());
    assert_eq!(log.0[&1].response_end, Some((at(6), End::Unfinished)));
    assert_eq!(log.0[&5].response_end, Some((at(8), End::Unfinished)));
    assert_eq!(log.0[&7].response_end, Some((at(8), End::Unfinished)));
    assert_eq!(log.0[&3].response_end, Some((at(10), End::Unfinished)));
    assert_eq!(log.0[&3].response.as_ref().unwrap().1.status, Some(200));
}

#[test]
fn pushes_keep_the_tables_in_step() {
    let mut traffic = simple();
    let mut promise = 2u32.to_be_bytes().to_vec();
    promise.extend(post("/pushed").inserted("x-a", "1").0);
    traffic.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &post("/y").0));
    traffic.read(&frame(PUSH, END_HEADERS, 3, &promise));
    traffic.read(&frame(
        HEADERS,
        END_HEADERS,
        2,
        &ok().inserted("x-b", "2").0,
    ));
    traffic.read(&frame(DATA, END_STREAM, 2, b"pushed"));
    let response = ok().indexed(62).indexed(63).indexed(65);
    traffic.read(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &response.0));
    let log = traffic.log();
    assert_eq!(log.0.keys().copied().collect::<Vec<_>>(), [1, 3]);
    let (_, head) = log.0[&3].response.as_ref().unwrap();
    let fields: Vec<_> = head.fields.iter().collect();
    let expected = [
        ("x-b", "2"),
        ("x-a", "1"),
        ("content-type", "text/event-stream"),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn upgraded_from_http_1() {
    let mut h2 = H2::upgraded(Direction::Write, crate::http::ExchangeId(7));
    let mut traffic = Traffic::default();
    traffic.read(&frame(SETTINGS, 0, 0, &[]));
    traffic.write(&[&header::PREFACE[..], &frame(SETTINGS, 0, 0, &[])].concat());
    traffic.read(&frame(HEADERS, END_HEADERS, 1, &ok().0));
    traffic.read(&frame(DATA, END_STREAM, 1, b"hello"));
    traffic.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &post("/y").0));
    let log = traffic.feed(&mut h2, |bytes| vec![bytes]);
    assert_eq!(log.0[&7].response_body.bytes(), b"hello");
    assert!(log.0[&7].over && log.0[&7].request_end.is_none());
    assert_eq!(log.0[&9].request.as_ref().unwrap().path(), "/y");
}

#[test]
fn websocket_over_a_stream() {
    let mut traffic = Traffic::new();
    let connect = Encoder::default()
        .literal_only(2, "CONNECT")
        .literal_only(":protocol", "websocket")
        .indexed(7)
        .inserted(4, "/v1/realtime?model=m");
    traffic.write(&frame(HEADERS, END_HEADERS, 1, &connect.0));
    traffic.read(&frame(HEADERS, END_HEADERS, 1, &ok().0));
    traffic.write(&frame(DATA, 0, 1, b"\x81\x82\x01\x02\x03\x04zj"));
    traffic.read(&frame(DATA, 0, 1, b"\x81\x0512"));
    traffic.read(&frame(DATA, END_STREAM, 1, b"345"));
    let log = traffic.log();
    let exchange = &log.0[&1];
    let head = exchange.request.as_ref().unwrap();
    assert_eq!(
        (&*head.method, head.fields.first(":protocol")),
        ("CONNECT", Some("websocket"))
    );
    assert_eq!(head.path(), "/v1/realtime");
    let texts: Vec<_> = exchange.messages.iter().map(|m| (m.0, &m.2[..])).collect();
    let expected = [(Direction::Write, &b"{h"[..]), (Direction::Read, b"12345")];
    assert_eq!(texts, expected);
    assert!(exchange.response_body.pieces.is_empty());
    assert_eq!(exchange.response_end, Some((at(6), End::Complete)));
    assert!(exchange.over);
}

#[test]
fn a_hole_in_content_is_told_where_it_is() {
    let mut traffic = simple();
    traffic.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &post("/y").0));
    let response = ok().indexed(62);
    traffic.read(&frame(HEADERS, END_HEADERS, 3, &response.0));
    let data = frame(DATA, END_STREAM, 3, b"0123456789");
    traffic
        .read(&data[..11])
        .hole(Direction::Read, 5)
        .read(&data[16..]);
    let log = traffic.log();
    let exchange = &log.0[&3];
    let pieces = [Some(b"01".to_vec()), None, Some(b"789".to_vec())];
    assert_eq!(exchange.response_body.pieces, pieces);
    assert_eq!(exchange.response_body.missing.lost, 5);
    assert_eq!(exchange.response_end.unwrap().1, End::Complete);
    // The frame's length is known, so that nothing else was hurt.
    let (_, head) = exchange.response.as_ref().unwrap();
    assert_eq!(head.fields.first("content-type"), Some("text/event-stream"));
    assert!(!head.partial);
}

#[test]
fn a_hole_to_the_end_of_a_frame_ends_it() {
    let mut traffic = simple();
    traffic.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &post("/y").0));
    traffic.read(&frame(HEADERS, END_HEADERS, 3, &ok().0));
    let data = frame(DATA, END_STREAM, 3, b"0123456789");
    traffic.read(&data[..11]).hole(Direction::Read, 8);
    let log = traffic.log();
    assert_eq!(log.0[&3].response_end, Some((at(10), End::Complete)));
    assert!(log.0[&3].over);
}

#[test]
fn after_lost_frames_the_next_ones_are_found() {
    let mut traffic = simple();
    for stream in [3, 5] {
        traffic.write(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &post("/y").0,
        ));
    }
    let mut bytes = frame(HEADERS, END_HEADERS, 3, &ok().inserted("x-a", "1").0);
    bytes.extend(frame(DATA, 0, 3, b"first"));
    let lost = bytes.len() as u64;
    traffic.read(&bytes).hole(Direction::Read, 1000);
    // Joined amid content, which looks a bit like frames.
    let mut bytes = b"\0\0\x01\0\0nothing\0\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(frame(DATA, END_STREAM, 3, b"last"));
    bytes.extend(frame(
        HEADERS,
        END_HEADERS,
        5,
        &ok().indexed(62).inserted("x-b", "2").0,
    ));
    bytes.extend(frame(DATA, END_STREAM, 5, b"whole"));
    traffic.read(&bytes);
    let log = traffic.log();
    assert!(lost > 0);
    let body = &log.0[&3].response_body;
    let pieces = [Some(b"first".to_vec()), None, None, Some(b"last".to_vec())];
    assert_eq!(body.pieces, pieces);
    assert_eq!(body.missing.lost, 1000 + 22);
    assert_eq!(log.0[&3].response_end.unwrap().1, End::Complete);
    // What the hole may have inserted makes older entries unknown, not wrong.
    let (_, head) = log.0[&5].response.as_ref().unwrap();
    assert_eq!(head.fields.iter().collect::<Vec<_>>(), [("x-b", "2")]);
    assert!(head.partial);
    assert_eq!(log.0[&5].response_body.pieces, [Some(b"whole".to_vec())]);
}

#[test]
fn a_response_whose_head_was_lost() {
    let mut traffic = simple();
    traffic.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &post("/y").0));
    traffic.read(&frame(HEADERS, END_HEADERS, 3, &ok().0));
    traffic.read(&frame(DATA, END_STREAM, 3, b"body"));
    let log = traffic.without(8).log();
    let exchange = &log.0[&3];
    let (_, head) = exchange.response.as_ref().unwrap();
    assert!(head.partial && head.status.is_none() && head.fields.is_empty());
    assert_eq!(
        exchange.response_body.pieces,
        [None, Some(b"body".to_vec())]
    );
    assert_eq!(exchange.response_end.unwrap().1, End::Complete);
}

#[test]
fn a_request_whose_end_was_lost() {
    let log = simple().without(3).log();
    let exchange = &log.0[&1];
    assert_eq!(exchange.request_body.pieces, [None]);
    assert_eq!(exchange.request_end.unwrap().1, End::Lost);
    assert_eq!(exchange.response_end.unwrap().1, End::Complete);
    assert!(exchange.over);
}

#[test]
fn joined_late_old_entries_are_unknown_and_new_ones_known() {
    let mut traffic = Traffic::default();
    // `:method` and `:scheme` are static; authority and path refer to what was before.
    let request = Encoder::default()
        .indexed(3)
        .indexed(7)
        .indexed(62)
        .indexed(63);
    let request = request.inserted("x-new", "1");
    traffic.write(&frame(HEADERS, END_HEADERS, 9, &request.0));
    traffic.write(&frame(DATA, END_STREAM, 9, b"{}"));
    let response = Encoder::default()
        .indexed(70)
        .indexed(71)
        .inserted("x-id", "7");
    traffic.read(&frame(HEADERS, END_HEADERS, 9, &response.0));
    traffic.read(&frame(DATA, END_STREAM, 9, b"{}"));
    let request = Encoder::default()
        .indexed(2)
        .indexed(7)
        .indexed(62)
        .indexed(63);
    traffic.write(&frame(HEADERS, END_HEADERS | END_STREAM, 11, &request.0));
    let log = traffic.log();
    let head = log.0[&9].request.as_ref().unwrap();
    assert_eq!(&*head.method, "POST");
    assert!(head.partial && head.target.is_none() && head.authority.is_none());
    let (_, response) = log.0[&9].response.as_ref().unwrap();
    assert!(response.partial && response.status.is_none());
    assert_eq!(response.fields.first("x-id"), Some("7"));
    assert!(log.0[&9].over);
    let head = log.0[&11].request.as_ref().unwrap();
    assert_eq!(head.fields.first("x-new"), Some("1"));
    assert!(head.partial);
}

#[test]
fn the_traffic_tells_the_client() {
    let mut traffic = Traffic::default();
    traffic.read(&frame(HEADERS, END_HEADERS | END_STREAM, 9, &post("/y").0));
    traffic.write(&frame(HEADERS, END_HEADERS | END_STREAM, 9, &ok().0));
    let mut h2 = H2::new(Some(Direction::Write));
    let log = traffic.feed(&mut h2, |bytes| vec![bytes]);
    assert_eq!(h2.requester(), Some(Direction::Read));
    assert_eq!(log.0[&9].requester, Some(Direction::Read));

    // A response alone tells it, too.
    let mut traffic = Traffic::default();
    traffic.read(&frame(HEADERS, END_HEADERS, 9, &ok().0));
    traffic.read(&frame(DATA, END_STREAM, 9, b"late"));
    let mut h2 = H2::new(None);
    let log = traffic.feed(&mut h2, |bytes| vec![bytes]);
    assert_eq!(h2.requester(), Some(Direction::Write));
    assert!(log.0[&9].request.is_none());
    assert_eq!(log.0[&9].response_body.bytes(), b"late");
}

#[test]
fn a_head_that_makes_no_sense_costs_the_table() {
    // A header block went by that nobody counted, so that indices mean other entries.
    let mut traffic = simple();
    for stream in [3, 5] {
        traffic.write(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &post("/y").0,
        ));
    }
    let response = ok().indexed(62).literal_only(31, "application/json");
    traffic.read(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &response.0));
    traffic.read(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        5,
        &ok().indexed(62).0,
    ));
    let log = traffic.log();
    for (stream, fields) in [(3, &[("content-type", "application/json")][..]), (5, &[])] {
        let (_, head) = log.0[&stream].response.as_ref().unwrap();
        assert_eq!(head.fields.iter().collect::<Vec<_>>(), fields);
        assert_eq!(head.status, Some(200));
        assert!(head.partial);
    }
}
