//! One connection: its facts, its HTTP state, and the exchanges open on it.

use smallvec::SmallVec;

use super::exchange::{Context, Exchange};
use super::{Output, Shared, count};
use crate::event::{ConnectionId, Direction, Missing, Origin, Role, Verdict};
use crate::http::head::Version;
use crate::http::{self, ExchangeEvent, ExchangeId, RequestHead, Step};
use crate::stream::Segment;
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Connection {
    http: http::Connection,
    rest: Rest,
}

/// All but the dissector, which borrows itself while its events are handled.
#[derive(Debug)]
struct Rest {
    id: ConnectionId,
    origin: Origin,
    /// Those that are open, in the order of their numbers.
    exchanges: SmallVec<[(ExchangeId, Exchange); 1]>,
    last_active: Timestamp,
    verdict: Verdict,
    /// Whether a later exchange can be understood without the bytes of this one.
    is_divisible: bool,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, at: Timestamp) -> Self {
        let rest = Rest {
            id,
            origin: Origin::default(),
            exchanges: SmallVec::new(),
            last_active: at,
            verdict: Verdict::Undecided,
            is_divisible: false,
        };
        Self {
            http: http::Connection::new(),
            rest,
        }
    }

    pub(super) fn last_active(&self) -> Timestamp {
        self.rest.last_active
    }

    pub(super) fn opened(&mut self, at: Timestamp, origin: Origin) {
        self.rest.last_active = at;
        self.rest.origin.update(origin);
    }

    pub(super) fn data(
        &mut self,
        at: Timestamp,
        direction: Direction,
        missing: Missing,
        bytes: &[u8],
        shared: &mut Shared,
        out: &mut dyn FnMut(Output),
    ) {
        let Self { http, rest } = self;
        rest.last_active = at;
        if !missing.is_none() {
            let gap = Segment::Gap(missing);
            http.feed(direction, at, gap, &mut |event| {
                rest.exchange(event, shared, out)
            });
        }
        if !bytes.is_empty() {
            let data = Segment::Data(bytes);
            http.feed(direction, at, data, &mut |event| {
                rest.exchange(event, shared, out)
            });
        }
        if http.detection() == http::Detection::NotForUs {
            rest.decide(Verdict::Unwanted, out);
        }
    }

    /// The connection was closed at `at`; or, `at` being `None`, it goes on and is to be
    /// forgotten, so that what is open stays unfinished.
    pub(super) fn end(
        mut self,
        closed: Option<Timestamp>,
        shared: &mut Shared,
        out: &mut dyn FnMut(Output),
    ) {
        let Self { http, rest } = &mut self;
        let at = closed.unwrap_or(rest.last_active);
        let mut each = |event: ExchangeEvent<'_>| rest.exchange(event, shared, out);
        match closed {
            Some(_) => http.close(at, &mut each),
            None => http.abandon(at, &mut each),
        }
        shared.counters.http.add(http.faults());
        for (_, exchange) in rest.exchanges.drain(..) {
            exchange.finish(Context {
                connection: rest.id,
                at,
                shared,
                out,
            });
        }
    }
}

impl Rest {
    fn exchange(
        &mut self,
        event: ExchangeEvent<'_>,
        shared: &mut Shared,
        out: &mut dyn FnMut(Output),
    ) {
        let ExchangeEvent {
            exchange: id,
            at,
            step,
        } = event;
        match step {
            Step::Request {
                began,
                requester,
                head,
            } => {
                self.request(id, began, requester, &head, shared, out);
            }
            Step::Over => {
                if let Ok(place) = self.place(id) {
                    let (_, exchange) = self.exchanges.remove(place);
                    exchange.finish(Context {
                        connection: self.id,
                        at,
                        shared,
                        out,
                    });
                }
            }
            step => {
                let place = self.place(id).ok();
                let Some((_, exchange)) = place.and_then(|at| self.exchanges.get_mut(at)) else {
                    return;
                };
                let was_candidate = exchange.is_candidate();
                exchange.step(
                    step,
                    Context {
                        connection: self.id,
                        at,
                        shared,
                        out,
                    },
                );
                if exchange.is_call() {
                    self.decide(Verdict::Wanted, out);
                } else if was_candidate && !exchange.is_candidate() {
                    self.dismiss(out);
                }
            }
        }
    }

    fn request(
        &mut self,
        id: ExchangeId,
        began: Timestamp,
        requester: Direction,
        head: &RequestHead,
        shared: &mut Shared,
        out: &mut dyn FnMut(Output),
    ) {
        count(&mut shared.counters.exchanges, 1);
        if self.exchanges.len() >= shared.options.limits.exchanges {
            return count(&mut shared.counters.refused_exchanges, 1);
        }
        let role = match requester {
            Direction::Write => Role::Client,
            Direction::Read => Role::Server,
        };
        let exchange = Exchange::new(began, role, head, &self.origin, shared);
        let is_candidate = exchange.is_candidate();
        let (Ok(place) | Err(place)) = self.place(id);
        self.exchanges.insert(place, (id, exchange));
        // HTTP/2 keeps state in every head, so nothing of it may be left out.
        self.is_divisible = head.version != Version::Http2;
        if !is_candidate {
            self.dismiss(out);
        } else if self.verdict == Verdict::HeadsOnly {
            self.decide(Verdict::Undecided, out);
        }
    }

    /// Where the exchange is, or would be.
    fn place(&self, id: ExchangeId) -> Result<usize, usize> {
        self.exchanges.binary_search_by_key(&id, |(id, _)| *id)
    }

    /// An exchange was no call: until there is one, heads are enough.
    fn dismiss(&mut self, out: &mut dyn FnMut(Output)) {
        if self.verdict == Verdict::Undecided && self.is_divisible {
            self.decide(Verdict::HeadsOnly, out);
        }
    }

    fn decide(&mut self, verdict: Verdict, out: &mut dyn FnMut(Output)) {
        if self.verdict != verdict {
            self.verdict = verdict;
            out(Output::Verdict {
                connection: self.id,
                verdict,
            });
        }
    }
}
