//! HTTP/2 as an observer sees it (RFC 9113).
//!
//! In: segments of both directions, from the start of the connection or from amid it.
//! Out: [`ExchangeEvent`]s. Must not know: TLS, what content means.
//!
//! Flow control, priorities and pushed responses are of no interest; the header blocks
//! of pushes are decoded all the same, as they change the state of the decoder.
//!
//! What is lost is lost for good in one respect only: the dynamic table of a direction
//! is forgotten with any hole that may have held a header block. Fields that refer to
//! it are then unknown, and the head says so, until newer ones have replaced them.

mod block;
mod frame;
mod half;
mod header;
pub(super) mod hpack;
mod streams;
mod sync;

use crate::event::{Direction, Missing};
use crate::http::{Detection, ExchangeEvent, ExchangeId};
use crate::stream::Segment;
use crate::time::Timestamp;

use block::Block;
use frame::{Hole, Piece};
use half::Half;
use header::{Header, Kind};
use streams::{Place, Side, Streams};
use sync::Search;

/// `SETTINGS_HEADER_TABLE_SIZE` and `SETTINGS_MAX_FRAME_SIZE`.
const TABLE_SIZE: u16 = 1;
const FRAME_SIZE: u16 = 5;

type Out<'o> = &'o mut dyn FnMut(ExchangeEvent<'_>);

/// Whether `bytes`, which begin a direction or a write, are HTTP/2: the preface, or
/// frames where the connection was joined late.
pub fn detect(bytes: &[u8]) -> Detection {
    sync::detect(bytes)
}

/// What went wrong on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Fields that could not be known.
    pub unknown_fields: u64,
    /// Header blocks that were cut by a hole, broken or too long.
    pub cut_blocks: u64,
    /// Times that frames could not be told any more.
    pub lost_sync: u64,
    /// Octets skipped before frames could be told again.
    pub skipped: u64,
    /// Streams given up for want of room.
    pub evicted_streams: u64,
}

impl Faults {
    pub fn add(&mut self, other: Self) {
        let Self {
            unknown_fields,
            cut_blocks,
            lost_sync,
            skipped,
            evicted_streams,
        } = other;
        self.unknown_fields = self.unknown_fields.saturating_add(unknown_fields);
        self.cut_blocks = self.cut_blocks.saturating_add(cut_blocks);
        self.lost_sync = self.lost_sync.saturating_add(lost_sync);
        self.skipped = self.skipped.saturating_add(skipped);
        self.evicted_streams = self.evicted_streams.saturating_add(evicted_streams);
    }
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub struct H2 {
    requester: Option<Direction>,
    /// Whether the traffic itself told the requester.
    certain: bool,
    write: Half,
    read: Half,
    streams: Streams,
    faults: Faults,
}

impl H2 {
    /// `requester`: the direction of requests, where it is known already.
    pub fn new(requester: Option<Direction>) -> Self {
        Self {
            requester,
            certain: false,
            write: Half::new(),
            read: Half::new(),
            streams: Streams::default(),
            faults: Faults::default(),
        }
    }

    /// A connection that HTTP/1.1 handed over with `101` and `Upgrade: h2c`: the
    /// request of `exchange` was complete, its response comes on stream 1.
    pub fn upgraded(requester: Direction, exchange: ExchangeId) -> Self {
        Self {
            streams: Streams::upgraded(exchange),
            certain: true,
            ..Self::new(Some(requester))
        }
    }

    /// The direction in which requests go, once known.
    pub fn requester(&self) -> Option<Direction> {
        self.requester
    }

    pub fn faults(&self) -> Faults {
        Faults {
            evicted_streams: self.streams.evicted,
            ..self.faults
        }
    }

