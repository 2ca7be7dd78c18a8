//! A spool in memory.

use std::collections::VecDeque;
use std::io;

use super::{Batch, Depth, Position, Spool};

/// Ends with the process.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    messages: VecDeque<Box<[u8]>>,
    /// How many messages are before the first of `messages`.
    gone: u64,
    bytes: u64,
    dropped: u64,
}

impl Memory {
    /// `limit`: bytes that may wait.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            messages: VecDeque::new(),
            gone: 0,
            bytes: 0,
            dropped: 0,
        }
    }

    fn pop(&mut self) -> bool {
        let Some(message) = self.messages.pop_front() else {
            return false;
        };
        self.bytes -= message.len() as u64;
        self.gone += 1;
        true
    }
}

impl Spool for Memory {
    fn append(&mut self, message: &[u8]) -> io::Result<()> {
        self.bytes += message.len() as u64;
        self.messages.push_back(message.into());
        while self.bytes > self.limit && self.pop() {
            self.dropped += 1;
        }
        Ok(())
    }

    fn peek(&mut self, max_bytes: usize, max_messages: usize) -> io::Result<Option<Batch>> {
        let mut bytes = Vec::new();
        let mut count = 0;
        for message in self.messages.iter().take(max_messages.max(1)) {
            if count > 0 && bytes.len() + message.len() > max_bytes {
                break;
            }
            bytes.extend_from_slice(message);
            count += 1;
        }
        let end = Position {
            segment: 0,
            offset: self.gone + count,
        };
        Ok((count > 0).then_some(Batch {
            bytes,
            messages: count,
            end,
        }))
    }

    fn acknowledge(&mut self, end: Position) -> io::Result<()> {
        while self.gone < end.offset && self.pop() {}
        Ok(())
    }

    fn depth(&self) -> Depth {
        Depth {
            messages: self.messages.len() as u64,
            bytes: self.bytes,
            dropped: self.dropped,
        }
    }
}
