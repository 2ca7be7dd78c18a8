//! One direction of an HTTP/1 connection, cut into messages.
//!
//! In: segments. Out: calls of [`Messages`]. Must not know: the other direction, what a
//! head says.
//!
//! Where framing was lost, lines are looked at until one opens a message (or the next
//! chunk of the body that is open), see [`scan`](super::scan). Nothing else is buffered
//! than such a line and the head after it.

use memchr::memchr;

use super::chunked::{Chunked, Piece};
use super::messages::{Framing, Messages, RawHead};
use super::scan::Found;
use crate::event::Missing;
use crate::http::End;
use crate::http::detect::StartLine;
use crate::stream::Segment;
use crate::time::Timestamp;

/// The longest head that is read.
pub(super) const LONGEST_HEAD: usize = 64 << 10;
/// What a connection keeps of its buffer between two heads.
const IDLE_BUFFER: usize = 4 << 10;

/// Why a half does not go on; what is left of the segment.
#[derive(Debug)]
pub(super) enum Stop<'a> {
    /// The line that opened this turn belongs to the other side.
    Reversed(&'a [u8]),
    Handover(&'a [u8]),
}

#[derive(Debug, Default)]
pub(in crate::http) struct Half {
    pub(super) state: State,
    /// A line that may open a message, then the head; later the trailers.
    pub(super) buffer: Vec<u8>,
    /// When its first byte crossed.
    pub(super) began: Timestamp,
    /// Set while framing is lost: bytes that were passed over since.
    pub(super) lost: Option<u64>,
    /// A chunked body was open when framing was lost.
    pub(super) open: bool,
    /// Heads that could not be read.
    pub(super) refused_heads: u64,
    /// Times that framing was lost.
    pub(super) lost_framing: u64,
}

#[derive(Debug)]
pub(super) enum State {
    /// Where a line starts.
    Line(Place),
    /// Amid a line that opens nothing.
    Skip,
    Head,
    Fixed(u64),
    Chunked(Chunked),
    /// In what may be a chunk of so many bytes, found after a hole.
    Trial(usize),
    UntilClose,
}

/// What makes a place the start of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// This direction begins its turn here.
    Turn,
    /// A message or a line ends here.
    Line,
    /// A hole ends here, so that the start of the line may be missing.
    Hole,
}

impl Default for State {
    fn default() -> Self {
        Self::Line(Place::Turn)
    }
}

impl Half {
    /// The other direction had its turn, and now this one begins.
    pub fn turn(&mut self) {
        match self.state {
            State::Line(_) if !self.buffer.is_empty() => {}
            State::Line(_) | State::Skip => self.state = State::default(),
            _ => {}
        }
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Forgets what it is in, and looks for a message from here on.
    pub fn rescan(&mut self) {
        self.buffer.clear();
        self.open = false;
        self.lost = Some(0);
        self.state = State::Line(Place::Hole);
    }

    /// Looks for a message of either kind; gives what follows its first line.
    pub fn scan<'a>(&mut self, at: Timestamp, bytes: &'a [u8]) -> Option<(StartLine, &'a [u8])> {
        match self.find(at, bytes)? {
            (Found::Message(line, _), rest) => Some((line, rest)),
            (Found::Chunk(_), _) => None,
        }
    }

    /// Whether framing is lost amid a message, so that only the next one mends it.
    pub fn is_astray(&self) -> bool {
        match self.state {
            State::Line(_) | State::Skip | State::Trial(_) => {
                self.open || self.lost.is_some_and(|n| n > 0)
            }
            State::Chunked(_) => self.lost.is_some(),
            State::Head | State::Fixed(_) | State::UntilClose => false,
        }
    }

