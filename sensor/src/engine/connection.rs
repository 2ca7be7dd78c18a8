//! One connection: its facts, its HTTP state, and the exchanges open on it.

use smallvec::SmallVec;

use super::exchange::{Context, Exchange};
use super::served::Served;
use super::{Output, Shared, count};
use crate::event::{ConnectionId, Direction, Missing, Origin, Role, Verdict};
use crate::http::head::Version;
use crate::http::{self, ExchangeEvent, ExchangeId, RequestHead, Step};
use crate::llm::CallId;
use crate::stream::Segment;
use crate::time::Timestamp;

/// So many requests with `POST` that were no calls make it unlikely that the next one is.
const FRUITLESS: u8 = 8;

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
    /// Bytes that the exchanges hold.
    held: usize,
    last_active: Timestamp,
    verdict: Verdict,
    /// Requests with `POST` that were no calls; counted as far as it matters.
    fruitless: u8,
    /// Whether a later exchange can be understood without the bytes of this one.
    is_divisible: bool,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, at: Timestamp) -> Self {
        let rest = Rest {
            id,
            origin: Origin::default(),
            exchanges: SmallVec::new(),
            held: 0,
            last_active: at,
            verdict: Verdict::Undecided,
            fruitless: 0,
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
                thread: rest.origin.tid,
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
                    self.held = self.held.saturating_sub(exchange.held_bytes());
                    exchange.finish(Context {
                        connection: self.id,
                        thread: self.origin.tid,
                        at,
                        shared,
                        out,
                    });
                }
            }
            step => {
                let is_full = self.held > shared.options.limits.connection;
                let place = self.place(id).ok();
                let Some((_, exchange)) = place.and_then(|at| self.exchanges.get_mut(at)) else {
                    return;
                };
                let was_candidate = exchange.is_candidate();
                self.held = self.held.saturating_sub(exchange.held_bytes());
                exchange.step(
                    if is_full { without_content(step) } else { step },
                    Context {
                        connection: self.id,
                        thread: self.origin.tid,
                        at,
                        shared,
                        out,
                    },
                );
                self.held = self.held.saturating_add(exchange.held_bytes());
                if exchange.is_call() {
                    self.decide(Verdict::Wanted, out);
                } else if was_candidate && !exchange.is_candidate() {
                    self.dismiss(true, out);
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
        let served = self.serve(began, role, head, shared, out);
        let exchange = Exchange::new(began, role, head, &self.origin, shared, served);
        // HTTP/2 keeps state in every head, so nothing of it may be left out.
        self.is_divisible = head.version != Version::Http2;
        let (is_candidate, is_likely) = (exchange.is_candidate(), exchange.is_likely());
        let (Ok(place) | Err(place)) = self.place(id);
        self.exchanges.insert(place, (id, exchange));
        match self.verdict {
            _ if !is_candidate => self.dismiss(&*head.method == "POST", out),
            Verdict::HeadsAndPosts => self.decide(Verdict::Undecided, out),
            Verdict::HeadsOnly if is_likely => self.decide(Verdict::Undecided, out),
            _ => {}
        }
    }

    /// Where the exchange is, or would be.
    fn place(&self, id: ExchangeId) -> Result<usize, usize> {
        self.exchanges.binary_search_by_key(&id, |(id, _)| *id)
    }

    /// Tells of a request that the process is to answer.
    fn serve(
        &self,
        began: Timestamp,
        role: Role,
        head: &RequestHead,
        shared: &mut Shared,
        out: &mut dyn FnMut(Output),
    ) -> Option<CallId> {
        if role != Role::Server || &*head.method == "CONNECT" {
            return None;
        }
        let id = shared.next_call();
        let served = Served::new(id, self.id, &self.origin, began, head);
        out(Output::Serving(Box::new(served)));
        Some(id)
    }

    /// An exchange was no call: until there is one, heads are enough, but for what is posted.
    /// Where more and more is posted that is no call, heads are enough of that as well.
    fn dismiss(&mut self, was_posted: bool, out: &mut dyn FnMut(Output)) {
        self.fruitless = self.fruitless.saturating_add(was_posted.into());
        if self.verdict == Verdict::Wanted || !self.is_divisible {
            return;
        }
        self.decide(
            match self.fruitless {
                ..FRUITLESS => Verdict::HeadsAndPosts,
                FRUITLESS.. => Verdict::HeadsOnly,
            },
            out,
        );
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

/// A step whose content is left out, as there is no room for it.
fn without_content(step: Step<'_>) -> Step<'_> {
    let cut = |segment| match segment {
        Segment::Data(bytes) => Segment::Gap(Missing {
            lost: 0,
            cut: bytes.len() as u64,
        }),
        hole => hole,
    };
    match step {
        Step::RequestBody(segment) => Step::RequestBody(cut(segment)),
        Step::ResponseBody(segment) => Step::ResponseBody(cut(segment)),
        step => step,
    }
}
