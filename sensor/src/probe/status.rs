//! What a sensor tells of itself.

use std::sync::Arc;

use super::attach::Image;
use super::tally::Judgement;
use super::witness::Seen;
use crate::discover::process::FileFacts;

/// What is attached, and what was lost.
#[derive(Debug)]
pub struct Status {
    /// Files that hold TLS.
    pub images: Vec<Arc<Image>>,
    /// Connections followed at this moment.
    pub connections: usize,
    /// Bytes lost, as told by events.
    pub lost_bytes: u64,
    /// Whether sockets and new files can be followed, which needs the kernel's types.
    pub sockets: bool,
    /// Whether this kernel has probes for single processes.
    pub by_process: bool,
    pub loss: Loss,
    pub released: Released,
}

/// Processes whose probes were taken away because they made no calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    pub now: usize,
    /// How often that was done.
    pub ever: u64,
    /// How often a process got them back.
    pub taken_back: u64,
}

/// What became of a process that made no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Released(u32),
    TakenBack(u32),
}

/// Why something was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Payloads of finished connections that found no room in the ring: it is too small, or
    /// its reader too slow.
    pub refused: u64,
    /// Payloads of finished connections in memory that could not be read.
    pub unreadable: u64,
    /// Calls and connections not followed, because there were too many at once.
    pub untracked: u64,
    /// News of processes that found no room; all processes were looked at again instead.
    pub processes: u64,
}

/// A file of a process that holds TLS, or could not be looked at.
#[derive(Debug)]
pub struct Covered {
    pub facts: FileFacts,
    /// What is attached to it; `None`: it was not looked at for probes yet.
    pub image: Option<Arc<Image>>,
    pub seen: Seen,
    /// Whether the process was released: its probes are not in it, until it connects to
    /// somebody new.
    pub is_released: bool,
}

impl Covered {
    pub fn judgement(&self) -> Judgement {
        let image = self.image.as_ref();
        image.map_or(Judgement::Open, |image| image.tally.judgement())
    }
}
