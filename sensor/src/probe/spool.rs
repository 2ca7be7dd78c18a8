//! Takes records off the ring as fast as they come, into memory that is given back.
//!
//! In: the ring for traffic. Out: its records, in order. Must not know: what they say, but
//! for their length.
//!
//! Whoever makes calls of the records is slower than a program that floods a connection,
//! and a ring for such a flood would have to be there all the time. So a thread does
//! nothing but copy.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::record;

/// How long records may lie in the ring, if nothing wakes its reader earlier.
const LATENCY: Duration = Duration::from_millis(10);
/// While nothing more can be taken.
const PAUSE: Duration = Duration::from_millis(1);
/// Bytes that are handed over at once.
const CHUNK: usize = 1 << 20;
/// Empty chunks that are kept for the next burst.
const SPARE: usize = 16;
/// Those who use the records can wait, the ring can't.
const NICE: i32 = -10;

/// Records one behind another, each after its length in four bytes.
type Chunk = Vec<u8>;

#[derive(Debug)]
struct Shared {
    full: Mutex<VecDeque<Chunk>>,
    empty: Mutex<Vec<Chunk>>,
    /// Bytes in `full`.
    backlog: AtomicUsize,
    /// How often the ring was found empty.
    sweeps: AtomicU64,
    stop: AtomicBool,
    /// Readable when there is something in `full`.
    signal: OwnedFd,
}

/// The reader of the ring, and what it has read.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    current: Chunk,
    /// What of `current` has been handed on.
    at: usize,
}

impl Spool {
    /// Begins to read `ring`, holding up to `limit` bytes; what is beyond stays in the ring.
    pub fn start(ring: RingBuf<MapData>, limit: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            full: Mutex::default(),
            empty: Mutex::default(),
            backlog: AtomicUsize::new(0),
            sweeps: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            signal: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("llmtap-ring".to_owned())
            .spawn(move || of_thread.read(ring, limit))?;
        Ok(Self {
            shared,
            thread: Some(thread),
            current: vec![],
            at: 0,
        })
    }

    /// The next record. Its bytes end where its payload ends.
    pub fn next(&mut self) -> Option<&[u8]> {
        if self.at >= self.current.len() {
            let next = self.shared.take(std::mem::take(&mut self.current))?;
            (self.current, self.at) = (next, 0);
        }
        let rest = self.current.get(self.at..)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        self.at = self.at.saturating_add(4).saturating_add(length);
        rest.get(..length)
    }

    /// How often the ring was read to its end. A record that is in the ring now is in
    /// [`Self::next`] when this is greater by two: one sweep may be past it already.
    pub fn sweeps(&self) -> u64 {
        self.shared.sweeps.load(Ordering::Acquire)
    }

    /// Readable when there is a record.
    pub fn signal(&self) -> BorrowedFd<'_> {
        self.shared.signal.as_fd()
    }

    /// Reads what is left in the ring, and ends.
    pub fn finish(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    /// What the thread does.
    fn read(&self, mut ring: RingBuf<MapData>, limit: usize) {
        hasten();
        loop {
            let stop = self.stop.load(Ordering::Acquire);
            while stop || self.backlog.load(Ordering::Acquire) < limit {
                let mut chunk = lock(&self.empty).pop().unwrap_or_default();
                fill(&mut chunk, &mut ring);
                if chunk.is_empty() {
                    self.sweeps.fetch_add(1, Ordering::AcqRel);
                    break;
                }
                self.give(chunk);
            }
            if stop {
                self.sweeps.store(u64::MAX, Ordering::Release);
                return;
            }
            if self.backlog.load(Ordering::Acquire) >= limit {
                thread::sleep(PAUSE);
            } else {
                // It can't fail on a descriptor that is open; and if it did, then after a while.
                if wait(&[ring.as_fd()], LATENCY).is_err() {
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn give(&self, chunk: Chunk) {
        self.backlog.fetch_add(chunk.len(), Ordering::AcqRel);
        lock(&self.full).push_back(chunk);
        // It fails only where it is readable already.
        let _ = rustix::io::write(&self.signal, &1_u64.to_ne_bytes());
    }

    /// The oldest full chunk, for one that has been used.
    fn take(&self, mut used: Chunk) -> Option<Chunk> {
        let next = {
            let mut full = lock(&self.full);
            let next = full.pop_front();
            if next.is_none() {
                // It fails only where it is not readable anyway.
                let _ = rustix::io::read(&self.signal, &mut [0; 8]);
            }
            next
        };
        used.clear();
        if used.capacity() > 0 {
            let mut empty = lock(&self.empty);
            if empty.len() < SPARE {
                empty.push(used);
            }
        }
        let next = next?;
        self.backlog.fetch_sub(next.len(), Ordering::AcqRel);
        Some(next)
    }
}

/// Puts the calling thread ahead of those who use what it brings. Without it a burst may
/// cost more; nothing depends on it.
pub fn hasten() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

/// Moves records from the ring until the chunk is full.
fn fill(chunk: &mut Chunk, ring: &mut RingBuf<MapData>) {
    while chunk.len() < CHUNK {
        let Some(item) = ring.next() else { return };
        let record = record::valid(&item);
        let Ok(length) = u32::try_from(record.len()) else {
            continue;
        };
        if chunk.capacity() == 0 {
            chunk.reserve(CHUNK);
        }
        chunk.extend_from_slice(&length.to_ne_bytes());
        chunk.extend_from_slice(record);
    }
}

/// Waits until one of `fds` is readable or the time is over; whichever it was shows itself.
pub fn wait(fds: &[BorrowedFd<'_>], timeout: Duration) -> Result<(), Errno> {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What another thread left behind in a panic is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(chunks: &[&[&[u8]]]) -> Spool {
        let shared = Arc::new(Shared {
            full: Mutex::default(),
            empty: Mutex::default(),
            backlog: AtomicUsize::new(0),
            sweeps: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            signal: eventfd(0, EventfdFlags::NONBLOCK).expect("eventfd"),
        });
        for records in chunks {
            let mut chunk = vec![];
            for record in *records {
                chunk.extend(u32::try_from(record.len()).expect("short").to_ne_bytes());
                chunk.extend(*record);
            }
            shared.give(chunk);
        }
        Spool {
            shared,
            thread: None,
            current: vec![],
            at: 0,
        }
    }

    #[test]
    fn records_come_in_order_over_chunks() {
        let mut spool = spool(&[&[b"a", b"", b"bcd"], &[b"e"]]);
        assert_eq!(spool.shared.backlog.load(Ordering::Acquire), 5 * 4 - 4 + 5);
        let mut got = vec![];
        while let Some(record) = spool.next() {
            got.push(record.to_vec());
        }
        assert_eq!(got, [&b"a"[..], b"", b"bcd", b"e"]);
        assert_eq!(spool.shared.backlog.load(Ordering::Acquire), 0);
    }

    #[test]
    fn the_signal_shows_whether_there_is_something() {
        let mut spool = spool(&[&[b"a"]]);
        let readable = |spool: &Spool| {
            let signal = spool.signal();
            let mut fds = [PollFd::new(&signal, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec::default())).expect("polls") > 0
        };
        assert!(readable(&spool));
        assert_eq!(spool.next(), Some(&b"a"[..]));
        assert_eq!(spool.next(), None);
        assert!(!readable(&spool));
    }
}
