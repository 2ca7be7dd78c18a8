use super::*;
use crate::http::End;
use crate::http::testing::Dice;
use hpack::encoder::Encoder;
use wire::*;

mod wire;

const NOW: Timestamp = Timestamp::from_nanos(0);

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
