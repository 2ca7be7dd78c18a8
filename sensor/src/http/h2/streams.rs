//! The streams of a connection (RFC 9113, section 5) and the exchanges on them.
//!
//! In: blocks, content and ends, each with its stream. Out: [`ExchangeEvent`]s. Must
//! not know: frames, HPACK.

use std::collections::{BTreeMap, BTreeSet};

use super::block::Block;
use crate::event::{Direction, Missing};
use crate::http::websocket::WebSocket;
use crate::http::{End, ExchangeEvent, ExchangeId, ResponseHead, Step};
use crate::stream::Segment;
use crate::time::Timestamp;

/// Streams followed at a time. Servers allow some hundred.
pub const MOST: usize = 1024;

/// Streams of a connection that are followed though their request was not seen.
const MOST_STRAYS: usize = 64;

type Out<'o> = &'o mut dyn FnMut(ExchangeEvent<'_>);

/// Half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Request,
    Response,
}

/// Where and when something was seen.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub stream: u32,
    pub side: Side,
    pub direction: Direction,
    pub at: Timestamp,
}

#[derive(Debug)]
struct Stream {
    exchange: ExchangeId,
    request: Half,
    response: Half,
    /// The request was an extended CONNECT for a WebSocket (RFC 8441).
    upgrade: bool,
    websocket: Option<Box<WebSocket>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Half {
    phase: Phase,
    /// Frames of this half may have been lost, among them its end.
    torn: bool,
    /// What is missing before its content; of no matter once the head comes.
    missing: Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It was before our time.
    Unseen,
    Awaited,
    Open,
    Ended,
}

impl Half {
    const fn new(phase: Phase) -> Self {
        Self {
            phase,
            torn: false,
            missing: Missing::NONE,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Unseen | Phase::Ended)
    }
}

impl Stream {
    fn new(exchange: ExchangeId, request: Phase) -> Self {
        Self {
            exchange,
            request: Half::new(request),
            response: Half::new(Phase::Awaited),
            upgrade: false,
            websocket: None,
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    fn emit(&self, at: Timestamp, out: Out<'_>, step: Step<'_>) {
        out(ExchangeEvent {
            exchange: self.exchange,
            at,
            step,
        });
    }

    fn respond(&mut self, at: Timestamp, head: ResponseHead, out: Out<'_>) {
        let accepted = head
            .status
            .is_none_or(|status| (200..300).contains(&status));
        if self.upgrade && accepted {
            let extensions = head.fields.first("sec-websocket-extensions");
            self.websocket = Some(Box::new(WebSocket::new(self.exchange, extensions)));
        }
        self.response.phase = Phase::Open;
        self.emit(at, out, Step::Response(Box::new(head)));
    }

    fn content(&mut self, place: Place, segment: Segment<'_>, out: Out<'_>) {
        if let Some(websocket) = &mut self.websocket {
            return websocket.feed(place.direction, place.at, segment, out);
        }
        let step = match place.side {
            Side::Request => Step::RequestBody(segment),
            Side::Response => Step::ResponseBody(segment),
        };
        self.emit(place.at, out, step);
    }

    fn trailers(&self, at: Timestamp, block: Block, out: Out<'_>) {
        if !block.fields.is_empty() {
            self.emit(at, out, Step::ResponseTrailers(Box::new(block.fields)));
        }
    }

    /// Ends one half, if it is not over.
    fn finish(&mut self, side: Side, at: Timestamp, end: End, out: Out<'_>) {
        if self.half(side).is_over() {
            return;
        }
        self.half(side).phase = Phase::Ended;
        let step = match side {
            Side::Request => Step::RequestEnd(end),
            Side::Response => Step::ResponseEnd(end),
        };
        self.emit(at, out, step);
    }

    /// Ends all that is open, as nothing more will come.
    fn give_up(mut self, at: Timestamp, out: Out<'_>) {
        if let Some(mut websocket) = self.websocket.take() {
            websocket.close(at, out);
        }
        for side in [Side::Request, Side::Response] {
            let end = match self.half(side).torn {
                true => End::Lost,
                false => End::Unfinished,
            };
            self.finish(side, at, end, out);
        }
        self.emit(at, out, Step::Over);
    }
}

/// The open streams of a connection.
#[derive(Debug, Default)]
pub struct Streams {
    open: BTreeMap<u32, Stream>,
    /// Added to a stream's number for the number of its exchange.
    base: u64,
    /// The first and the last stream that a request was seen on; they are opened in
    /// this order and never again.
    first: Option<u32>,
    last: u32,
    /// Streams that were seen by their response alone.
    strays: BTreeSet<u32>,
    /// Streams given up for want of room.
    pub evicted: u64,
}

impl Streams {
    /// Stream 1 carries the response to a request made before (RFC 7540, section 3.2).
    pub fn upgraded(exchange: ExchangeId) -> Self {
        let mut streams = Self {
            base: exchange.0.wrapping_sub(1),
            first: Some(1),
            last: 1,
            ..Self::default()
        };
        streams.open.insert(1, Stream::new(exchange, Phase::Ended));
        streams
    }

    pub fn is_open(&self, stream: u32) -> bool {
        self.open.contains_key(&stream)
    }

    /// A head or trailers.
    pub fn block(
        &mut self,
        place: Place,
        began: Timestamp,
        block: Block,
        end_stream: bool,
        out: Out<'_>,
    ) {
        match place.side {
            Side::Request if !self.is_open(place.stream) => {
                if place.stream <= self.last || !block.is_request() && !block.cut {
                    return;
                }
                self.request(place, began, block, out);
            }
            Side::Request => {}
            Side::Response => self.response(place, block, end_stream, out),
        }
        if end_stream {
            self.end(place, out);
        }
    }

    /// Content, or a hole in it.
    pub fn content(&mut self, place: Place, segment: Segment<'_>, out: Out<'_>) {
        let Some(stream) = self.open.get_mut(&place.stream) else {
            return;
        };
        let half = stream.half(place.side);
        if half.phase == Phase::Awaited && place.side == Side::Response {
            // The head was lost.
            let missing = std::mem::take(&mut half.missing);
            let head = ResponseHead {
                partial: true,
                ..ResponseHead::default()
            };
            stream.respond(place.at, head, out);
            if !missing.is_none() {
                stream.content(place, Segment::Gap(missing), out);
            }
        }
        if stream.half(place.side).phase == Phase::Open {
            stream.content(place, segment, out);
        }
    }

    /// The sender of one half said that it is whole.
    pub fn end(&mut self, place: Place, out: Out<'_>) {
        let Some(stream) = self.open.get_mut(&place.stream) else {
            return;
        };
        stream.finish(place.side, place.at, End::Complete, out);
        // A response that is whole mostly follows a request that is.
        if stream.response.is_over() && stream.request.torn {
            stream.finish(Side::Request, place.at, End::Lost, out);
        }
        if stream.request.is_over() && stream.response.is_over() {
            self.give_up(place.stream, place.at, out);
        }
    }

    /// Either peer ended the stream, or refused it.
    pub fn give_up(&mut self, stream: u32, at: Timestamp, out: Out<'_>) {
        if let Some(stream) = self.open.remove(&stream) {
            stream.give_up(at, out);
        }
    }

    /// Streams above `last` are refused (section 6.8).
    pub fn go_away(&mut self, last: u32, at: Timestamp, out: Out<'_>) {
        while let Some((&id, _)) = self.open.last_key_value()
            && id > last
        {
            self.give_up(id, at, out);
        }
    }

    /// Frames of one side were lost; any stream may have been hurt.
    pub fn tear(
        &mut self,
        side: Side,
        direction: Direction,
        missing: Missing,
        at: Timestamp,
        out: Out<'_>,
    ) {
        for (&id, stream) in &mut self.open {
            let half = stream.half(side);
            if half.is_over() {
                continue;
            }
            half.torn = true;
            if half.phase == Phase::Awaited {
                half.missing = half.missing.and(missing);
                continue;
            }
            let place = Place {
                stream: id,
                side,
                direction,
                at,
            };
            stream.content(place, Segment::Gap(missing), out);
        }
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.open.len() * size_of::<(u32, Stream)>()
    }

    pub fn close(&mut self, at: Timestamp, out: Out<'_>) {
        while let Some((_, stream)) = self.open.pop_first() {
            stream.give_up(at, out);
        }
    }

    fn request(&mut self, place: Place, began: Timestamp, block: Block, out: Out<'_>) {
        let websocket = |protocol: &str| protocol.eq_ignore_ascii_case("websocket");
        let upgrade = block.protocol.as_deref().is_some_and(websocket);
        self.first.get_or_insert(place.stream);
        self.last = place.stream;
        let stream = self.insert(place, Phase::Open, out);
        stream.upgrade = upgrade;
        let step = Step::Request {
            began,
            requester: place.direction,
            head: Box::new(block.into_request()),
        };
        stream.emit(place.at, out, step);
    }

    fn response(&mut self, place: Place, block: Block, end_stream: bool, out: Out<'_>) {
        if block.is_interim(end_stream) {
            return;
        }
        let heads = block.status.is_some() || block.is_partial() && !end_stream;
        if !self.is_open(place.stream) {
            if !heads || !self.admits_stray(place.stream) {
                return;
            }
            self.insert(place, Phase::Unseen, out);
        }
        let Some(stream) = self.open.get_mut(&place.stream) else {
            return;
        };
        match stream.response.phase {
            Phase::Awaited if heads => {
                // Frames of one stream come in order: before its head it lost nothing.
                stream.response = Half::new(Phase::Open);
                stream.respond(place.at, block.into_response(), out);
            }
            Phase::Awaited => {
                let head = ResponseHead {
                    partial: true,
                    ..ResponseHead::default()
                };
                stream.respond(place.at, head, out);
                stream.trailers(place.at, block, out);
            }
            Phase::Open => stream.trailers(place.at, block, out),
            Phase::Unseen | Phase::Ended => {}
        }
    }

    /// Whether a response on a stream that is not open may be one whose request was
    /// not seen; mostly the stream was reset, and the response was under way.
    fn admits_stray(&mut self, stream: u32) -> bool {
        let earlier = self.first.is_some_and(|first| stream < first);
        let lost = stream > self.last;
        let admitted =
            (earlier || lost) && self.strays.len() < MOST_STRAYS && self.strays.insert(stream);
        if admitted {
            self.last = self.last.max(stream);
        }
        admitted
    }

    fn insert(&mut self, place: Place, request: Phase, out: Out<'_>) -> &mut Stream {
        if self.open.len() >= MOST
            && let Some((_, oldest)) = self.open.pop_first()
        {
            self.evicted = self.evicted.saturating_add(1);
            oldest.give_up(place.at, out);
        }
        let exchange = ExchangeId(self.base.wrapping_add(place.stream.into()));
        self.open
            .entry(place.stream)
            .or_insert(Stream::new(exchange, request))
    }
}
