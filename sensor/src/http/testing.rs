//! What tests of the dissectors share: a log of exchanges, and cuts.

use std::collections::BTreeMap;

use super::{End, ExchangeEvent, RequestHead, ResponseHead, Step};
use crate::event::{Direction, Missing};
use crate::stream::Segment;
use crate::time::Timestamp;

/// What was said of one exchange, body pieces joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchange {
    pub request: Option<RequestHead>,
    pub began: Option<Timestamp>,
    pub requester: Option<Direction>,
    pub request_body: Body,
    pub request_end: Option<(Timestamp, End)>,
    pub response: Option<(Timestamp, ResponseHead)>,
    pub response_body: Body,
    pub trailers: Vec<(String, String)>,
    pub response_end: Option<(Timestamp, End)>,
    pub messages: Vec<(Direction, bool, Vec<u8>, Missing)>,
    pub over: bool,
}

/// Bytes, with `None` for a hole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    pub pieces: Vec<Option<Vec<u8>>>,
    pub missing: Missing,
    pub last: Timestamp,
}

impl Body {
    fn add(&mut self, at: Timestamp, segment: Segment<'_>) {
        self.last = at;
        match (segment, self.pieces.last_mut()) {
            (Segment::Gap(missing), _) => {
                assert!(!missing.is_none(), "a hole of nothing");
                self.missing = self.missing.and(missing);
                self.pieces.push(None);
            }
            (Segment::Data(bytes), Some(Some(piece))) => piece.extend_from_slice(bytes),
            (Segment::Data(bytes), _) => self.pieces.push(Some(bytes.to_vec())),
        }
    }

    /// The whole of it; panics where there is a hole.
    pub fn bytes(&self) -> Vec<u8> {
        self.pieces
            .iter()
            .flat_map(|p| p.clone().expect("no hole"))
            .collect()
    }
}

/// Everything that was emitted, by exchange; checks the order of steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log(pub BTreeMap<u64, Exchange>);

impl Log {
    pub fn add(&mut self, event: ExchangeEvent<'_>) {
        let at = event.at;
        let exchange = self.0.entry(event.exchange.0).or_default();
        assert!(!exchange.over, "{:?} after the end", event.step);
        match event.step {
            Step::Request {
                began,
                requester,
                head,
            } => {
                assert!(exchange.request.is_none() && exchange.request_end.is_none());
                exchange.began = Some(began);
                exchange.requester = Some(requester);
                exchange.request = Some(*head);
            }
            Step::RequestBody(segment) => {
                assert!(exchange.request_end.is_none());
                exchange.request_body.add(at, segment);
            }
            Step::RequestEnd(end) => {
                assert!(exchange.request_end.is_none());
                exchange.request_end = Some((at, end));
            }
            Step::Response(head) => {
                assert!(exchange.response.is_none() && exchange.response_end.is_none());
                exchange.response = Some((at, *head));
            }
            Step::ResponseBody(segment) => {
                // A head that was lost leaves nothing but a hole.
                let headless = matches!(segment, Segment::Gap(_));
                assert!(exchange.response.is_some() || headless);
                assert!(exchange.response_end.is_none());
                exchange.response_body.add(at, segment);
            }
            Step::ResponseTrailers(fields) => {
                assert!(exchange.response.is_some() && exchange.response_end.is_none());
                let fields = fields.iter().map(|(n, v)| (n.into(), v.into()));
                exchange.trailers.extend(fields);
            }
            Step::ResponseEnd(end) => {
                assert!(exchange.response_end.is_none());
                exchange.response_end = Some((at, end));
            }
            Step::WebSocket {
                direction,
                binary,
                data,
                missing,
            } => {
                exchange
                    .messages
                    .push((direction, binary, data.to_vec(), missing));
            }
            Step::Over => exchange.over = true,
        }
    }
}

/// A small generator of numbers: tests have to give the same each time.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    /// `bytes` cut at places of chance, often into single bytes.
    pub fn cut<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let most = [1, 12, 5000][self.below(3)];
            let (piece, rest) = bytes.split_at((1 + self.below(most)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}
