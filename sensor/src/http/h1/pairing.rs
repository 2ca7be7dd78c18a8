//! Requests and responses of an HTTP/1 connection, joined to exchanges.
//!
//! In: messages of both directions. Out: [`ExchangeEvent`]s. Must not know: bytes of
//! framing.
//!
//! Responses come in the order of their requests (RFC 9112, section 9.3.2). Where a
//! hole makes that order doubtful, exchanges stay without a response rather than get
//! that of another.

use std::collections::VecDeque;

use super::half::{Framing, Messages, RawHead};
use super::parse;
use crate::event::{Direction, Missing};
use crate::http::detect::StartLine;
use crate::http::{End, ExchangeEvent, ExchangeId, ResponseHead, Step};
use crate::stream::Segment;
use crate::time::Timestamp;

/// Requests that may wait for a response; more are given up, the oldest first.
const MOST_WAITING: usize = 256;

pub(super) type Out<'a> = dyn FnMut(ExchangeEvent<'_>) + 'a;

#[derive(Debug)]
pub(super) struct Pairing {
    pub requester: Direction,
    next: u64,
    /// All that are not over, in the order of requests.
    exchanges: VecDeque<Exchange>,
    /// Requests given up whose response may still come.
    given_up: u64,
    /// Bytes that are missing where the next response is due.
    missing: Missing,
    /// The client waited for leave to send its content and got its answer instead.
    pub declined: bool,
    /// What to speak from here on.
    pub handover: Option<Handover>,
}

#[derive(Debug)]
struct Exchange {
    id: ExchangeId,
    /// Empty where the request was not seen.
    method: Box<str>,
    waits_for_leave: bool,
    request_over: bool,
    response: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Awaited,
    Begun,
    Over,
}

/// What a connection turns into.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) enum Handover {
    /// Anything, or nothing that is known.
    Tunnel,
    WebSocket {
        exchange: ExchangeId,
        extensions: Option<Box<str>>,
    },
    /// HTTP/2, whose first stream carries the response of this exchange.
    Http2 { exchange: ExchangeId },
}

impl Pairing {
    /// `next`: the first exchange number that is free.
    pub fn new(requester: Direction, next: u64) -> Self {
        Self {
            requester,
            next,
            exchanges: VecDeque::new(),
            given_up: 0,
            missing: Missing::NONE,
            declined: false,
            handover: None,
        }
    }

    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Whether a response is being read whose request was not seen.
    pub fn reads_orphan(&self) -> bool {
        self.exchanges
            .iter()
            .any(|e| e.method.is_empty() && e.response == Phase::Begun)
    }

    /// Ends the `oldest` exchanges, as their responses were lost.
    fn give_up(&mut self, at: Timestamp, oldest: usize, out: &mut Out<'_>) {
        self.tell_missing(at, out);
        for exchange in self.exchanges.iter_mut().take(oldest) {
            exchange.end_response(at, End::Lost, out);
            exchange.end_request(at, End::Lost, out);
        }
        self.settle(at, out);
    }

    /// Ends what is left when the connection does.
    pub fn close(&mut self, at: Timestamp, out: &mut Out<'_>) {
        self.tell_missing(at, out);
        for exchange in &mut self.exchanges {
            exchange.end_request(at, End::Unfinished, out);
            exchange.end_response(at, End::Unfinished, out);
        }
        self.settle(at, out);
    }

    fn exchange(
        &mut self,
        method: Box<str>,
        waits_for_leave: bool,
        request_over: bool,
    ) -> Exchange {
        let id = ExchangeId(self.next);
        self.next = self.next.wrapping_add(1);
        Exchange {
            id,
            method,
            waits_for_leave,
            request_over,
            response: Phase::Awaited,
        }
    }

