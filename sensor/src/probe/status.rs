//! What a sensor tells of itself.

use std::sync::Arc;

use super::attach::Image;

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
    pub loss: Loss,
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
