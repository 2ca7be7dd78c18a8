//! What this process tells of itself: metrics of calls, and its own health.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use llmtap::export::metrics::health::{Kernel, Process, Traffic};
use llmtap::export::metrics::{Bounds, Family, Health, Metrics};
use llmtap::export::otlp::Lane;
use llmtap::export::serve::Told;
use llmtap::export::worker::Gauge;

use crate::cmd::pipeline::Pipeline;
use crate::cmd::source::Source;

/// Shared by the loop that fills it and those who ask.
#[derive(Debug)]
pub struct State {
    metrics: Mutex<Metrics>,
    /// What the loop knows.
    health: Mutex<Health>,
    ways: Mutex<Ways>,
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
}

/// A loop that does not go round for so long hangs.
const LIVELY: Duration = Duration::from_secs(30);

impl State {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            metrics: Mutex::new(Metrics::new(bounds, unix_nanos())),
            health: Mutex::default(),
            ways: Mutex::default(),
            started: Instant::now(),
            last_turn: AtomicU64::new(0),
            ready: AtomicBool::new(false),
        }
    }

    pub fn metrics(&self) -> MutexGuard<'_, Metrics> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_ways_out(&self, ways: Ways) {
        *self.ways.lock().unwrap_or_else(PoisonError::into_inner) = ways;
    }

    fn health(&self) -> Health {
        let known = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        Health {
            workers: ways.workers.iter().map(|w| (w.name, w.status())).collect(),
            lanes: ways.lanes.iter().map(|l| (l.name, l.status())).collect(),
            process: process(),
            ..known.clone()
        }
    }

    /// The loop goes round.
    pub fn turn(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_turn.store(millis, Ordering::Relaxed);
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
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.traffic = traffic;
        health.kernel = kernel;
    }
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