    /// The exchange whose request is being read.
    fn requesting(&mut self) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().rev().find(|e| !e.request_over)
    }

    /// The exchange whose response is being read, or comes next.
    fn responding(&mut self) -> Option<&mut Exchange> {
        self.exchanges
            .iter_mut()
            .find(|e| e.response != Phase::Over)
    }

    /// Sees to it that the exchange at whose turn it is for a response to begin is the
    /// one that [`responding`](Self::responding) gives.
    fn begin_response(&mut self, at: Timestamp, resynced: bool, out: &mut Out<'_>) {
        for exchange in &mut self.exchanges {
            if exchange.response == Phase::Begun {
                exchange.end_response(at, End::Lost, out);
            }
        }
        if resynced && self.awaited() > 1 {
            self.give_up(at, usize::MAX, out);
        }
        if self.given_up > 0 || self.awaited() == 0 {
            self.given_up = self.given_up.saturating_sub(1);
            let orphan = self.exchange("".into(), false, true);
            self.exchanges.push_front(orphan);
        }
        if let Some(exchange) = self.responding() {
            exchange.response = Phase::Begun;
        }
        // Its head is whole: what is missing was something else.
        self.missing = Missing::NONE;
        self.settle(at, out);
    }

    /// Tells the exchange whose response is due that it was in a hole.
    fn tell_missing(&mut self, at: Timestamp, out: &mut Out<'_>) {
        let missing = std::mem::take(&mut self.missing);
        if !missing.is_none()
            && let Some(exchange) = self.responding()
        {
            let gap = Step::ResponseBody(Segment::Gap(missing));
            emit(exchange.id, at, gap, out);
        }
    }

    fn awaited(&self) -> usize {
        let awaited = |e: &&Exchange| e.response == Phase::Awaited;
        self.exchanges.iter().filter(awaited).count()
    }

    /// Makes room for another request.
    fn make_room(&mut self, at: Timestamp, out: &mut Out<'_>) {
        if self.exchanges.len() < MOST_WAITING {
            return;
        }
        if let Some(oldest) = self.exchanges.front()
            && oldest.response == Phase::Awaited
        {
            self.given_up = self.given_up.saturating_add(1);
        }
        self.give_up(at, 1, out);
    }

    fn settle(&mut self, at: Timestamp, out: &mut Out<'_>) {
        while let Some(front) = self.exchanges.front() {
            if !front.request_over || front.response != Phase::Over {
                break;
            }
            emit(front.id, at, Step::Over, out);
            self.exchanges.pop_front();
        }
    }
}

impl Exchange {
    fn end_request(&mut self, at: Timestamp, end: End, out: &mut Out<'_>) {
        if !std::mem::replace(&mut self.request_over, true) {
            emit(self.id, at, Step::RequestEnd(end), out);
        }
    }

    fn end_response(&mut self, at: Timestamp, end: End, out: &mut Out<'_>) {
        if std::mem::replace(&mut self.response, Phase::Over) == Phase::Begun {
            emit(self.id, at, Step::ResponseEnd(end), out);
        }
    }
}

fn emit(exchange: ExchangeId, at: Timestamp, step: Step<'_>, out: &mut Out<'_>) {
    out(ExchangeEvent { exchange, at, step });
}

/// The side that sends requests.
pub(super) struct Requests<'p, 'o> {
    pub pairing: &'p mut Pairing,
    pub out: &'p mut Out<'o>,
    /// The responses are amid one whose end was lost. A client that asks again has had
    /// its answer, so that it ends with the next request.
    pub astray: bool,
}

impl Messages for Requests<'_, '_> {
    const OPENS: StartLine = StartLine::Request;

    fn head(&mut self, head: RawHead<'_>) -> Option<Framing> {
        let (request, framing) = parse::request(head.bytes)?;
        let Self { pairing, out, .. } = self;
        if std::mem::take(&mut self.astray) {
            pairing.give_up(head.at, usize::MAX, out);
        }
        pairing.make_room(head.at, out);
        let waits = request
            .fields
            .list("expect")
            .any(|e| e.eq_ignore_ascii_case("100-continue"));
        let exchange = pairing.exchange(request.method.clone(), waits, false);
        let step = Step::Request {
            began: head.began,
            requester: pairing.requester,
            head: Box::new(request),
        };
        emit(exchange.id, head.at, step, out);
        pairing.exchanges.push_back(exchange);
        Some(framing)
    }

    fn body(&mut self, at: Timestamp, segment: Segment<'_>) {
        if let Some(exchange) = self.pairing.requesting() {
            exchange.waits_for_leave = false;
            emit(exchange.id, at, Step::RequestBody(segment), self.out);
        }
    }

