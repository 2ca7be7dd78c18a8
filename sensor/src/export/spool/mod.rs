//! What waits to be sent, in the order it came.
//!
//! In: encoded messages. Out: batches of them, again and again until each is
//! acknowledged. Must not know: what they say, where they go.
//!
//! On disk ([`Disk`]) what was appended survives the end of this process, however it
//! ends; a crash of the machine may take the last seconds. In memory ([`Memory`]) it is
//! for hosts without a place to write. Both have a limit: beyond it the oldest goes,
//! and is counted.

use std::io;

mod disk;
mod memory;

pub use disk::Disk;
pub use memory::Memory;

/// A queue of messages that remembers what was not acknowledged.
pub trait Spool: Send {
    /// Adds a message. Where it fails the message is counted as dropped.
    fn append(&mut self, message: &[u8]) -> io::Result<()>;

    /// The oldest messages that are not acknowledged, at most `max_bytes` and
    /// `max_messages` but at least one; `None` where there is none. The same again until
    /// they are acknowledged or dropped.
    fn peek(&mut self, max_bytes: usize, max_messages: usize) -> io::Result<Option<Batch>>;

    /// The messages up to the end of a batch need not be kept.
    fn acknowledge(&mut self, end: Position) -> io::Result<()>;

    fn depth(&self) -> Depth;
}

/// Messages, one after the other in `bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub messages: u64,
    pub end: Position,
}

/// A place between two messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    segment: u64,
    offset: u64,
}

/// How much waits, and what was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub messages: u64,
    pub bytes: u64,
    /// Messages that went to keep the limit or could not be kept; one that was being
    /// sent at that time may have arrived all the same.
    pub dropped: u64,
}

impl Depth {
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            bytes: self.bytes.saturating_add(other.bytes),
            dropped: self.dropped.saturating_add(other.dropped),
        }
    }
}
