//! One direction of an HTTP/1 connection, cut into messages.
//!
//! In: segments. Out: calls of [`Messages`]. Must not know: the other direction, what a
//! head says.
//!
//! Where framing was lost, lines are looked at until one opens a message (or the next
//! chunk of the body that is open). Nothing else is buffered than such a line and the
//! head after it.

use memchr::memchr;

use super::chunked::{Chunked, Piece};
use crate::event::Missing;
use crate::http::End;
use crate::http::detect::StartLine;
use crate::stream::Segment;
use crate::time::Timestamp;

/// The longest head that is read.
pub(super) const LONGEST_HEAD: usize = 64 << 10;
/// Bytes of a line that tell whether it may open a message.
const LINE_START: usize = 32;
/// What a connection keeps of its buffer between two heads.
const IDLE_BUFFER: usize = 4 << 10;

/// Takes the messages of one direction.
pub(super) trait Messages {
    /// Which line opens a message here.
    const OPENS: StartLine;

    /// A whole head, line ends included; `None` where it is none after all.
    fn head(&mut self, head: RawHead<'_>) -> Option<Framing>;
    fn body(&mut self, at: Timestamp, segment: Segment<'_>);
    fn end(&mut self, at: Timestamp, end: End);
    /// A hole outside of any body; messages may have been in it.
    fn lost(&mut self, at: Timestamp, missing: Missing);
    /// A hole cut a head that began so.
    fn broken(&mut self, start: &[u8]);
}

#[derive(Debug)]
pub(super) struct RawHead<'a> {
    pub began: Timestamp,
    pub at: Timestamp,
    pub bytes: &'a mut [u8],
    /// Framing was lost since the message before, so that others may be missing between.
    pub resynced: bool,
}

/// What follows a head (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// An interim response: the head is all, and not the end.
    Interim,
    Fixed(u64),
    Chunked,
    UntilClose,
    /// Contradictory: where the body ends cannot be told.
    Unknown,
    /// Another protocol.
    Handover,
}

