//! The running sensor: probes, rings, and what becomes of their records.
//!
//! In: records. Out: events. Must not know: what a payload means.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use llmtap_common::conn::Connection;
use llmtap_common::record::Closing;

use super::connections::Connections;
use super::load::Programs;
use super::origin::{origin, server_name};
use super::process::Processes;
use super::record::{self, Record};
use super::spool::{self, Spool};
use super::status::{Loss, Status};
use super::tables::{self, Losses};
use super::watch::{Coverage, News, Watch};
use super::{Options, ProbeError, clock};
use crate::event::{ConnectionId, Event, Verdict};

/// Probes on everything that runs and will run, until it is dropped.
pub struct Sensor {
    watch: Watch,
    events: Spool,
    kernel: tables::Connections,
    losses: Arc<Losses>,
    connections: Connections,
    processes: Processes,
    gone: Vec<Gone>,
    closed: Totals,
    /// Whether sockets and new files can be followed.
    sockets: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Stopped,
    /// Stopped, and the end of each connection was told.
    Settled,
}

/// A process that has ended, but may have records left.
#[derive(Clone, Copy, Debug)]
struct Gone {
    pid: u32,
    /// Its records have been read from the ring once [`Spool::sweeps`] says so many.
    sweeps: u64,
}

/// Sums over connections that are over.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    refused: u64,
    unreadable: u64,
}

/// Bytes of records handed on in one go: verdicts, which follow from them, should not wait.
const BATCH: usize = 4 << 20;

impl Sensor {
    /// Loads and attaches. When it returns, all that runs at this moment is covered.
    pub fn start(options: &Options) -> Result<Self, ProbeError> {
        let mut programs = Programs::load(options)?;
        let sockets = programs.layout;
        let losses = Arc::new(Losses::of(&mut programs)?);
        let events = Spool::start(programs.map("EVENTS")?, options.backlog_bytes)
            .map_err(ProbeError::Thread)?;
        let kernel = tables::Connections::of(&mut programs)?;
        let mut coverage = Coverage::new(programs, Arc::clone(&losses))?;
        coverage.begin(&options.pids)?;
        Ok(Self {
            watch: Watch::start(coverage).map_err(ProbeError::Thread)?,
            events,
            kernel,
            losses,
            connections: Connections::default(),
            processes: Processes::default(),
            gone: vec![],
            closed: Totals::default(),
            sockets,
            stage: Stage::Running,
        })
    }

    /// Waits until there is something to read, or `timeout` is over. Call [`Self::drain`]
    /// after every wait.
    pub fn wait(&self, timeout: Duration) -> Result<(), ProbeError> {
        spool::wait(&[self.events.signal()], timeout).map_err(ProbeError::Wait)
    }

    /// Hands on what has come, or much of it, and says whether more waits. Events of one
    /// connection come in order.
    pub fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>)) -> bool {
        self.drain_news();
        // What has been read from the ring by now is handed on below.
        let sweeps = self.events.sweeps();
        if !self.drain_events(sink) {
            return true;
        }
        for gone in std::mem::take(&mut self.gone) {
            if gone.sweeps <= sweeps {
                self.exited(gone.pid, sink);
            } else {
                self.gone.push(gone);
            }
        }
        self.settle(sink);
        false
    }

    /// Takes all probes away. What has come until then can still be drained; at its end
    /// stands what is missing at the end of each connection, so that the events tell of every
    /// byte that crossed.
    pub fn stop(&mut self) {
        self.watch.finish();
        self.events.finish();
        self.stage = Stage::Stopped;
    }

    /// What may be left out of a connection from now on.
    pub fn set_verdict(&mut self, connection: ConnectionId, verdict: Verdict) {
        if let Some(id) = self.connections.kernel_id(connection) {
            self.kernel.decide(id, verdict);
        }
    }

    pub fn status(&self) -> Status {
        let counters = self.losses.sum();
        Status {
            images: self.watch.images().all(),
            connections: self.connections.len(),
            lost_bytes: self.connections.lost(),
            sockets: self.sockets,
            loss: Loss {
                refused: self.closed.refused,
                unreadable: self.closed.unreadable,
                untracked: counters.untracked,
                processes: counters.processes,
            },
        }
    }

    /// Once, when all records of a stopped sensor were handed on.
    fn settle(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if self.stage != Stage::Stopped {
            return;
        }
        self.stage = Stage::Settled;
        let open: Vec<_> = self.kernel.iter().collect();
        for connection in open {
            self.count(connection.refused, connection.unreadable);
            let end = closing(&connection);
            self.connections
                .settle(connection.id, &end, clock::boot_time(), sink);
        }
    }

    fn count(&mut self, refused: u32, unreadable: u32) {
        let closed = &mut self.closed;
        closed.refused = closed.refused.saturating_add(refused.into());
        closed.unreadable = closed.unreadable.saturating_add(unreadable.into());
    }

    fn drain_news(&mut self) {
        for news in self.watch.news() {
            match news {
                News::Executed(pid, identity) => self.processes.executed(pid, identity),
                // A sweep that is under way may be past its last record.
                News::Exited(pid) => self.gone.push(Gone {
                    pid,
                    sweeps: self.events.sweeps().saturating_add(2),
                }),
            }
        }
    }

    /// Whether that was all.
    fn drain_events(&mut self, sink: &mut dyn FnMut(Event<'_>)) -> bool {
        let mut handled: usize = 0;
        while handled < BATCH {
            let Some(item) = self.events.next() else {
                return true;
            };
            handled = handled.saturating_add(item.len());
            let Some((header, record)) = record::parse(item) else {
                continue;
            };
            let connections = &mut self.connections;
            match record {
                Record::Data(bytes) => connections.data(&header, bytes, sink),
                Record::Open(opening) => {
                    let origin = origin(&opening, &mut self.processes, self.watch.images());
                    connections.open(&header, (opening.pid, opening.key), origin, sink);
                }
                Record::Close(end) => {
                    connections.close(header.connection, &end, header.at, sink);
                    self.count(end.refused, end.unreadable);
                }
                Record::ServerName(name) => {
                    connections.update(&header, server_name(name), sink);
                }
            }
        }
        false
    }

    fn exited(&mut self, pid: u32, sink: &mut dyn FnMut(Event<'_>)) {
        self.processes.exited(pid);
        for (id, key) in self.connections.of_process(pid) {
            let Some(connection) = self.kernel.take(&key).filter(|c| c.id == id) else {
                continue;
            };
            self.count(connection.refused, connection.unreadable);
            let end = closing(&connection);
            self.connections.close(id, &end, clock::boot_time(), sink);
        }
    }
}

impl fmt::Debug for Sensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sensor")
            .field("watch", &self.watch)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

fn closing(connection: &Connection) -> Closing {
    Closing {
        position: connection.position,
        cut: connection.cut,
        refused: connection.refused,
        unreadable: connection.unreadable,
    }
}