    fn end(&mut self, at: Timestamp, end: End) {
        if let Some(exchange) = self.pairing.requesting() {
            exchange.end_request(at, end, self.out);
        }
        self.pairing.settle(at, self.out);
    }

    /// Whole requests may be missing; their responses will find nobody.
    fn lost(&mut self, _: Timestamp, _: Missing) {}

    fn broken(&mut self, _: &[u8]) {}
}

/// The side that sends responses.
pub(super) struct Responses<'p, 'o> {
    pub pairing: &'p mut Pairing,
    pub out: &'p mut Out<'o>,
}

impl Messages for Responses<'_, '_> {
    const OPENS: StartLine = StartLine::Response;

    fn head(&mut self, head: RawHead<'_>) -> Option<Framing> {
        if self.is_interim(head.bytes) {
            return Some(Framing::Interim);
        }
        let Self { pairing, out } = self;
        pairing.begin_response(head.at, head.resynced, out);
        let exchange = pairing.responding()?;
        let (response, framing) = parse::response(head.bytes, &exchange.method)?;
        let (id, handover) = (exchange.id, upgrade(exchange.id, &response));
        // Where HTTP/2 takes over, the answer proper is yet to come.
        if !matches!(handover, Handover::Http2 { .. }) {
            emit(id, head.at, Step::Response(Box::new(response)), out);
        }
        if let Some(exchange) = pairing.responding()
            && exchange.waits_for_leave
            && !exchange.request_over
        {
            exchange.end_request(head.at, End::Unfinished, out);
            pairing.declined = true;
        }
        if framing == Framing::Handover {
            pairing.hand_over(head.at, handover, out);
        }
        Some(framing)
    }

    fn body(&mut self, at: Timestamp, segment: Segment<'_>) {
        if let Some(exchange) = self.pairing.responding() {
            emit(exchange.id, at, Step::ResponseBody(segment), self.out);
        }
    }

    fn end(&mut self, at: Timestamp, end: End) {
        if let Some(exchange) = self.pairing.responding() {
            exchange.end_response(at, end, self.out);
        }
        self.pairing.settle(at, self.out);
    }

    fn lost(&mut self, _: Timestamp, missing: Missing) {
        if self.pairing.responding().is_some() {
            self.pairing.missing = self.pairing.missing.and(missing);
        }
    }

    fn broken(&mut self, start: &[u8]) {
        if !self.is_interim(start)
            && let Some(exchange) = self.pairing.responding()
        {
            exchange.response = Phase::Begun;
        }
    }
}

impl Responses<'_, '_> {
    /// Whether a head is that of an interim response; takes note of `100 Continue`.
    fn is_interim(&mut self, head: &[u8]) -> bool {
        let status = parse::status(head).unwrap_or_default();
        if status == 100
            && let Some(exchange) = self.pairing.responding()
        {
            exchange.waits_for_leave = false;
        }
        matches!(status, 100 | 102..=199)
    }
}

impl Pairing {
    /// Ends HTTP/1 on this connection, and all exchanges but one that goes on elsewhere.
    fn hand_over(&mut self, at: Timestamp, handover: Handover, out: &mut Out<'_>) {
        if handover != Handover::Tunnel
            && let Some(exchange) = self.responding()
        {
            exchange.end_request(at, End::Unfinished, out);
            let id = exchange.id;
            self.exchanges.retain(|e| e.id != id);
        } else if let Some(exchange) = self.responding() {
            exchange.end_response(at, End::Complete, out);
        }
        self.close(at, out);
        self.handover = Some(handover);
    }
}

/// What a response of status 101, or one that opens a tunnel, turns the connection into.
fn upgrade(exchange: ExchangeId, response: &ResponseHead) -> Handover {
    let fields = &response.fields;
    let is = |name: &str| {
        fields
            .list("upgrade")
            .any(|upgrade| upgrade.eq_ignore_ascii_case(name))
    };
    match response.status {
        Some(101) if is("websocket") => Handover::WebSocket {
            exchange,
            extensions: fields.first("sec-websocket-extensions").map(Into::into),
        },
        Some(101) if is("h2c") => Handover::Http2 { exchange },
        _ => Handover::Tunnel,
    }
}