/// Why a half does not go on; what is left of the segment.
#[derive(Debug)]
pub(super) enum Stop<'a> {
    /// The line that opened this turn belongs to the other side.
    Reversed(&'a [u8]),
    Handover(&'a [u8]),
}

#[derive(Debug, Default)]
pub(in crate::http) struct Half {
    state: State,
    /// A line that may open a message, then the head.
    buffer: Vec<u8>,
    /// When its first byte crossed.
    began: Timestamp,
    /// Set while framing is lost: bytes that were passed over since.
    lost: Option<u64>,
    /// A chunked body was open when framing was lost.
    open: bool,
}

#[derive(Debug)]
enum State {
    /// At the start of a line; `anchored`: which is the start of a turn, too.
    Line {
        anchored: bool,
    },
    /// Amid a line that opens nothing.
    Skip,
    Head,
    Fixed(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Default for State {
    fn default() -> Self {
        Self::Line { anchored: true }
    }
}

/// A line that was looked for.
enum Found {
    Message(StartLine, bool),
    Chunk(u64),
}

impl Half {
    /// The other direction had its turn, and now this one begins.
    pub fn turn(&mut self) {
        match self.state {
            State::Line { .. } if !self.buffer.is_empty() => {}
            State::Line { .. } | State::Skip => self.state = State::default(),
            _ => {}
        }
    }

    /// Forgets what it is in, and looks for a message from here on.
    pub fn rescan(&mut self) {
        self.buffer.clear();
        self.open = false;
        self.lost = Some(0);
        self.state = State::Line { anchored: false };
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
            State::Line { .. } | State::Skip => self.open || self.lost.is_some_and(|n| n > 0),
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
                State::Line { .. } | State::Skip => match self.find(at, rest)? {
                    (Found::Message(line, anchored), rest) if line != M::OPENS => {
                        if anchored {
                            return Some(Stop::Reversed(rest));
                        }
                        self.pass_buffer();
                        self.state = State::Line { anchored: false };
                        rest
                    }
                    (Found::Message(..), rest) => {
                        if std::mem::take(&mut self.open) {
                            messages.end(at, End::Lost);
                        }
                        rest
                    }
                    (Found::Chunk(size), rest) => {
                        self.resume(at, size, messages);
                        rest
                    }
                },
                State::Head => match self.head(at, rest, messages) {
                    (rest, Some(Framing::Handover)) => return Some(Stop::Handover(rest)),
                    (rest, _) => rest,
                },
                State::Fixed(left) => self.fixed(at, left, rest, messages),
                State::Chunked(chunked) => self.chunked(at, chunked, rest, messages),
                State::UntilClose => {
                    messages.body(at, Segment::Data(rest));
                    return None;
                }
            };
        }
        None
    }

    /// Nothing more comes; `ended`: because the connection was closed.
    pub(super) fn close<M: Messages>(&mut self, at: Timestamp, ended: bool, messages: &mut M) {
        let end = match self.state {
            _ if self.open => End::Lost,
            State::UntilClose if ended => End::Complete,
            State::Fixed(_) | State::Chunked(_) | State::UntilClose => End::Unfinished,
            State::Line { .. } | State::Skip | State::Head => return,
        };
        messages.end(at, end);
        *self = Self::default();
    }

    fn find<'a>(&mut self, at: Timestamp, mut bytes: &'a [u8]) -> Option<(Found, &'a [u8])> {
        while let Some(&first) = bytes.first() {
            let line = memchr(b'\n', bytes).map(|end| end.saturating_add(1));
            let (piece, rest) = bytes.split_at(line.unwrap_or(bytes.len()));
            let State::Line { anchored } = self.state else {
                self.pass(piece.len());
                if line.is_some() {
                    self.state = State::Line { anchored: false };
                }
                bytes = rest;
                continue;
            };
            if self.buffer.is_empty() {
                self.began = at;
                if matches!(first, b'\r' | b'\n') {
                    // Empty lines before a message are to be ignored (RFC 9112, section 2.2).
                    bytes = bytes.get(1..).unwrap_or_default();
                    continue;
                }
            }
            bytes = rest;
            if !self.hold(piece) {
                self.pass_buffer();
                self.pass(piece.len());
                self.state = match line {
                    Some(_) => State::Line { anchored: false },
                    None => State::Skip,
                };
            } else if line.is_some() {
                if let Some(found) = self.line(anchored) {
                    return Some((found, bytes));
                }
                self.pass_buffer();
                self.state = State::Line { anchored: false };
            }
        }
        None
    }

    /// Buffers a piece of a line, unless that cannot open anything.
    fn hold(&mut self, piece: &[u8]) -> bool {
        let before = self.buffer.len();
        if before.saturating_add(piece.len()) > LONGEST_HEAD {
            return false;
        }
        let (start, rest) = piece.split_at(piece.len().min(LINE_START.saturating_sub(before)));
        self.buffer.extend_from_slice(start);
        if StartLine::may_begin(&self.buffer) || (self.open && Chunked::may_begin(&self.buffer)) {
            self.buffer.extend_from_slice(rest);
            return true;
        }
        self.buffer.truncate(before);
        false
    }

    /// What the buffered line opens.
    fn line(&mut self, anchored: bool) -> Option<Found> {
        if let Some(line) = StartLine::parse(&self.buffer) {
            self.state = State::Head;
            return Some(Found::Message(line, anchored));
        }
        if !self.open {
            return None;
        }
        Chunked::size_line(&self.buffer).map(Found::Chunk)
    }

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
            self.pass_buffer();
            self.lost.get_or_insert(0);
            self.state = State::Skip;
            return (bytes, None);
        }
        self.buffer.extend_from_slice(piece);
        if !(self.buffer.ends_with(b"\n\r\n") || self.buffer.ends_with(b"\n\n")) {
            return (rest, None);
        }
        let framing = messages.head(RawHead {
            began: self.began,
            at,
            bytes: &mut self.buffer,
            resynced: self.lost.is_some(),
        });
        self.lost = match framing {
            Some(_) => None,
            None => Some(self.buffer.len() as u64),
        };
        self.buffer.clear();
        self.buffer.shrink_to(IDLE_BUFFER);
        self.state = match framing {
            Some(Framing::Fixed(left)) if left > 0 => State::Fixed(left),
            Some(Framing::Chunked) => State::Chunked(Chunked::new()),
            Some(Framing::UntilClose) => State::UntilClose,
            _ => State::Line { anchored: false },
        };
        match framing {
            Some(Framing::Fixed(0)) => messages.end(at, End::Complete),
            Some(Framing::Unknown) => {
                messages.end(at, End::Lost);
                self.lost = Some(0);
            }
            _ => {}
        }
        (rest, framing)
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
            self.state = State::Line { anchored: false };
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
            Piece::End => {
                self.state = State::Line { anchored: false };
                messages.end(at, End::Complete);
            }
            Piece::Broken => {
                self.state = State::Skip;
                // A chunk that was found after a hole was none; one may still come.
                self.open = self.lost.is_some();
                if !self.open {
                    messages.end(at, End::Lost);
                }
                self.lost.get_or_insert(0);
            }
        }
        rest
    }

    /// Goes on with an open body at a chunk that was found after a hole.
    fn resume<M: Messages>(&mut self, at: Timestamp, size: u64, messages: &mut M) {
        let passed = self.lost.unwrap_or(0);
        if passed > 0 {
            let missing = Missing {
                lost: passed,
                cut: 0,
            };
            messages.body(at, Segment::Gap(missing));
        }
        self.lost = Some(0);
        self.open = false;
        self.buffer.clear();
        self.state = State::Chunked(Chunked::at_data(size));
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
                self.open = true;
            }
            State::Head => {
                messages.broken(&self.buffer);
                messages.lost(at, missing);
            }
            State::Line { .. } | State::Skip if self.open => {
                messages.body(at, Segment::Gap(missing));
            }
            State::Line { .. } | State::Skip => messages.lost(at, missing),
        }
        self.lost.get_or_insert(0);
        self.pass_buffer();
        self.state = State::Line { anchored: false };
    }

    /// Counts bytes that were seen and belong to nothing.
    fn pass(&mut self, bytes: usize) {
        if let Some(passed) = &mut self.lost {
            *passed = passed.saturating_add(bytes as u64);
        }
    }

    fn pass_buffer(&mut self) {
        self.pass(self.buffer.len());
        self.buffer.clear();
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
