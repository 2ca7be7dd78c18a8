//! Probes on this host as a source.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use llmtap::event::{ConnectionId, Event, Verdict};
use llmtap::export::metrics::health::Kernel;
use llmtap::probe::{self, Judgement, Order, Sensor};
use llmtap::time::{ClockOffset, Timestamp};

use super::config::schema::Kubernetes;
use super::facts::Facts;
use super::source::{Drained, Source};
use super::tail::render::clean;

/// How long traffic may lie in the ring before it is read, if nothing wakes us earlier.
const LATENCY: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub struct Live {
    sensor: Sensor,
    facts: Facts,
    order: Order,
    clock: ClockOffset,
    host: Option<String>,
    is_announced: bool,
    is_stopped: bool,
}

impl Live {
    pub fn start(options: &probe::Options, kubernetes: &Kubernetes) -> anyhow::Result<Self> {
        let options = probe::Options {
            findings: Some(findings()),
            ..options.clone()
        };
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        // First, so that the cluster has told of its pods by the time probes are there.
        let facts = Facts::gather(kubernetes, &host);
        let sensor = Sensor::start(&options)
            .context("cannot watch this host; `llmtap doctor` tells what it lacks")?;
        Ok(Self {
            sensor,
            facts,
            order: Order::default(),
            clock: probe::clock_offset(),
            host: Some(host),
            is_announced: false,
            is_stopped: false,
        })
    }

    /// Whether this kernel has probes for single processes.
    pub fn by_process(&self) -> bool {
        self.sensor.status().by_process
    }

    /// The files of a process that hold TLS, and what came through each.
    pub fn covered(&self, pid: u32) -> std::io::Result<Vec<probe::Covered>> {
        self.sensor.covered(pid)
    }
}

/// Where findings are kept: what systemd made for us, or the usual place.
fn findings() -> PathBuf {
    let made = std::env::var_os("CACHE_DIRECTORY");
    let first = made.and_then(|all| std::env::split_paths(&all).next());
    first.unwrap_or_else(|| "/var/cache/llmtap".into())
}

impl Source for Live {
    fn clock(&self) -> ClockOffset {
        self.clock
    }

    fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn drain(&mut self, each: &mut dyn FnMut(Event<'_>)) -> anyhow::Result<Drained> {
        let Self {
            sensor,
            facts,
            order,
            ..
        } = self;
        // Facts are added before an event waits: its process may be gone after that.
        let more = sensor.drain(&mut |mut event| {
            facts.add(&mut event);
            order.take(event);
        });
        facts.tell(&mut |event| order.take(event));
        if self.is_stopped && !more {
            order.finish(each);
            return Ok(Drained::End);
        }
        order.release(probe::now(), each);
        Ok(if more { Drained::More } else { Drained::Idle })
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.is_stopped, true) {
            self.sensor.stop();
        }
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        Ok(self.sensor.wait(LATENCY)?)
    }

    fn now(&self) -> Option<Timestamp> {
        // What has happened by then has been told.
        Some(probe::now().before(probe::HOLD))
    }

    fn verdict(&mut self, connection: ConnectionId, verdict: Verdict) {
        self.sensor.set_verdict(connection, verdict);
    }

    fn ready(&mut self) -> Option<String> {
        if std::mem::replace(&mut self.is_announced, true) {
            return None;
        }
        let status = self.sensor.status();
        let sockets = if status.sockets { "and" } else { "but no" };
        Some(format!(
            "ready: {} files with TLS are covered, {sockets} plain sockets",
            status.images.len()
        ))
    }

    fn remarks(&mut self) -> Vec<String> {
        let withdrawn = self.sensor.withdrawn();
        let line = |w: probe::Withdrawn| {
            let (library, path) = (w.library, clean(&w.path.to_string_lossy()));
            format!("{library} in {path}: {}", w.why)
        };
        let changed = |change: probe::Change| match change {
            probe::Change::Released(pid) => {
                format!("process {pid} is released: it is busy, and makes no calls")
            }
            probe::Change::TakenBack(pid) => format!("process {pid} is probed again"),
        };
        let changes = self.sensor.changes();
        let changes = changes.into_iter().map(changed);
        withdrawn.into_iter().map(line).chain(changes).collect()
    }

    fn lost_bytes(&self) -> u64 {
        self.sensor.status().lost_bytes
    }

    fn kernel(&self) -> Kernel {
        let status = self.sensor.status();
        let probe::Loss {
            refused,
            unreadable,
            untracked,
            processes,
        } = status.loss;
        let is_verified =
            |image: &&std::sync::Arc<probe::Image>| image.tally.judgement() == Judgement::Verified;
        let images = &status.images;
        Kernel {
            images: images.len() as u64,
            probes: images.iter().map(|image| image.sites() as u64).sum(),
            unset: images.iter().map(|image| image.failures.len() as u64).sum(),
            verified: images.iter().filter(is_verified).count() as u64,
            withdrawn: images
                .iter()
                .filter(|image| image.withdrawn.is_some())
                .count() as u64,
            refused,
            unreadable,
            untracked,
            processes,
            released: status.released.now as u64,
            releases: status.released.ever,
            taken_back: status.released.taken_back,
        }
    }
}
