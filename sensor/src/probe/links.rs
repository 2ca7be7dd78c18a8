//! What holds probes in place.
//!
//! In: links that the kernel made. Out: their end. Must not know: programs, files.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use aya::programs::uprobe::UProbeLink;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Links that are ended at once; each waits for a thread of its own.
const THREADS: usize = 256;
/// Bytes; they do nothing but wait.
const STACK: usize = 64 << 10;

/// Probes in place until it is dropped, which takes as long as the kernel waits for those
/// who may be in them.
#[derive(Debug)]
pub enum Link {
    /// At one place, by way of a perf event.
    ///
    /// Its end costs several grace periods, which the kernel waits for with a lock of all
    /// events, so that two links can't wait at once. Only events with a name in tracefs can
    /// have several places, and a name would stay if this process were killed.
    One(#[expect(dead_code, reason = "it is held")] UProbeLink),
    /// At so many places. Its end costs one grace period.
    Many(#[expect(dead_code, reason = "it is held")] OwnedFd, usize),
}

impl Link {
    /// How many probes.
    pub fn sites(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(_, sites) => *sites,
        }
    }
}

/// Ends links, in about the time that the longest takes where that is possible.
pub fn end(links: impl IntoIterator<Item = Link>) {
    let (mut many, one): (Vec<_>, Vec<_>) = links
        .into_iter()
        .partition(|link| matches!(link, Link::Many(..)));
    let share = many.len().div_ceil(THREADS);
    thread::scope(|scope| {
        while !many.is_empty() {
            let share = many.split_off(many.len().saturating_sub(share));
            // Where there can be no thread, its share has just been dropped here.
            let _ = thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, || drop(share));
        }
        drop(one);
    });
}

/// Ends links while others go on with what is more urgent: it takes time. Where no thread is
/// to be had they end here, as what was to run is dropped.
pub fn end_aside(links: Vec<Link>) {
    if !links.is_empty() {
        let thread = thread::Builder::new().name("llmtap-detach".into());
        let _ = thread.spawn(move || end(links));
    }
}

/// Lets this process have as many descriptors as it may: each link is one.
pub fn allow_many() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}
