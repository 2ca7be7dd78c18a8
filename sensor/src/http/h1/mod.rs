//! HTTP/1.0 and HTTP/1.1 (RFC 9112), both directions.
//!
//! In: segments of a connection whose requesting side is known. Out:
//! [`ExchangeEvent`](super::ExchangeEvent)s, and what the connection turns into. Must
//! not know: what is exchanged.

mod chunked;
mod half;
mod messages;
mod pairing;
mod parse;
mod scan;
mod sides;

pub(super) use half::Half;
pub(super) use pairing::Handover;

use crate::event::Direction;
use crate::http::Faults;
use crate::stream::Segment;
use crate::time::Timestamp;
use half::Stop;
use pairing::{Out, Pairing};
use sides::{Requests, Responses};

#[derive(Debug)]
pub(super) struct H1 {
    pairing: Pairing,
    write: Half,
    read: Half,
    last: Option<Direction>,
}

impl H1 {
    /// `next`: the first exchange number that is free.
    pub fn new(requester: Direction, next: u64, write: Half, read: Half) -> Self {
        Self {
            pairing: Pairing::new(requester, next),
            write,
            read,
            last: None,
        }
    }

    pub const fn requester(&self) -> Direction {
        self.pairing.requester
    }

    /// The first exchange number that is free.
    pub const fn next(&self) -> u64 {
        self.pairing.next()
    }

    /// Adds what went wrong here to `faults`.
    pub fn add_faults(&self, faults: &mut Faults) {
        for half in [&self.write, &self.read] {
            faults.refused_heads = faults.refused_heads.saturating_add(half.refused_heads);
            faults.lost_framing = faults.lost_framing.saturating_add(half.lost_framing);
        }
        faults.unpaired = faults.unpaired.saturating_add(self.pairing.unpaired);
    }

    /// Takes the next segment of one direction. Gives something where the connection is
    /// HTTP/1 no longer: what it is now, and the rest of the segment.
    pub fn feed<'a>(
        &mut self,
        direction: Direction,
        at: Timestamp,
        mut segment: Segment<'a>,
        out: &mut Out<'_>,
    ) -> Option<(Handover, &'a [u8])> {
        if self.last.replace(direction) != Some(direction) {
            self.half(direction).turn();
        }
        loop {
            let stop = if direction == self.pairing.requester {
                self.feed_requests(at, segment, out)
            } else {
                self.feed_responses(at, segment, out)
            };
            match stop? {
                Stop::Reversed(rest) => {
                    self.reverse(at, out);
                    segment = Segment::Data(rest);
                }
                Stop::Handover(rest) => return Some((self.pairing.handover.take()?, rest)),
            }
        }
    }

    /// What the client sent ahead of the answer that made this something else.
    pub fn into_early(self) -> (Direction, Timestamp, Vec<u8>) {
        let half = match self.pairing.requester {
            Direction::Write => self.write,
            Direction::Read => self.read,
        };
        let (at, bytes) = half.into_held();
        (self.pairing.requester, at, bytes)
    }

    /// Ends every exchange; `ended`: because the connection was closed.
    pub fn close(&mut self, at: Timestamp, ended: bool, out: &mut Out<'_>) {
        let (requests, responses, pairing) = self.parts();
        let mut messages = Requests {
            pairing,
            out,
            astray: false,
        };
        requests.close(at, ended, &mut messages);
        responses.close(at, ended, &mut Responses { pairing, out });
        pairing.close(at, out);
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        let exchanges = self.pairing.exchanges.capacity();
        let exchanges = exchanges.saturating_mul(size_of::<pairing::Exchange>());
        exchanges + self.write.held_bytes() + self.read.held_bytes()
    }

    fn feed_requests<'a>(
        &mut self,
        at: Timestamp,
        segment: Segment<'a>,
        out: &mut Out<'_>,
    ) -> Option<Stop<'a>> {
        let (requests, responses, pairing) = self.parts();
        let astray =
            responses.is_astray() || (responses.is_until_close() && pairing.reads_orphan());
        let mut messages = Requests {
            pairing,
            out,
            astray,
        };
        let stop = requests.feed(at, segment, &mut messages);
        if astray && !messages.astray {
            responses.rescan();
        }
        stop
    }

    fn feed_responses<'a>(
        &mut self,
        at: Timestamp,
        segment: Segment<'a>,
        out: &mut Out<'_>,
    ) -> Option<Stop<'a>> {
        let (requests, responses, pairing) = self.parts();
        let stop = responses.feed(at, segment, &mut Responses { pairing, out });
        if std::mem::take(&mut pairing.declined) {
            requests.rescan();
        }
        stop
    }

    /// The sides were taken for each other.
    fn reverse(&mut self, at: Timestamp, out: &mut Out<'_>) {
        self.pairing.reverse(at, out);
        if let Some(last) = self.last {
            self.half(last.opposite()).rescan();
        }
    }

    fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Write => &mut self.write,
            Direction::Read => &mut self.read,
        }
    }

    fn parts(&mut self) -> (&mut Half, &mut Half, &mut Pairing) {
        match self.pairing.requester {
            Direction::Write => (&mut self.write, &mut self.read, &mut self.pairing),
            Direction::Read => (&mut self.read, &mut self.write, &mut self.pairing),
        }
    }
}
