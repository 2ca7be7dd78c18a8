//! Writes exchanges anew as HTTP/1.1, each on a connection of its own, and messages over pipes
//! line by line.
//!
//! In: events of any HTTP connection. Out: events of plain HTTP/1.1 connections that
//! say the same, without the values of credentials, and with content hidden where
//! that is asked for. So HTTP/2, whose compressed heads cannot be masked in place, and
//! compressed bodies get into a capture, and nothing of their bytes does.

use std::collections::{BTreeMap, HashMap};

use crate::event::{ConnectionId, Direction, Event, EventKind, Missing, Origin, Role};
use crate::http::{self, End, ExchangeEvent, ExchangeId, Step};
use crate::stream::Segment;
use crate::time::Timestamp;

mod body;
mod head;
mod hide;
mod messages;
mod units;
mod websocket;

use body::Body;
use messages::Messages;

/// Connections followed at most; beyond it all are forgotten, and found again at
/// their next exchange.
const MAX_CONNECTIONS: usize = 1 << 16;

/// Connections that are made up are numbered from here, above what sources number.
const FIRST_ID: u64 = 1 << 48;

/// What becomes of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Kept, with the codings that it has.
    AsTheyAre,
    /// Decoded, and everything that people or models wrote replaced by asterisks:
    /// names, numbers and the shape stay.
    Hidden,
}

/// Takes rewritten events.
pub type Sink<'a> = &'a mut dyn FnMut(&Event<'_>);

/// See the module.
#[derive(Debug)]
pub struct Reframer {
    bodies: Bodies,
    connections: HashMap<ConnectionId, Connection>,
    next: u64,
}

#[derive(Debug, Default)]
struct Connection {
    http: http::Connection,
    /// Set where they cross pipes.
    messages: Option<Messages>,
    origin: Origin,
    exchanges: BTreeMap<ExchangeId, Exchange>,
}

#[derive(Debug)]
struct Exchange {
    id: ConnectionId,
    requester: Direction,
    request: Body,
    response: Option<Body>,
    trailers: Option<Box<http::Fields>>,
    /// Asks for a WebSocket.
    is_upgrade: bool,
}

/// Whether a connection whose first bytes are these is HTTP/2 (RFC 9113, 3.4 and 4.1):
/// they are the preface, or a frame of a known type.
pub fn begins_http2(bytes: &[u8]) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2";
    const LAST_TYPE: u8 = 9;
    let is_frame = matches!(bytes, [0, _, _, kind, _, id, ..] if *kind <= LAST_TYPE && *id < 0x80);
    bytes.starts_with(PREFACE) || is_frame
}

impl Reframer {
    pub fn new(bodies: Bodies) -> Self {
        Self {
            bodies,
            connections: HashMap::new(),
            next: FIRST_ID,
        }
    }

    pub fn feed(&mut self, event: &Event<'_>, sink: Sink<'_>) {
        let id = event.connection;
        if self.connections.len() >= MAX_CONNECTIONS && !self.connections.contains_key(&id) {
            self.connections.clear();
        }
        let connection = self.connections.entry(id).or_default();
        let Connection {
            http,
            messages,
            origin,
            exchanges,
        } = connection;
        if origin.pipe.is_some() && !matches!(event.kind, EventKind::Open(_)) {
            let begin = || Messages::new(self.bodies, take(&mut self.next));
            messages.get_or_insert_with(begin).feed(event, origin, sink);
            if matches!(event.kind, EventKind::Close) {
                self.connections.remove(&id);
            }
            return;
        }
        let mut rewrite = Rewrite {
            bodies: self.bodies,
            next: &mut self.next,
            origin,
            exchanges,
            sink,
        };
        match &event.kind {
            EventKind::Open(newer) => {
                rewrite.origin.update((**newer).clone());
                if let Some(messages) = messages {
                    messages.feed(event, rewrite.origin, rewrite.sink);
                }
            }
            EventKind::Data {
                direction,
                missing,
                bytes,
            } => {
                if !missing.is_none() {
                    let gap = Segment::Gap(*missing);
                    http.feed(*direction, event.at, gap, &mut |e| rewrite.exchange(e));
                }
                let data = Segment::Data(bytes);
                http.feed(*direction, event.at, data, &mut |e| rewrite.exchange(e));
            }
            EventKind::Close => {
                http.close(event.at, &mut |e| rewrite.exchange(e));
                self.connections.remove(&id);
            }
        }
    }
}

fn take(next: &mut u64) -> ConnectionId {
    let id = ConnectionId(*next);
    *next = next.saturating_add(1);
    id
}

