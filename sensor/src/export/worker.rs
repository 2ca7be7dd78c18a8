//! A thread for each way out, behind a bounded queue: what is slow there delays nobody
//! else, and never the capture.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::Outgoing;

/// Where records end up.
pub trait Sink: Send {
    fn take(&mut self, record: &Outgoing) -> io::Result<()>;

    /// Called when nothing more waits.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What may wait; beyond it the oldest goes, and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub records: usize,
    /// Bytes, roughly.
    pub bytes: usize,
}

/// A queue and its thread.
#[derive(Debug)]
pub struct Worker {
    pub name: &'static str,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

/// What became of the records of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStatus {
    pub waiting: u64,
    /// Records that found no room.
    pub dropped: u64,
    /// Records that could not be written.
    pub failed: u64,
}

impl WorkerStatus {
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            waiting: self.waiting.saturating_add(other.waiting),
            dropped: self.dropped.saturating_add(other.dropped),
            failed: self.failed.saturating_add(other.failed),
        }
    }
}

#[derive(Debug)]
struct Queue {
    bounds: Bounds,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// A record was taken.
    taken: Condvar,
    dropped: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<Arc<Outgoing>>,
    bytes: usize,
    closed: bool,
}

impl Worker {
    /// Starts the thread; `name` shows in the list of threads, after `llmtap-`.
    pub fn start(
        name: &'static str,
        bounds: Bounds,
        sink: impl Sink + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            bounds,
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            taken: Condvar::new(),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let of_thread = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name(format!("llmtap-{name}"))
            .spawn(move || of_thread.run(name, sink))?;
        Ok(Self {
            name,
            queue,
            thread: Some(thread),
        })
    }

    /// Never waits: where there is no room, the oldest record goes.
    pub fn push(&self, record: &Arc<Outgoing>) {
        self.queue.push(record);
    }

    /// Waits for room, for records that can be read as slowly as they are written.
    pub fn push_patiently(&self, record: &Arc<Outgoing>) {
        self.queue.wait_for_room();
        self.queue.push(record);
    }

    /// Can be asked as long as anybody wants.
    pub fn gauge(&self) -> Gauge {
        Gauge {
            name: self.name,
            queue: Arc::clone(&self.queue),
        }
    }
}

/// Tells of a worker.
#[derive(Clone, Debug)]
pub struct Gauge {
    pub name: &'static str,
    queue: Arc<Queue>,
}

impl Gauge {
    pub fn status(&self) -> WorkerStatus {
        WorkerStatus {
            waiting: self.queue.lock().records.len() as u64,
            dropped: self.queue.dropped.load(Ordering::Relaxed),
            failed: self.queue.failed.load(Ordering::Relaxed),
        }
    }
}

/// What waits is still written.
impl Drop for Worker {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.arrived.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("llmtap: the thread of {} has panicked", self.name);
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: &Arc<Outgoing>) {
        let mut waiting = self.lock();
        waiting.bytes += record.weight();
        waiting.records.push_back(Arc::clone(record));
        while waiting.records.len() > self.bounds.records.max(1)
            || (waiting.bytes > self.bounds.bytes && waiting.records.len() > 1)
        {
            waiting.pop();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    fn run(&self, name: &str, mut sink: impl Sink) {
        loop {
            while let Some(record) = self.pop() {
                self.report(name, sink.take(&record));
            }
            self.report(name, sink.flush());
            if !self.wait() {
                return;
            }
        }
    }

    fn pop(&self) -> Option<Arc<Outgoing>> {
        let record = self.lock().pop();
        self.taken.notify_one();
        record
    }

    fn wait_for_room(&self) {
        let Bounds { records, bytes } = self.bounds;
        let full = |waiting: &mut Waiting| {
            waiting.records.len() >= records || waiting.bytes >= bytes && waiting.bytes > 0
        };
        drop(self.taken.wait_while(self.lock(), full));
    }

    /// Waits for a record; `false`: none will come.
    fn wait(&self) -> bool {
        let idle = |waiting: &mut Waiting| waiting.records.is_empty() && !waiting.closed;
        let waiting = self.arrived.wait_while(self.lock(), idle);
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        !waiting.records.is_empty()
    }

    fn report(&self, name: &str, done: io::Result<()>) {
        if let Err(error) = done
            && self.failed.fetch_add(1, Ordering::Relaxed) == 0
        {
            eprintln!("llmtap: {name}: {error}; from now on failures are only counted");
        }
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Arc<Outgoing>> {
        let record = self.records.pop_front()?;
        self.bytes -= record.weight();
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::samples::record;

    /// Says what it takes, and takes only when it is told to.
    struct Slow {
        go: mpsc::Receiver<()>,
        taken: mpsc::Sender<u64>,
    }

    impl Sink for Slow {
        fn take(&mut self, record: &Outgoing) -> io::Result<()> {
            let _ = self.go.recv();
            let Outgoing::Call(record) = record else {
                return Ok(());
            };
            let taken = self.taken.send(record.call().id.0);
            taken.map_err(io::Error::other)
        }
    }

    fn numbered(id: u64) -> Arc<Outgoing> {
        let record = record(|call, _| call.id = crate::llm::CallId(id));
        Arc::new(Outgoing::Call(record))
    }

    #[test]
    fn a_slow_sink_loses_the_oldest_and_says_so() {
        let (go, gone) = mpsc::channel();
        let (taken, took) = mpsc::channel();
        let bounds = Bounds {
            records: 3,
            bytes: 1 << 20,
        };
        let worker = Worker::start("test", bounds, Slow { go: gone, taken }).unwrap();
        worker.push(&numbered(0));
        go.send(()).unwrap();
        assert_eq!(took.recv().unwrap(), 0);
        // The next is under way, and so no longer in the queue.
        worker.push(&numbered(1));
        while worker.gauge().status().waiting > 0 {
            thread::yield_now();
        }
        (2..10).for_each(|id| worker.push(&numbered(id)));
        let status = worker.gauge().status();
        assert_eq!((status.waiting, status.dropped), (3, 5));
        drop(go);
        drop(worker);
        assert_eq!(took.iter().collect::<Vec<_>>(), [1, 7, 8, 9]);
    }

    #[test]
    fn heavy_records_are_bounded_by_their_bytes() {
        let (go, gone) = mpsc::channel();
        let (taken, took) = mpsc::channel();
        let weight = numbered(0).weight();
        let bounds = Bounds {
            records: 100,
            bytes: 2 * weight,
        };
        let worker = Worker::start("test", bounds, Slow { go: gone, taken }).unwrap();
        worker.push(&numbered(0));
        while worker.gauge().status().waiting > 0 {
            thread::yield_now();
        }
        (1..6).for_each(|id| worker.push(&numbered(id)));
        assert_eq!(worker.gauge().status().waiting, 2);
        drop(go);
        drop(worker);
        assert_eq!(took.iter().collect::<Vec<_>>(), [0, 4, 5]);
    }
}
