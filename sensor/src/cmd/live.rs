//! Probes on this host as a source.

use std::time::Duration;

use anyhow::Context as _;
use llmtap::event::{ConnectionId, Event, Verdict};
use llmtap::export::metrics::health::Kernel;
use llmtap::probe::{self, Sensor};
use llmtap::time::{ClockOffset, Timestamp};

use super::config::schema::Kubernetes;
use super::facts::Facts;
use super::source::{Drained, Source};

/// How long traffic may lie in the ring before it is read, if nothing wakes us earlier.
const LATENCY: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub struct Live {
    sensor: Sensor,
    facts: Facts,
    clock: ClockOffset,
    host: Option<String>,
    is_announced: bool,
    is_stopped: bool,
}

impl Live {
    pub fn start(options: &probe::Options, kubernetes: &Kubernetes) -> anyhow::Result<Self> {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        // First, so that the cluster has told of its pods by the time probes are there.
        let facts = Facts::gather(kubernetes, &host);
        let sensor = Sensor::start(options)
            .context("cannot watch this host; `llmtap doctor` tells what it lacks")?;
        Ok(Self {
            sensor,
            facts,
            clock: probe::clock_offset(),
            host: Some(host),
            is_announced: false,
            is_stopped: false,
        })
    }
}

impl Source for Live {
    fn clock(&self) -> ClockOffset {
        self.clock
    }

    fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn drain(&mut self, each: &mut dyn FnMut(Event<'_>)) -> anyhow::Result<Drained> {
        let Self { sensor, facts, .. } = self;
        let more = sensor.drain(&mut |mut event| {
            facts.add(&mut event);
            each(event);
        });
        facts.tell(each);
        Ok(match more {
            true => Drained::More,
            false if self.is_stopped => Drained::End,
            false => Drained::Idle,
        })
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
        Some(probe::now())
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
        Kernel {
            images: status.images.len() as u64,
            refused,
            unreadable,
            untracked,
            processes,
        }
    }
}