    pub fn is_until_close(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// What is buffered, and when that began.
    pub fn into_held(self) -> (Timestamp, Vec<u8>) {
        (self.began, self.buffer)
    }

    pub(super) fn feed<'a, M: Messages>(
        &mut self,
        at: Timestamp,
        segment: Segment<'a>,
        messages: &mut M,
    ) -> Option<Stop<'a>> {
        let mut rest = match segment {
            Segment::Data(bytes) => bytes,
            Segment::Gap(missing) => {
                self.gap(at, missing, messages);
                return None;
            }
        };
        while !rest.is_empty() {
            rest = match self.state {
                State::Line(_) | State::Skip => {
                    let (found, rest) = self.find(at, rest)?;
                    match self.open(at, found, messages) {
                        true => rest,
                        false => return Some(Stop::Reversed(rest)),
                    }
                }
                State::Head => match self.head(at, rest, messages) {
                    (rest, Some(Framing::Handover)) => return Some(Stop::Handover(rest)),
                    (rest, _) => rest,
                },
                State::Fixed(left) => self.fixed(at, left, rest, messages),
                State::Chunked(chunked) => self.chunked(at, chunked, rest, messages),
                State::Trial(size) => self.trial(at, size, rest, messages),
                State::UntilClose => {
                    messages.body(at, Segment::Data(rest));
                    return None;
                }
            };
        }
        None
    }

    /// Begins what was found; `false` where it shows that the sides are reversed.
    fn open<M: Messages>(&mut self, at: Timestamp, found: Found, messages: &mut M) -> bool {
        match found {
            Found::Message(line, Place::Turn) if line != M::OPENS => return false,
            Found::Message(line, _) if line != M::OPENS => {
                self.pass_buffer();
                self.state = State::Line(Place::Line);
            }
            Found::Message(..) => {
                if std::mem::take(&mut self.open) {
                    messages.end(at, End::Lost);
                }
            }
            Found::Chunk(size) => self.state = State::Trial(size),
        }
        true
    }

    /// Nothing more comes; `ended`: because the connection was closed.
    pub(super) fn close<M: Messages>(&mut self, at: Timestamp, ended: bool, messages: &mut M) {
        let end = match self.state {
            _ if self.open => End::Lost,
            State::UntilClose if ended => End::Complete,
            State::Fixed(_) | State::Chunked(_) | State::UntilClose => End::Unfinished,
            State::Line(_) | State::Skip | State::Head | State::Trial(_) => return,
        };
        messages.end(at, end);
        *self = Self::default();
    }

    /// Goes on with a head; gives its framing if it ends here.
    fn head<'a, M: Messages>(
        &mut self,
        at: Timestamp,
        bytes: &'a [u8],
        messages: &mut M,
    ) -> (&'a [u8], Option<Framing>) {
        let line = memchr(b'\n', bytes).map(|end| end.saturating_add(1));
        let (piece, rest) = bytes.split_at(line.unwrap_or(bytes.len()));
        if self.buffer.len().saturating_add(piece.len()) > LONGEST_HEAD {
            messages.broken(&self.buffer);
            self.refuse_head();
            self.pass_buffer();
            self.state = State::Skip;
            return (bytes, None);
        }
        self.buffer.extend_from_slice(piece);
        if !(self.buffer.ends_with(b"\n\r\n") || self.buffer.ends_with(b"\n\n")) {
            return (rest, None);
        }
        (rest, self.head_end(at, messages))
    }

    /// Gives the buffered head to `messages`, which know what follows it.
    fn head_end<M: Messages>(&mut self, at: Timestamp, messages: &mut M) -> Option<Framing> {
        let framing = messages.head(RawHead {
            began: self.began,
            at,
            bytes: &mut self.buffer,
            resynced: self.lost.is_some(),
        });
        match framing {
            Some(_) => self.lost = None,
            None => {
                self.refuse_head();
                self.pass_buffer();
            }
        }
        self.buffer.clear();
        self.buffer.shrink_to(IDLE_BUFFER);
        self.state = match framing {
            Some(Framing::Fixed(left)) if left > 0 => State::Fixed(left),
            Some(Framing::Chunked) => State::Chunked(Chunked::new()),
            Some(Framing::UntilClose) => State::UntilClose,
            _ => State::Line(Place::Line),
        };
        match framing {
            Some(Framing::Fixed(0)) => messages.end(at, End::Complete),
            Some(Framing::Unknown) => {
                messages.end(at, End::Lost);
                self.lose();
            }
            _ => {}
        }
        framing
    }

    fn fixed<'a, M: Messages>(
        &mut self,
        at: Timestamp,
        left: u64,
        bytes: &'a [u8],
        messages: &mut M,
    ) -> &'a [u8] {
        let here = usize::try_from(left).map_or(bytes.len(), |n| n.min(bytes.len()));
        let (body, rest) = bytes.split_at(here);
        messages.body(at, Segment::Data(body));
        self.fixed_left(at, left.saturating_sub(here as u64), messages);
        rest
    }

    fn fixed_left<M: Messages>(&mut self, at: Timestamp, left: u64, messages: &mut M) {
        self.state = State::Fixed(left);
        if left == 0 {
            self.state = State::Line(Place::Line);
            messages.end(at, End::Complete);
        }
    }

    fn chunked<'a, M: Messages>(
        &mut self,
        at: Timestamp,
        mut chunked: Chunked,
        bytes: &'a [u8],
        messages: &mut M,
    ) -> &'a [u8] {
        let (piece, rest) = chunked.step(bytes);
        self.state = State::Chunked(chunked);
        match piece {
            Piece::Data(data) => messages.body(at, Segment::Data(data)),
            Piece::More => {}
            Piece::Trailers(piece) => self.buffer.extend_from_slice(piece),
            Piece::End(last) => {
                self.buffer.extend_from_slice(last);
                messages.trailers(at, &mut self.buffer);
                self.buffer.clear();
                self.buffer.shrink_to(IDLE_BUFFER);
                self.state = State::Line(Place::Line);
                messages.end(at, End::Complete);
            }
            Piece::Broken => {
                self.buffer.clear();
                self.state = State::Skip;
                // A chunk that was found after a hole was none; one may still come.
                self.open = self.lost.is_some();
                if !self.open {
                    messages.end(at, End::Lost);
                }
                self.lose();
            }
        }
        rest
    }

    /// Holds what may be a chunk until its end shows that it is one; then the open body
    /// goes on with it.
    fn trial<'a, M: Messages>(
        &mut self,
        at: Timestamp,
        size: usize,
        bytes: &'a [u8],
        messages: &mut M,
    ) -> &'a [u8] {
        let need = size.saturating_add(2).saturating_sub(self.buffer.len());
        let (piece, rest) = bytes.split_at(need.min(bytes.len()));
        self.buffer.extend_from_slice(piece);
        if piece.len() < need {
            return rest;
        }
        let Some(data) = self.buffer.strip_suffix(b"\r\n") else {
            self.pass_buffer();
            self.state = State::Skip;
            return rest;
        };
        let lost = self.lost.replace(0).unwrap_or(0);
        if lost > 0 {
            messages.body(at, Segment::Gap(Missing { lost, cut: 0 }));
        }
        if data.is_empty() {
            self.state = State::Line(Place::Line);
            messages.end(at, End::Complete);
        } else {
            messages.body(at, Segment::Data(data));
            self.state = State::Chunked(Chunked::new());
        }
        self.open = false;
        self.buffer.clear();
        self.buffer.shrink_to(IDLE_BUFFER);
        rest
    }

    fn gap<M: Messages>(&mut self, at: Timestamp, missing: Missing, messages: &mut M) {
        let total = missing.total();
        if total == 0 {
            return;
        }
        match &mut self.state {
            State::Fixed(left) if total <= *left => {
                let left = left.saturating_sub(total);
                messages.body(at, Segment::Gap(missing));
                return self.fixed_left(at, left, messages);
            }
            State::Fixed(left) => {
                let (inside, outside) = split(missing, *left);
                messages.body(at, Segment::Gap(inside));
                messages.end(at, End::Complete);
                messages.lost(at, outside);
            }
            State::UntilClose => return messages.body(at, Segment::Gap(missing)),
            State::Chunked(chunked) => {
                messages.body(at, Segment::Gap(missing));
                if chunked.pass(total) {
                    return;
                }
                self.buffer.clear();
                self.open = true;
            }
            State::Line(_) | State::Skip | State::Trial(_) if self.open => {
                messages.body(at, Segment::Gap(missing));
            }
            State::Line(_) | State::Skip | State::Trial(_) | State::Head => {
                if !self.buffer.is_empty() {
                    messages.broken(&self.buffer);
                }
                messages.lost(at, missing);
            }
        }
        messages.lost_framing();
        self.lose();
        self.pass_buffer();
        self.state = State::Line(Place::Hole);
    }

    fn refuse_head(&mut self) {
        self.refused_heads = self.refused_heads.saturating_add(1);
        self.lose();
    }

    fn lose(&mut self) {
        if self.lost.is_none() {
            self.lost = Some(0);
            self.lost_framing = self.lost_framing.saturating_add(1);
        }
    }
}

/// The first `at` bytes of a hole, and the others.
fn split(missing: Missing, at: u64) -> (Missing, Missing) {
    let lost = missing.lost.min(at);
    let cut = missing.cut.min(at.saturating_sub(lost));
    let inside = Missing { lost, cut };
    let outside = Missing {
        lost: missing.lost.saturating_sub(lost),
        cut: missing.cut.saturating_sub(cut),
    };
    (inside, outside)
}
