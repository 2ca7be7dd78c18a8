//! What this process tells of itself: metrics of calls, and its own health.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use llmtap::engine::Counters;
use llmtap::export::metrics::health::{Kernel, Process, Traffic};
use llmtap::export::metrics::{Bounds, Family, Health, Metrics};
use llmtap::export::otlp::{Lane, LaneStatus, Tally};
use llmtap::export::serve::Told;
use llmtap::export::worker::{Gauge, WorkerStatus};

use crate::cmd::pipeline::Pipeline;
use crate::cmd::source::Source;

/// Shared by the loop that fills it and those who ask.
#[derive(Debug)]
pub struct State {
    metrics: Mutex<Metrics>,
    /// What the loop knows.
    health: Mutex<Health>,
    ways: Mutex<Ways>,
    /// What was counted of ways out that were replaced.
    past: Mutex<Past>,
    exported: Mutex<Exported>,
    started: Instant,
    /// When the loop last went round, in milliseconds since the start.
    last_turn: AtomicU64,
    ready: AtomicBool,
}

/// The ways out at this time.
#[derive(Debug, Default)]
pub struct Ways {
    pub workers: Vec<Gauge>,
    pub lanes: Vec<Arc<Lane>>,
    pub metrics: Option<Arc<Tally>>,
}

/// From what on numbers count in the next export: from the start, or where that is wanted from
/// the last one.
#[derive(Clone, Debug)]
pub struct Exported {
    pub families: Vec<Family>,
    pub at_unix_nanos: u64,
}

/// By name.
#[derive(Clone, Debug, Default)]
struct Past {
    workers: Vec<(&'static str, WorkerStatus)>,
    lanes: Vec<(&'static str, LaneStatus)>,
}

impl Ways {
    /// What they tell by now, and what is known of those before them: nothing that is counted
    /// goes back when the configuration is read anew.
    fn status(&self, past: &Past) -> Past {
        let Past {
            mut workers,
            mut lanes,
        } = past.clone();
        for worker in &self.workers {
            add(
                &mut workers,
                worker.name,
                worker.status(),
                WorkerStatus::and,
            );
        }
        let metrics = self.metrics.iter().map(|tally| ("metrics", tally.status()));
        let all = self.lanes.iter().map(|lane| (lane.name, lane.status()));
        for (name, status) in all.chain(metrics) {
            add(&mut lanes, name, status, LaneStatus::and);
        }
        Past { workers, lanes }
    }
}

fn add<T: Copy>(
    all: &mut Vec<(&'static str, T)>,
    name: &'static str,
    status: T,
    and: impl Fn(T, T) -> T,
) {
    match all.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = and(*known, status),
        None => all.push((name, status)),
    }
}

/// A loop that does not go round for so long hangs.
const LIVELY: Duration = Duration::from_secs(30);

impl State {
    pub fn new(bounds: Bounds) -> Self {
        let started_unix_nanos = unix_nanos();
        Self {
            metrics: Mutex::new(Metrics::new(bounds)),
            health: Mutex::default(),
            ways: Mutex::default(),
            past: Mutex::default(),
            exported: Mutex::new(Exported {
                families: Vec::new(),
                at_unix_nanos: started_unix_nanos,
            }),
            started: Instant::now(),
            last_turn: AtomicU64::new(0),
            ready: AtomicBool::new(false),
        }
    }

    pub fn metrics(&self) -> MutexGuard<'_, Metrics> {
        lock(&self.metrics)
    }

    pub fn exported(&self) -> MutexGuard<'_, Exported> {
        lock(&self.exported)
    }

    pub fn set_ways_out(&self, ways: Ways) {
        let mut current = lock(&self.ways);
        let mut past = lock(&self.past);
        let mut before = current.status(&past);
        // What waited there waits in the next ones.
        before.workers.iter_mut().for_each(|(_, s)| s.waiting = 0);
        for (_, status) in &mut before.lanes {
            (status.waiting.messages, status.waiting.bytes) = (0, 0);
        }
        (*past, *current) = (before, ways);
    }

    fn health(&self) -> Health {
        let known = lock(&self.health).clone();
        let Past { workers, lanes } = lock(&self.ways).status(&lock(&self.past));
        Health {
            workers,
            lanes,
            process: process(),
            ..known
        }
    }

    /// The loop goes round.
    pub fn turn(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_turn.store(millis, Ordering::Relaxed);
    }

    /// What is bounded otherwise from now on.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.metrics().set_bounds(bounds);
    }

    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Takes a snapshot of what the loop knows.
    pub fn observe(&self, pipeline: &Pipeline, source: &dyn Source) {
        let counters = pipeline.counters();
        let traffic = Traffic {
            events: counters.events,
            bytes: counters.bytes,
            lost_bytes: counters.lost_bytes.max(source.lost_bytes()),
            cut_bytes: counters.cut_bytes,
            exchanges: counters.exchanges,
            calls: counters.calls,
            connections: pipeline.connections() as u64,
            evicted: counters.evicted,
            refused_exchanges: counters.refused_exchanges,
        };
        let kernel: Kernel = source.kernel();
        let faults = faults(&counters, pipeline.ambiguous());
        let mut health = lock(&self.health);
        health.faults = faults;
        health.traffic = traffic;
        health.kernel = kernel;
    }
}

/// Of connections and contents that are over.
fn faults(counters: &Counters, ambiguous: u64) -> Vec<(&'static str, &'static str, u64)> {
    let (http, content) = (&counters.http, &counters.content);
    vec![
        ("http", "refused_heads", http.refused_heads),
        ("http", "lost_framing", http.lost_framing),
        ("http", "unpaired", http.unpaired),
        ("http2", "unknown_fields", http.http2.unknown_fields),
        ("http2", "cut_blocks", http.http2.cut_blocks),
        ("http2", "lost_sync", http.http2.lost_sync),
        ("http2", "evicted_streams", http.http2.evicted_streams),
        ("content", "undecodable", content.undecodable),
        ("content", "inflated", content.inflated),
        ("content", "oversized", content.oversized),
        ("content", "malformed", content.malformed),
        ("enrich", "ambiguous_parent", ambiguous),
    ]
}

impl Told for State {
    fn families(&self) -> Vec<Family> {
        let mut families = self.metrics().families();
        families.extend(self.health().families());
        families
    }

    fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.last_turn.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last) < LIVELY
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && self.is_alive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// Memory and processor time of this process; zero where they cannot be read.
fn process() -> Process {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    let page = rustix::param::page_size() as u64;
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let spent = Duration::try_from(spent).unwrap_or_default();
    Process {
        memory_bytes: resident.unwrap_or_default().saturating_mul(page),
        cpu_seconds: spent.as_secs_f64(),
    }
}