    /// Takes the next bytes, or the next hole, of one direction.
    pub fn feed(
        &mut self,
        direction: Direction,
        at: Timestamp,
        segment: Segment<'_>,
        out: Out<'_>,
    ) {
        match segment {
            Segment::Gap(missing) if missing.is_none() => {}
            Segment::Gap(missing) => self.gap(direction, at, missing, out),
            Segment::Data(bytes) => {
                let half = self.half(direction);
                if half.held.is_empty() {
                    self.read(direction, at, bytes, out);
                } else {
                    let mut all = std::mem::take(&mut half.held);
                    all.extend_from_slice(bytes);
                    self.read(direction, at, &all, out);
                }
            }
        }
    }

    /// Ends what is open: the connection was closed, or the capture is over.
    pub fn close(&mut self, at: Timestamp, out: Out<'_>) {
        for direction in [Direction::Write, Direction::Read] {
            self.cut_block(direction, at, out);
        }
        self.streams.close(at, out);
        (self.write, self.read) = (Half::new(), Half::new());
    }

    /// Bytes held for the sake of later traffic.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        self.write.held_bytes() + self.read.held_bytes() + self.streams.held_bytes()
    }

    fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Write => &mut self.write,
            Direction::Read => &mut self.read,
        }
    }

    fn read(&mut self, direction: Direction, at: Timestamp, mut input: &[u8], out: Out<'_>) {
        loop {
            let half = self.half(direction);
            if half.reader.at_boundary() {
                half.began = at;
            }
            let was_lost = half.reader.is_lost();
            if let Some(piece) = half.reader.next(&mut input) {
                self.piece(direction, at, piece, out);
                continue;
            }
            if !half.reader.is_lost() {
                return;
            }
            let carried = half.reader.take_carried();
            if !was_lost {
                self.lose(direction, at, out);
            }
            if let Some(carried) = carried {
                let all = [&carried, input].concat();
                return self.read(direction, at, &all, out);
            }
            match self.search(direction, at, input, out) {
                Some(rest) => input = rest,
                None => return,
            }
        }
    }

    /// Looks for the next frame; gives the input from there on.
    fn search<'a>(
        &mut self,
        direction: Direction,
        at: Timestamp,
        input: &'a [u8],
        out: Out<'_>,
    ) -> Option<&'a [u8]> {
        let found = sync::search(input);
        let (Search::Found(place) | Search::Hold(place)) = found;
        let (skipped, rest) = input.split_at_checked(place)?;
        let half = self.half(direction);
        half.skipped = half.skipped.saturating_add(skipped.len() as u64);
        if found == Search::Hold(place) {
            half.held = rest.to_vec();
            return None;
        }
        half.reader.resume();
        self.tear(direction, at, Missing::NONE, out);
        Some(rest)
    }

    fn piece(&mut self, direction: Direction, at: Timestamp, piece: Piece<'_>, out: Out<'_>) {
        let header = self.half(direction).reader.header();
        match piece {
            Piece::Preface => {
                self.requester = Some(direction);
                self.certain = true;
            }
            Piece::Data(bytes) => {
                if let Some(place) = self.place(direction, header.stream, at) {
                    self.streams.content(place, Segment::Data(bytes), out);
                }
            }
            Piece::Block(octets) => self.half(direction).gather(octets),
            Piece::Setting { id, value } => {
                let peer = self.half(direction.opposite());
                match id {
                    TABLE_SIZE => peer.decoder.allow(value),
                    FRAME_SIZE => peer.reader.allow(value),
                    _ => {}
                }
            }
            Piece::GoAway { last } => {
                if self.side(direction) == Some(Side::Response) {
                    self.streams.go_away(last, at, out);
                }
            }
            Piece::End => self.end_of_frame(direction, at, header, out),
        }
    }

    fn end_of_frame(&mut self, direction: Direction, at: Timestamp, header: Header, out: Out<'_>) {
        match header.kind {
            Kind::Data if header.has(Header::END_STREAM) => {
                if let Some(place) = self.place(direction, header.stream, at) {
                    self.streams.end(place, out);
                }
            }
            Kind::Headers | Kind::Push | Kind::Continuation => {
                self.half(direction).opening();
                if header.has(Header::END_HEADERS) {
                    self.finish_block(direction, at, out);
                }
            }
            Kind::Reset => self.streams.give_up(header.stream, at, out),
            _ => {}
        }
    }

    /// Decodes the block that was gathered, as far as it came.
    fn finish_block(&mut self, direction: Direction, at: Timestamp, out: Out<'_>) {
        let Some((opening, block)) = self.half(direction).take_block() else {
            return;
        };
        let faults = &mut self.faults;
        faults.unknown_fields = faults.unknown_fields.saturating_add(block.unknown.into());
        faults.cut_blocks = faults.cut_blocks.saturating_add(block.cut.into());
        let header = opening.header;
        if header.kind == Kind::Push || header.stream.is_multiple_of(2) {
            return;
        }
        self.decide(direction, &block);
        if let Some(place) = self.place(direction, header.stream, at) {
            let end_stream = header.has(Header::END_STREAM);
            self.streams
                .block(place, opening.began, block, end_stream, out);
        }
    }

    /// Requests and responses have fields that tell them apart; of those the ones that
    /// every request has stand in the static table, so that they are known in any case.
    fn decide(&mut self, direction: Direction, block: &Block) {
        if self.certain {
            return;
        }
        if block.is_request() {
            self.requester = Some(direction);
        } else if block.status.is_some() {
            self.requester = Some(direction.opposite());
        } else {
            return;
        }
        self.certain = true;
    }

    fn gap(&mut self, direction: Direction, at: Timestamp, missing: Missing, out: Out<'_>) {
        let half = self.half(direction);
        let header = half.reader.header();
        match half.reader.gap(missing.total()) {
            Hole::Content if header.kind == Kind::Data => {
                if let Some(place) = self.place(direction, header.stream, at) {
                    self.streams.content(place, Segment::Gap(missing), out);
                }
            }
            Hole::Content => {
                if let Some(opening) = half.opening() {
                    opening.cut = true;
                }
            }
            Hole::Nothing => {}
            Hole::Frames => {
                let held = std::mem::take(&mut half.held);
                half.skipped = half.skipped.saturating_add(held.len() as u64);
                self.lose(direction, at, out);
                self.tear(direction, at, missing, out);
            }
        }
        // The hole may have reached the end of a frame.
        self.read(direction, at, &[], out);
    }

    /// Frames went by unseen: the block that was being gathered does not go on, and
    /// there may have been others.
    fn lose(&mut self, direction: Direction, at: Timestamp, out: Out<'_>) {
        self.faults.lost_sync = self.faults.lost_sync.saturating_add(1);
        self.cut_block(direction, at, out);
        self.half(direction).decoder.forget();
    }

    fn cut_block(&mut self, direction: Direction, at: Timestamp, out: Out<'_>) {
        if let Some(opening) = &mut self.half(direction).opening {
            opening.cut = true;
            self.finish_block(direction, at, out);
        }
    }

    /// Tells the streams what they may have lost, with what was skipped.
    fn tear(&mut self, direction: Direction, at: Timestamp, missing: Missing, out: Out<'_>) {
        let skipped = std::mem::take(&mut self.half(direction).skipped);
        self.faults.skipped = self.faults.skipped.saturating_add(skipped);
        let missing = missing.and(Missing {
            lost: skipped,
            cut: 0,
        });
        if let Some(side) = self.side(direction) {
            self.streams.tear(side, direction, missing, at, out);
        }
    }

    fn side(&self, direction: Direction) -> Option<Side> {
        Some(match self.requester? == direction {
            true => Side::Request,
            false => Side::Response,
        })
    }

    fn place(&self, direction: Direction, stream: u32, at: Timestamp) -> Option<Place> {
        Some(Place {
            stream,
            side: self.side(direction)?,
            direction,
            at,
        })
    }
}

#[cfg(test)]
mod tests;
