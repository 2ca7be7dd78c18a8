//! JSON-RPC as programs exchange it over pipes: a message a line, in both directions, joined
//! at any point, with holes.
//!
//! In: [`Segment`]s of both directions. Out: lines, and what is missing between them. Must
//! not know: process, methods, what a message says.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "a test may fail loudly"
    )
)]

use memchr::memchr;

use crate::event::{Direction, Missing};
use crate::stream::Segment;
use crate::time::Timestamp;

#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
mod tests;

/// What was heard of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A whole line that is not blank, without its end.
    Line {
        /// When its first byte crossed.
        began: Timestamp,
        bytes: &'a [u8],
    },
    /// Bytes that are missing, or that belong to a line too long to be kept.
    Missing(Missing),
}

/// Whether a stream that begins so may be one of messages: an object of JSON, or a list.
pub fn may_begin(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Both directions of a connection.
#[derive(Debug)]
pub struct Connection {
    write: Half,
    read: Half,
    /// Bytes of a line at most.
    limit: usize,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    /// The start of a line whose end has not come.
    line: Vec<u8>,
    began: Timestamp,
    /// The rest of this line is passed over.
    skip: Option<Skip>,
}

#[derive(Clone, Copy, Debug)]
enum Skip {
    /// It has a hole.
    Holed,
    /// It is too long: its bytes count as missing.
    Oversized,
}

impl Connection {
    pub fn new(limit: usize) -> Self {
        Self {
            write: Half::default(),
            read: Half::default(),
            limit,
        }
    }

    /// Takes the next bytes, or the next hole, of one direction.
    pub fn feed(
        &mut self,
        direction: Direction,
        at: Timestamp,
        segment: Segment<'_>,
        out: &mut dyn FnMut(Heard<'_>),
    ) {
        let half = match direction {
            Direction::Write => &mut self.write,
            Direction::Read => &mut self.read,
        };
        match segment {
            Segment::Data(bytes) => half.data(at, bytes, self.limit, out),
            Segment::Gap(missing) => {
                half.line = Vec::new();
                half.skip = Some(Skip::Holed);
                out(Heard::Missing(missing));
            }
        }
    }

    /// Bytes of lines that have not ended.
    pub fn held_bytes(&self) -> usize {
        let held = [&self.write, &self.read].map(|half| half.line.capacity());
        held.iter().fold(0, |sum, held| sum.saturating_add(*held))
    }
}

impl Half {
    fn data(
        &mut self,
        at: Timestamp,
        mut bytes: &[u8],
        limit: usize,
        out: &mut dyn FnMut(Heard<'_>),
    ) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            match self.admits(line, limit, out) {
                true if self.line.is_empty() => emit(at, line, out),
                true => {
                    self.line.extend_from_slice(line);
                    emit(self.began, &self.line, out);
                }
                false => {}
            }
            self.line.clear();
            self.skip = None;
            bytes = rest.get(1..).unwrap_or_default();
        }
        if !bytes.is_empty() && self.admits(bytes, limit, out) {
            if self.line.is_empty() {
                self.began = at;
            }
            self.line.extend_from_slice(bytes);
        } else if self.line.is_empty() {
            // One long message is no reason to keep room for the next.
            self.line = Vec::new();
        }
    }

    /// Whether `piece` goes with the line; if not, the rest of the line is passed over.
    fn admits(&mut self, piece: &[u8], limit: usize, out: &mut dyn FnMut(Heard<'_>)) -> bool {
        let length = self.line.len().saturating_add(piece.len());
        if self.skip.is_none() && length > limit {
            self.line = Vec::new();
            self.skip = Some(Skip::Oversized);
            oversized(length, out);
        } else if let Some(Skip::Oversized) = self.skip {
            oversized(piece.len(), out);
        }
        self.skip.is_none()
    }
}

fn oversized(length: usize, out: &mut dyn FnMut(Heard<'_>)) {
    let cut = u64::try_from(length).unwrap_or(u64::MAX);
    if cut > 0 {
        out(Heard::Missing(Missing { lost: 0, cut }));
    }
}

fn emit(began: Timestamp, line: &[u8], out: &mut dyn FnMut(Heard<'_>)) {
    let bytes = line.trim_ascii();
    if !bytes.is_empty() {
        out(Heard::Line { began, bytes });
    }
}
