//! Requests and responses of an HTTP/1 connection, joined to exchanges.
//!
//! In: that messages begin and end. Out: [`ExchangeEvent`]s. Must not know: heads,
//! framing.
//!
//! Responses come in the order of their requests (RFC 9112, section 9.3.2). Where a
//! hole makes that order doubtful, exchanges stay without a response rather than get
//! that of another.

use std::collections::VecDeque;

use crate::event::{Direction, Missing};
use crate::http::{End, ExchangeEvent, ExchangeId, Step};
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
    pub exchanges: VecDeque<Exchange>,
    /// Requests given up whose response may still come.
    given_up: u64,
    /// Requests that come after their response: of a program that writes in one thread and
    /// reads in another, the reader may be heard first.
    overtaken: u64,
    /// A request was seen, and nothing is missing after it.
    in_step: bool,
    /// Requests may be missing after those that wait.
    pub doubtful: bool,
    /// Bytes that are missing where the next response is due.
    pub missing: Missing,
    /// Responses that could not be joined to a request.
    pub unpaired: u64,
    /// The client waited for leave to send its content and got its answer instead.
    pub declined: bool,
    /// What to speak from here on.
    pub handover: Option<Handover>,
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub id: ExchangeId,
    /// Empty where the request was not seen.
    pub method: Box<str>,
    pub waits_for_leave: bool,
    pub request_over: bool,
    pub response: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
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
            overtaken: 0,
            in_step: false,
            doubtful: false,
            missing: Missing::NONE,
            unpaired: 0,
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
    pub fn give_up(&mut self, at: Timestamp, oldest: usize, out: &mut Out<'_>) {
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

    /// Ends HTTP/1 on this connection, and all exchanges but one that goes on elsewhere.
    pub fn hand_over(&mut self, at: Timestamp, handover: Handover, out: &mut Out<'_>) {
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

    /// The side that was taken for the server's sends requests.
    pub fn reverse(&mut self, at: Timestamp, out: &mut Out<'_>) {
        self.close(at, out);
        self.given_up = 0;
        self.out_of_step();
        self.requester = self.requester.opposite();
    }

    /// A new exchange, to be put in its place.
    pub fn exchange(
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

    /// A request begins; where its response has passed by, it waits for none.
    pub fn begin_request(&mut self, exchange: &mut Exchange) {
        self.in_step = true;
        if self.overtaken > 0 {
            self.overtaken = self.overtaken.saturating_sub(1);
            exchange.response = Phase::Over;
        }
    }

    /// Requests may be missing here, so that a response whose request was not seen is
    /// nothing to wonder at.
    pub fn out_of_step(&mut self) {
        self.in_step = false;
        self.overtaken = 0;
    }

    /// The exchange whose request is being read.
    pub fn requesting(&mut self) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().rev().find(|e| !e.request_over)
    }

    /// The exchange whose response is being read, or comes next.
    pub fn responding(&mut self) -> Option<&mut Exchange> {
        self.exchanges
            .iter_mut()
            .find(|e| e.response != Phase::Over)
    }

    /// Sees to it that the exchange at whose turn it is for a response to begin is the
    /// one that [`responding`](Self::responding) gives.
    pub fn begin_response(&mut self, at: Timestamp, resynced: bool, out: &mut Out<'_>) {
        for exchange in &mut self.exchanges {
            if exchange.response == Phase::Begun {
                exchange.end_response(at, End::Lost, out);
            }
        }
        if resynced && (self.awaited() > 1 || self.doubtful) {
            self.give_up(at, usize::MAX, out);
        }
        if self.given_up > 0 || self.awaited() == 0 {
            if self.given_up == 0 && self.in_step {
                self.overtaken = self.overtaken.saturating_add(1);
            }
            self.given_up = self.given_up.saturating_sub(1);
            self.unpaired = self.unpaired.saturating_add(1);
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
    pub fn make_room(&mut self, at: Timestamp, out: &mut Out<'_>) {
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

    pub fn settle(&mut self, at: Timestamp, out: &mut Out<'_>) {
        while let Some(front) = self.exchanges.front() {
            if !front.request_over || front.response != Phase::Over {
                break;
            }
            emit(front.id, at, Step::Over, out);
            self.exchanges.pop_front();
        }
        self.doubtful &= !self.exchanges.is_empty();
    }
}

impl Exchange {
    pub fn end_request(&mut self, at: Timestamp, end: End, out: &mut Out<'_>) {
        if !std::mem::replace(&mut self.request_over, true) {
            emit(self.id, at, Step::RequestEnd(end), out);
        }
    }

    pub fn end_response(&mut self, at: Timestamp, end: End, out: &mut Out<'_>) {
        if std::mem::replace(&mut self.response, Phase::Over) == Phase::Begun {
            emit(self.id, at, Step::ResponseEnd(end), out);
        }
    }
}

pub(super) fn emit(exchange: ExchangeId, at: Timestamp, step: Step<'_>, out: &mut Out<'_>) {
    out(ExchangeEvent { exchange, at, step });
}
