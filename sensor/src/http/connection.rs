//! One connection: what it speaks is found out, then its dissector takes over.
//!
//! In: segments of both directions. Out: [`ExchangeEvent`]s. Must not know: what an
//! exchange is about.

use crate::event::Direction;
use crate::http::detect::{Outcome, Undecided};
use crate::http::h1::{H1, Handover};
use crate::http::h2::{self, H2};
use crate::http::websocket::WebSocket;
use crate::http::{Detection, End, ExchangeEvent, ExchangeId, Step};
use crate::stream::Segment;
use crate::time::Timestamp;

/// The HTTP side of a connection, of any version.
#[derive(Debug, Default)]
pub struct Connection {
    protocol: Protocol,
    /// The first exchange number that is free.
    next: u64,
    /// Of protocols that were spoken before.
    faults: Faults,
}

/// What went wrong on a connection, in counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// HTTP/1 heads that could not be read, or were too long.
    pub refused_heads: u64,
    /// Times that HTTP/1 framing was lost, to a hole or to bytes against the rules.
    pub lost_framing: u64,
    /// HTTP/1 responses that could not be joined to a request.
    pub unpaired: u64,
    pub http2: h2::Faults,
}

impl Faults {
    pub fn add(&mut self, other: Self) {
        let Self {
            refused_heads,
            lost_framing,
            unpaired,
            http2,
        } = other;
        self.refused_heads = self.refused_heads.saturating_add(refused_heads);
        self.lost_framing = self.lost_framing.saturating_add(lost_framing);
        self.unpaired = self.unpaired.saturating_add(unpaired);
        self.http2.add(http2);
    }
}

#[derive(Debug)]
enum Protocol {
    Undecided(Box<Undecided>),
    Http1(Box<H1>),
    /// `base`: exchange numbers that were given out before.
    Http2 {
        h2: Box<H2>,
        base: u64,
    },
    WebSocket {
        socket: Box<WebSocket>,
        exchange: ExchangeId,
    },
    /// Nothing that is known.
    Opaque,
}

impl Default for Protocol {
    fn default() -> Self {
        Self::Undecided(Box::default())
    }
}