/// A connection at work, and where its exchanges go.
struct Rewrite<'a> {
    bodies: Bodies,
    next: &'a mut u64,
    origin: &'a mut Origin,
    exchanges: &'a mut BTreeMap<ExchangeId, Exchange>,
    sink: Sink<'a>,
}

impl Rewrite<'_> {
    fn exchange(&mut self, event: ExchangeEvent<'_>) {
        let ExchangeEvent {
            exchange: id,
            at,
            step,
        } = event;
        if let Step::Request {
            requester, head, ..
        } = &step
        {
            return self.request(id, at, *requester, head);
        }
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        let is_over = matches!(step, Step::Over);
        let mut wire = Wire {
            connection: exchange.id,
            at,
            sink: self.sink,
        };
        exchange.step(step, self.bodies, &mut wire);
        if is_over {
            wire.send(EventKind::Close);
            self.exchanges.remove(&id);
        }
    }

    fn request(
        &mut self,
        id: ExchangeId,
        at: Timestamp,
        requester: Direction,
        head: &http::RequestHead,
    ) {
        let connection = take(self.next);
        let mut wire = Wire {
            connection,
            at,
            sink: self.sink,
        };
        let origin = Origin {
            role: Some(match requester {
                Direction::Write => Role::Client,
                Direction::Read => Role::Server,
            }),
            alpn: None,
            ..self.origin.clone()
        };
        wire.send(EventKind::Open(Box::new(origin)));
        let is_upgrade = head::is_upgrade(head);
        let text = head::request(head, is_upgrade, self.bodies);
        wire.data(requester, Missing::NONE, text.as_bytes());
        let exchange = Exchange {
            id: connection,
            requester,
            request: Body::of_request(self.bodies, &head.fields),
            response: None,
            trailers: None,
            is_upgrade,
        };
        self.exchanges.insert(id, exchange);
    }
}

impl Exchange {
    fn step(&mut self, step: Step<'_>, bodies: Bodies, wire: &mut Wire<'_>) {
        let (up, down) = (self.requester, self.requester.opposite());
        match step {
            Step::Request { .. } | Step::Over => {}
            Step::RequestBody(segment) => {
                self.request.feed(wire.at, segment, &mut |missing, piece| {
                    wire.chunk(up, missing, piece);
                })
            }
            Step::RequestEnd(end) if !self.is_upgrade => {
                let at = wire.at;
                self.request.finish(at, end, &mut |missing, piece| {
                    wire.chunk(up, missing, piece);
                });
                wire.end(up, end, "");
            }
            Step::RequestEnd(_) => {}
            Step::Response(head) => {
                let is_switch = self.is_upgrade && matches!(head.status, Some(101 | 200));
                let text = head::response(&head, is_switch, bodies);
                wire.data(down, Missing::NONE, text.as_bytes());
                let has_body = !is_switch && head::has_body(&head);
                self.response = has_body.then(|| Body::of_response(bodies, &head.fields));
            }
            Step::ResponseBody(segment) => {
                if let Some(body) = &mut self.response {
                    body.feed(wire.at, segment, &mut |missing, piece| {
                        wire.chunk(down, missing, piece);
                    });
                }
            }
            Step::ResponseTrailers(fields) => self.trailers = Some(fields),
            Step::ResponseEnd(end) => {
                if let Some(mut body) = self.response.take() {
                    body.finish(wire.at, end, &mut |missing, piece| {
                        wire.chunk(down, missing, piece);
                    });
                    wire.end(down, end, &head::lines(self.trailers.as_deref(), bodies));
                }
            }
            Step::WebSocket {
                direction,
                binary,
                data,
                missing,
            } => {
                let hidden = (bodies == Bodies::Hidden).then(|| hide::hide(data));
                let data = hidden.as_deref().unwrap_or(data);
                let from_client = direction == up;
                let frame = websocket::header(binary, from_client, data.len(), missing);
                wire.data(direction, Missing::NONE, &frame);
                wire.data(direction, missing, data);
            }
        }
    }
}

/// One rewritten connection, at one moment.
struct Wire<'a> {
    connection: ConnectionId,
    at: Timestamp,
    sink: Sink<'a>,
}

