//! The state of one direction of a connection.
//!
//! In: parts of header blocks. Out: decoded [`Block`]s. Must not know: streams, the
//! other direction.

use super::block::Block;
use super::frame::Reader;
use super::header::{Header, Kind};
use super::hpack::Decoder;
use crate::time::Timestamp;

/// Octets of a header block that are decoded; senders keep far below.
pub const LONGEST_BLOCK: usize = 256 * 1024;

/// One direction of a connection.
#[derive(Debug)]
pub struct Half {
    pub reader: Reader,
    pub decoder: Decoder,
    /// When the first octet of the present frame crossed.
    pub began: Timestamp,
    /// The header block that is being gathered.
    pub opening: Option<Opening>,
    block: Vec<u8>,
    /// While the reader is lost: what may begin a frame, and how much was skipped.
    pub held: Vec<u8>,
    pub skipped: u64,
}

/// How a header block began.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    pub header: Header,
    pub began: Timestamp,
    /// What follows in the block is missing or too much.
    pub cut: bool,
}

impl Half {
    pub const fn new() -> Self {
        Self {
            reader: Reader::new(),
            decoder: Decoder::new(),
            began: Timestamp::from_nanos(0),
            opening: None,
            block: Vec::new(),
            held: Vec::new(),
            skipped: 0,
        }
    }

    /// The block that the present frame belongs to; `None` where its start is unknown.
    pub fn opening(&mut self) -> Option<&mut Opening> {
        let header = self.reader.header();
        if self.opening.is_none() && header.kind == Kind::Continuation {
            // It may insert what we can't decode.
            self.decoder.forget();
            return None;
        }
        Some(self.opening.get_or_insert(Opening {
            header,
            began: self.began,
            cut: false,
        }))
    }

    /// Adds part of a header block.
    pub fn gather(&mut self, octets: &[u8]) {
        let room = LONGEST_BLOCK.saturating_sub(self.block.len());
        let Some(opening) = self.opening() else {
            return;
        };
        opening.cut |= octets.len() > room;
        if !opening.cut {
            self.block.extend_from_slice(octets);
        }
    }

    /// Decodes the block that was gathered, as far as it came.
    pub fn take_block(&mut self) -> Option<(Opening, Block)> {
        let opening = self.opening.take()?;
        let block = Block::decode(&mut self.decoder, &self.block, opening.cut);
        self.block.clear();
        self.block.shrink_to(4096);
        Some((opening, block))
    }
    /// Bytes held for the sake of later traffic.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.block.capacity() + self.held.capacity() + self.decoder.held_bytes()
    }
}