impl Connection {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, or the next hole, of one direction.
    pub fn feed(
        &mut self,
        direction: Direction,
        at: Timestamp,
        mut segment: Segment<'_>,
        out: &mut dyn FnMut(ExchangeEvent<'_>),
    ) {
        loop {
            let rest = match &mut self.protocol {
                Protocol::Opaque => return,
                Protocol::Undecided(undecided) => {
                    let outcome = undecided.feed(direction, at, segment);
                    match self.decide(direction, outcome, out) {
                        Decided::Nothing => return,
                        Decided::Again => continue,
                        Decided::Rest(rest) => rest,
                    }
                }
                Protocol::Http1(h1) => match h1.feed(direction, at, segment, out) {
                    None => return,
                    Some((handover, rest)) => {
                        self.hand_over(handover, out);
                        rest
                    }
                },
                Protocol::Http2 { h2, base } => {
                    return h2.feed(direction, at, segment, &mut shifted(*base, out));
                }
                Protocol::WebSocket { socket, .. } => {
                    return socket.feed(direction, at, segment, out);
                }
            };
            if rest.is_empty() {
                return;
            }
            segment = Segment::Data(rest);
        }
    }

    /// Ends what is open, as the connection was closed.
    pub fn close(&mut self, at: Timestamp, out: &mut dyn FnMut(ExchangeEvent<'_>)) {
        self.end(at, true, out);
    }

    /// Ends what is open, as no more will be seen of a connection that goes on.
    pub fn abandon(&mut self, at: Timestamp, out: &mut dyn FnMut(ExchangeEvent<'_>)) {
        self.end(at, false, out);
    }

    /// Whether this is HTTP. May fall back from `Match` (a tunnel, an unknown upgrade);
    /// `NotForUs` is final.
    pub fn detection(&self) -> Detection {
        match self.protocol {
            Protocol::Undecided(_) => Detection::NeedMore,
            Protocol::Http1(_) | Protocol::Http2 { .. } | Protocol::WebSocket { .. } => {
                Detection::Match
            }
            Protocol::Opaque => Detection::NotForUs,
        }
    }

    /// The direction in which requests go, where that is known.
    pub fn requester(&self) -> Option<Direction> {
        match &self.protocol {
            Protocol::Http1(h1) => Some(h1.requester()),
            Protocol::Http2 { h2, .. } => h2.requester(),
            Protocol::Undecided(_) | Protocol::WebSocket { .. } | Protocol::Opaque => None,
        }
    }

    pub fn faults(&self) -> Faults {
        let mut faults = self.faults;
        match &self.protocol {
            Protocol::Http1(h1) => h1.add_faults(&mut faults),
            Protocol::Http2 { h2, .. } => faults.http2 = h2.faults(),
            Protocol::Undecided(_) | Protocol::WebSocket { .. } | Protocol::Opaque => {}
        }
        faults
    }

    fn end(&mut self, at: Timestamp, ended: bool, out: &mut dyn FnMut(ExchangeEvent<'_>)) {
        self.faults = self.faults();
        match std::mem::replace(&mut self.protocol, Protocol::Opaque) {
            Protocol::Http1(mut h1) => h1.close(at, ended, out),
            Protocol::Http2 { mut h2, base } => h2.close(at, &mut shifted(base, out)),
            Protocol::WebSocket {
                mut socket,
                exchange,
            } => {
                socket.close(at, out);
                let end = if ended {
                    End::Complete
                } else {
                    End::Unfinished
                };
                for step in [Step::ResponseEnd(end), Step::Over] {
                    out(ExchangeEvent { exchange, at, step });
                }
            }
            Protocol::Undecided(_) | Protocol::Opaque => {}
        }
    }

    /// Acts on what was found out with a segment; tells what of it is to be fed now.
    fn decide<'a>(
        &mut self,
        direction: Direction,
        outcome: Outcome<'a>,
        out: &mut dyn FnMut(ExchangeEvent<'_>),
    ) -> Decided<'a> {
        match outcome {
            Outcome::NeedMore => Decided::Nothing,
            Outcome::NotForUs => {
                self.protocol = Protocol::Opaque;
                Decided::Nothing
            }
            Outcome::Http1 {
                requester,
                write,
                read,
                rest,
            } => {
                let h1 = H1::new(requester, self.next, write, read);
                self.protocol = Protocol::Http1(Box::new(h1));
                Decided::Rest(rest)
            }
            Outcome::Http2 { other, this } => {
                self.protocol = Protocol::Http2 {
                    h2: Box::new(H2::new(None)),
                    base: self.next,
                };
                for (direction, held) in [(direction.opposite(), other), (direction, this)] {
                    if !held.bytes.is_empty() {
                        self.feed(direction, held.at, Segment::Data(&held.bytes), out);
                    }
                }
                Decided::Again
            }
        }
    }

    /// Lets what the connection turns into take over.
    fn hand_over(&mut self, handover: Handover, out: &mut dyn FnMut(ExchangeEvent<'_>)) {
        self.faults = self.faults();
        let before = std::mem::replace(&mut self.protocol, Protocol::Opaque);
        let Protocol::Http1(h1) = before else {
            return;
        };
        self.next = h1.next();
        let (requester, began, early) = h1.into_early();
        self.protocol = match handover {
            Handover::Tunnel => Protocol::default(),
            Handover::WebSocket {
                exchange,
                extensions,
            } => Protocol::WebSocket {
                socket: Box::new(WebSocket::new(exchange, extensions.as_deref())),
                exchange,
            },
            Handover::Http2 { exchange } => Protocol::Http2 {
                h2: Box::new(H2::upgraded(requester, exchange)),
                base: 0,
            },
        };
        if !early.is_empty() {
            self.feed(requester, began, Segment::Data(&early), out);
        }
    }
}

/// What of a segment goes to the dissector that was chosen.
enum Decided<'a> {
    Nothing,
    Again,
    Rest(&'a [u8]),
}

/// Numbers the exchanges of a dissector that begins at 0 from `base` on.
fn shifted(base: u64, out: &mut dyn FnMut(ExchangeEvent<'_>)) -> impl FnMut(ExchangeEvent<'_>) {
    move |event| {
        out(ExchangeEvent {
            exchange: ExchangeId(event.exchange.0.wrapping_add(base)),
            ..event
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Missing;

    /// What a connection may hold for a peer that means ill.
    const BOUND: usize = 256 << 10;

    impl Connection {
        fn held_bytes(&self) -> usize {
            match &self.protocol {
                Protocol::Undecided(undecided) => undecided.held_bytes(),
                Protocol::Http1(h1) => h1.held_bytes(),
                _ => 0,
            }
        }
    }

    /// Feeds `piece` again and again after `start`; gives what was held at most.
    fn held(start: &[u8], piece: &[u8], times: usize, direction: Direction) -> usize {
        let mut connection = Connection::new();
        let at = Timestamp::default();
        let out = &mut |_: ExchangeEvent<'_>| {};
        connection.feed(Direction::Write, at, Segment::Data(start), out);
        let mut most = 0;
        for _ in 0..times {
            connection.feed(direction, at, Segment::Data(piece), out);
            most = most.max(connection.held_bytes());
        }
        most
    }

    #[test]
    fn memory_is_bounded() {
        use Direction::{Read, Write};
        let request = b"GET / HTTP/1.1\r\n\r\n";
        let endless: [(&[u8], &[u8], usize, Direction); 6] = [
            (b"GET /", b"aaaaaaaaaaaaaaaa", 100_000, Write),
            (b"GET / HTTP/1.1\r\n", b"a: b\r\n", 100_000, Write),
            (b"GET / HTTP/1.1\r\na: ", b"b", 200_000, Write),
            (request, request, 100_000, Write),
            (request, b"HTTP/1.1 200 OK\r\nx", 100_000, Read),
            (b"\0\0\x10\0\0\0\0\0\x01", b"\0", 200_000, Write),
        ];
        for (start, piece, times, direction) in endless {
            let most = held(start, piece, times, direction);
            assert!(most <= BOUND, "{most} for {}", piece.escape_ascii());
        }
    }

    #[test]
    fn what_is_tried_after_a_hole_is_bounded() {
        let mut connection = Connection::new();
        let at = Timestamp::default();
        let out = &mut |_: ExchangeEvent<'_>| {};
        let lost = Missing { lost: 9, cut: 0 };
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        connection.feed(
            Direction::Write,
            at,
            Segment::Data(b"GET / HTTP/1.1\r\n\r\n"),
            out,
        );
        connection.feed(Direction::Read, at, Segment::Data(head), out);
        connection.feed(Direction::Read, at, Segment::Gap(lost), out);
        for _ in 0..100_000 {
            connection.feed(Direction::Read, at, Segment::Data(b"ffff\r\n"), out);
            assert!(connection.held_bytes() <= BOUND);
        }
        assert_eq!(connection.faults().lost_framing, 1);
    }

    #[test]
    fn faults_are_counted() {
        let mut connection = Connection::new();
        let at = Timestamp::default();
        let mut feed = |direction, bytes: &[u8]| {
            connection.feed(direction, at, Segment::Data(bytes), &mut |_| {});
            connection.faults()
        };
        let faults = feed(
            Direction::Read,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        );
        assert_eq!(faults.unpaired, 1);
        let fields = b"a: b\r\n".repeat(300);
        let faults = feed(
            Direction::Write,
            &[b"GET / HTTP/1.1\r\n", &fields[..], b"\r\n"].concat(),
        );
        assert_eq!((faults.refused_heads, faults.lost_framing), (1, 1));
    }
}
