//! Live probes.
//!
//! In: [`Finding`](crate::discover::Finding)s. Out: [`Event`](crate::event::Event)s. Must
//! not know: HTTP; what a payload means.
//!
//! ```text
//! load (programs, maps) -> watch (processes) -> attach (a file once) -> links
//! spool (the ring) -> record (bytes to types) -> connections -> Event -> order (by time)
//! habits (who called, who is busy) -> idle (who is worth it) -> release -> reach (links)
//! ```
//!
//! Everything attached belongs to file descriptors of this process, so that nothing stays
//! behind however it ends.

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
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        reason = "a test may fail loudly"
    )
)]

mod aside;
mod attach;
mod bpf;
mod btf;
mod clock;
mod connections;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod go;
mod habits;
mod hooked;
mod idle;
mod links;
mod load;
mod multi;
mod order;
mod origin;
mod pending;
mod process;
mod reach;
mod record;
mod release;
mod sensor;
mod spool;
mod status;
mod tables;
mod tally;
mod teller;
mod trial;
mod watch;
mod witness;

pub use attach::Image;
pub use clock::{clock_offset, now};
pub use error::ProbeError;
pub use order::{HOLD, Order};
pub use sensor::Sensor;
pub use status::{Change, Covered, Loss, Released, Status};
pub use tally::{Judgement, Refutation};
pub use trial::Withdrawn;
pub use witness::Seen;

use std::path::PathBuf;
use std::time::Duration;

/// What to trace.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the ring for traffic; a power of two, at least 1 MiB.
    pub ring_bytes: u32,
    /// Most bytes of memory for what has been read from the ring and not been handed on; used
    /// in bursts, and given back.
    pub backlog_bytes: usize,
    /// Bytes of one direction that are delivered before the other one has its turn; beyond,
    /// only the end of each call is.
    pub turn_limit: u64,
    pub pids: Pids,
    /// Whether one link may hold many probes where the kernel can do that, so that they are
    /// gone sooner in the end.
    pub multi: bool,
    /// Where it is kept what was found in which file, so that the next start is quicker.
    pub findings: Option<PathBuf>,
    /// How often it is looked which files are still mapped: one that no process maps, twice in
    /// a row, loses its probes, which keep a deleted one on its disk.
    pub sweep_every: Duration,
    /// How long a busy process makes no call until its probes are taken away, for as long as it
    /// connects to nobody new; `None`: they never are.
    pub release_idle: Option<Duration>,
}

/// Which processes. This one is never traced.
#[derive(Clone, Debug, Default)]
pub enum Pids {
    #[default]
    Every,
    Except(Vec<u32>),
    Only(Vec<u32>),
}

/// Unless somebody says otherwise.
pub const RELEASE_IDLE: Duration = Duration::from_secs(60);

impl Pids {
    /// Whether a process is traced.
    fn want(&self, pid: u32) -> bool {
        pid != std::process::id()
            && match self {
                Self::Every => true,
                Self::Except(pids) => !pids.contains(&pid),
                Self::Only(pids) => pids.contains(&pid),
            }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_bytes: 64 << 20,
            backlog_bytes: backlog_bytes(),
            turn_limit: 16 << 20,
            pids: Pids::Every,
            multi: true,
            findings: None,
            sweep_every: Duration::from_secs(300),
            release_idle: Some(RELEASE_IDLE),
        }
    }
}

/// Half a gigabyte, which holds a burst of a quarter of a second, or on a small host a
/// sixteenth of its memory.
fn backlog_bytes() -> usize {
    let memory = rustix::system::sysinfo().totalram;
    usize::try_from(memory / 16).map_or(512 << 20, |part| part.min(512 << 20))
}