impl Wire<'_> {
    fn send(&mut self, kind: EventKind<'_>) {
        (self.sink)(&Event {
            connection: self.connection,
            at: self.at,
            kind,
        });
    }

    fn data(&mut self, direction: Direction, missing: Missing, bytes: &[u8]) {
        self.send(EventKind::Data {
            direction,
            missing,
            bytes,
        });
    }

    /// A chunk (RFC 9112, 7.1) in which something may be missing.
    fn chunk(&mut self, direction: Direction, missing: Missing, piece: &[u8]) {
        let len = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let len = len.saturating_add(missing.total());
        if len == 0 {
            return;
        }
        let mut bytes = format!("{len:x}\r\n").into_bytes();
        if !missing.is_none() {
            self.data(direction, Missing::NONE, &bytes);
            bytes.clear();
        }
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
        self.data(direction, missing, &bytes);
    }

    /// The end of a chunked body; a body that had none gets none.
    fn end(&mut self, direction: Direction, end: End, trailers: &str) {
        if end == End::Complete {
            let text = format!("0\r\n{trailers}\r\n");
            self.data(direction, Missing::NONE, text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Direction = Direction::Write;
    const READ: Direction = Direction::Read;

    /// What a reframer makes of one connection: `>` and `<` before what goes each way,
    /// `[n]` for n bytes that are missing.
    fn rewritten(bodies: Bodies, chunks: &[(Direction, Missing, &[u8])]) -> String {
        let mut reframer = Reframer::new(bodies);
        let mut out = String::new();
        let mut sink = |event: &Event<'_>| match &event.kind {
            EventKind::Open(origin) => out += &format!("open {:?}\n", origin.role),
            EventKind::Close => out += "close\n",
            EventKind::Data {
                direction,
                missing,
                bytes,
            } => {
                out += if *direction == WRITE { ">" } else { "<" };
                if !missing.is_none() {
                    out += &format!("[{}]", missing.total());
                }
                out += &format!("{}\n", bytes.escape_ascii());
            }
        };
        let mut feed = |at, kind| {
            let event = Event {
                connection: ConnectionId(1),
                at: Timestamp::from_nanos(at),
                kind,
            };
            reframer.feed(&event, &mut sink);
        };
        feed(0, EventKind::Open(Box::default()));
        for (at, (direction, missing, bytes)) in chunks.iter().enumerate() {
            let kind = EventKind::Data {
                direction: *direction,
                missing: *missing,
                bytes,
            };
            feed(at as u64 + 1, kind);
        }
        feed(99, EventKind::Close);
        assert!(reframer.connections.is_empty());
        out
    }

    const NONE: Missing = Missing::NONE;

    #[test]
    fn http1_says_the_same_with_its_content_hidden() {
        let request = b"POST /v1?key=k HTTP/1.1\r\nHost: a.example\r\nAuthorization: canary\r\n\
            Content-Type: application/json\r\nContent-Length: 32\r\n\r\n\
            {\"model\":\"m\",\"prompt\":\"canary\"}\n";
        let response = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\
            data: {\"text\":\"canary\"}\n\n";
        let out = rewritten(
            Bodies::Hidden,
            &[
                (WRITE, NONE, request),
                (READ, NONE, response),
                (READ, NONE, b"data: [DONE]\n\n"),
            ],
        );
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "open Some(Client)");
        assert_eq!(
            lines[1],
            ">POST /v1?key= HTTP/1.1\\r\\nhost: a.example\\r\\nauthorization: \\r\\n\
             content-type: application/json\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"
        );
        assert_eq!(
            lines[2],
            ">1f\\r\\n{\\\"model\\\":\\\"m\\\",\\\"prompt\\\":\\\"******\\\"}\\r\\n"
        );
        assert_eq!(lines[3], ">0\\r\\n\\r\\n");
        assert!(lines[4].starts_with("<HTTP/1.1 200 \\r\\ncontent-type: text/event-stream"));
        assert_eq!(
            lines[5],
            "<19\\r\\ndata: {\\\"text\\\":\\\"******\\\"}\\n\\n\\r\\n"
        );
        assert_eq!(lines[6], "<e\\r\\ndata: [DONE]\\n\\n\\r\\n");
        assert!(out.ends_with("close\n") && !out.contains("canary"), "{out}");
    }

    /// A frame of HTTP/2 on stream 1.
    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut out = len[1..].to_vec();
        out.extend([kind, flags, 0, 0, 0, u8::from(kind != 4)]);
        out.extend(payload);
        out
    }

    /// A field that is not put in the table (RFC 7541, 6.2.2).
    fn field(name: &str, value: &str) -> Vec<u8> {
        let mut out = vec![0];
        for text in [name, value] {
            out.push(u8::try_from(text.len()).unwrap());
            out.extend(text.bytes());
        }
        out
    }

    #[test]
    fn http2_is_written_as_http1_without_credentials() {
        let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        request.extend(frame(4, 0, b""));
        let head = [
            field(":method", "POST"),
            field(":scheme", "https"),
            field(":authority", "a.example"),
            field(":path", "/v1"),
            field("authorization", "canary"),
        ];
        request.extend(frame(1, 4, &head.concat()));
        request.extend(frame(0, 1, b"ask"));
        let mut response = frame(4, 0, b"");
        response.extend(frame(1, 4, &field(":status", "200")));
        response.extend(frame(0, 1, b"told"));
        assert!(begins_http2(&request) && begins_http2(&response));

        let chunks = [(WRITE, NONE, &*request), (READ, NONE, &*response)];
        assert_eq!(
            rewritten(Bodies::AsTheyAre, &chunks),
            "open Some(Client)\n\
             >POST /v1 HTTP/1.1\\r\\nhost: a.example\\r\\nauthorization: \\r\\n\
             transfer-encoding: chunked\\r\\n\\r\\n\n\
             >3\\r\\nask\\r\\n\n>0\\r\\n\\r\\n\n\
             <HTTP/1.1 200 \\r\\ntransfer-encoding: chunked\\r\\n\\r\\n\n\
             <4\\r\\ntold\\r\\n\n<0\\r\\n\\r\\n\nclose\n"
        );
    }

    #[test]
    fn messages_of_grpc_are_emptied_and_their_status_stays() {
        let grpc = field("content-type", "application/grpc");
        let head = [
            field(":method", "POST"),
            field(":path", "/s/m"),
            grpc.clone(),
        ];
        let request = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, b""),
            frame(1, 4, &head.concat()),
            frame(0, 1, b"\0\0\0\0\x08\x0a\x06canary"),
        ];
        let trailers = [field("grpc-status", "3"), field("grpc-message", "canary")];
        let response = [
            frame(4, 0, b""),
            frame(1, 4, &[field(":status", "200"), grpc].concat()),
            frame(0, 0, b"\0\0\0\0\x08\x0a\x06canary"),
            frame(1, 5, &trailers.concat()),
        ];
        let chunks: [(Direction, Missing, &[u8]); 2] = [
            (WRITE, NONE, &request.concat()),
            (READ, NONE, &response.concat()),
        ];
        let out = rewritten(Bodies::Hidden, &chunks);
        let empty = "5\\r\\n\\x00\\x00\\x00\\x00\\x00\\r\\n";
        assert_eq!(out.matches(empty).count(), 2, "{out}");
        assert!(out.contains("<0\\r\\ngrpc-status: 3\\r\\n\\r\\n"), "{out}");
        assert!(!out.contains("canary"), "{out}");
        let out = rewritten(Bodies::AsTheyAre, &chunks);
        assert_eq!(out.matches("canary").count(), 3, "{out}");
    }

    #[test]
    fn http1_is_not_taken_for_http2() {
        for text in [
            &b"POST / HTTP/1.1"[..],
            b"HTTP/1.1 200 OK",
            b"",
            b"\0\0",
            b"\x16\x03\x01\0\0\0",
        ] {
            assert!(!begins_http2(text));
        }
    }

    #[test]
    fn a_hole_in_a_body_stays_where_it_was() {
        let lost = Missing { lost: 7, cut: 0 };
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nabc";
        let chunks: [(Direction, Missing, &[u8]); 3] = [
            (WRITE, NONE, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (READ, NONE, head),
            (READ, lost, b"de"),
        ];
        let out = rewritten(Bodies::AsTheyAre, &chunks);
        let tail =
            "<3\\r\\nabc\\r\\n\n<7\\r\\n\n<[7]\\r\\n\n<2\\r\\nde\\r\\n\n<0\\r\\n\\r\\n\nclose\n";
        assert!(out.ends_with(tail), "{out}");
        // What cannot be parsed for want of bytes is hidden whole.
        let out = rewritten(Bodies::Hidden, &chunks);
        let tail = "<3\\r\\n***\\r\\n\n<9\\r\\n\n<[7]**\\r\\n\n<0\\r\\n\\r\\n\nclose\n";
        assert!(out.ends_with(tail), "{out}");
    }

    #[test]
    fn a_websocket_goes_on_as_one() {
        let ask = b"GET /v1/realtime HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
        let switch = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let told = b"\x81\x0f{\"text\":\"told\"}";
        let chunks: [(Direction, Missing, &[u8]); 3] =
            [(WRITE, NONE, ask), (READ, NONE, switch), (READ, NONE, told)];
        let out = rewritten(Bodies::Hidden, &chunks);
        assert!(out.contains("<HTTP/1.1 101 \\r\\nconnection: upgrade\\r\\nupgrade: websocket"));
        assert!(
            out.contains("<\\x81\\x0f\n<{\\\"text\\\":\\\"****\\\"}\n"),
            "{out}"
        );
    }
}
