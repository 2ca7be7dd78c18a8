//! The search for a line that opens something.
//!
//! In: bytes where no message is open. Out: the first line of one, or of a chunk. Must
//! not know: what follows that line.

use memchr::memchr;

use super::chunked::Chunked;
use super::half::{Half, LONGEST_HEAD, Place, State};
use crate::http::detect::StartLine;
use crate::time::Timestamp;

/// Bytes of a line that tell whether it may open a message.
const LINE_START: usize = 32;

/// Bytes that most heads fit into.
const USUAL_HEAD: usize = 1 << 10;

/// A line that was looked for.
pub(super) enum Found {
    Message(StartLine, Place),
    /// A chunk of so many bytes.
    Chunk(usize),
}

impl Half {
    pub(super) fn find<'a>(
        &mut self,
        at: Timestamp,
        mut bytes: &'a [u8],
    ) -> Option<(Found, &'a [u8])> {
        while let Some((&first, rest)) = bytes.split_first() {
            let starts = matches!(self.state, State::Line(_)) && self.buffer.is_empty();
            if starts && matches!(first, b'\r' | b'\n') {
                // Empty lines before a message are to be ignored (RFC 9112, section 2.2).
                bytes = rest;
                continue;
            }
            let line = memchr(b'\n', bytes).map(|end| end.saturating_add(1));
            let (piece, rest) = bytes.split_at(line.unwrap_or(bytes.len()));
            bytes = rest;
            let State::Line(place) = self.state else {
                self.pass_line(piece, line.is_some());
                continue;
            };
            if starts {
                self.began = at;
            }
            if !self.hold(piece) {
                self.pass_buffer();
                self.pass_line(piece, line.is_some());
            } else if line.is_some() {
                if let Some(found) = self.line(place) {
                    return Some((found, bytes));
                }
                self.pass_buffer();
                self.state = State::Line(Place::Line);
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
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(USUAL_HEAD);
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
    fn line(&mut self, place: Place) -> Option<Found> {
        if let Some(line) = StartLine::parse(&self.buffer, place == Place::Hole) {
            self.state = State::Head;
            return Some(Found::Message(line, place));
        }
        if !self.open {
            return None;
        }
        let size = Chunked::size_line(&self.buffer)?;
        self.buffer.clear();
        Some(Found::Chunk(size))
    }

    /// Passes over a piece of a line, which may be its last.
    fn pass_line(&mut self, piece: &[u8], last: bool) {
        self.pass(piece.len());
        self.state = match last {
            true => State::Line(Place::Line),
            false => State::Skip,
        };
    }

    /// Counts bytes that were seen and belong to nothing.
    fn pass(&mut self, bytes: usize) {
        if let Some(passed) = &mut self.lost {
            *passed = passed.saturating_add(bytes as u64);
        }
    }

    pub(super) fn pass_buffer(&mut self) {
        self.pass(self.buffer.len());
        self.buffer.clear();
    }
}
