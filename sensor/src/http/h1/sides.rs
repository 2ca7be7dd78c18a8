//! The two sides of an HTTP/1 connection.
//!
//! In: messages of one direction. Out: the steps of their exchanges. Must not know: how
//! messages are cut.

use super::messages::{Framing, Messages, RawHead};
use super::pairing::{Handover, Out, Pairing, Phase, emit};
use super::parse;
use crate::event::Missing;
use crate::http::detect::StartLine;
use crate::http::{End, ExchangeId, ResponseHead, Step};
use crate::stream::Segment;
use crate::time::Timestamp;

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

    /// No request says anything in its trailers.
    fn trailers(&mut self, _: Timestamp, _: &mut [u8]) {}

    fn end(&mut self, at: Timestamp, end: End) {
        if let Some(exchange) = self.pairing.requesting() {
            exchange.end_request(at, end, self.out);
        }
        self.pairing.settle(at, self.out);
    }

    /// Whole requests may be missing; their responses will find nobody.
    fn lost(&mut self, _: Timestamp, _: Missing) {}

    fn lost_framing(&mut self) {
        self.pairing.doubtful |= !self.pairing.exchanges.is_empty();
    }

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

    fn trailers(&mut self, at: Timestamp, section: &mut [u8]) {
        let fields = parse::trailers(section);
        if let Some(exchange) = self.pairing.responding().filter(|_| !fields.is_empty()) {
            let step = Step::ResponseTrailers(Box::new(fields));
            emit(exchange.id, at, step, self.out);
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

    fn lost_framing(&mut self) {}

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
