//! The running sensor: probes, rings, and what becomes of their records.
//!
//! In: records. Out: events. Must not know: what a payload means.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use llmtap_common::conn::Connection;
use llmtap_common::record::Closing;

use super::attach::{Image, Images};
use super::habits::Habits;
use super::load::Programs;
use super::record;
use super::spool::{self, Spool};
use super::status::{Change, Covered, Loss, Status};
use super::tables::{Connections, Losses, Misfits};
use super::teller::Teller;
use super::trial::{Trial, Withdrawn};
use super::watch::{Coverage, News, Watch};
use super::{Options, ProbeError, clock};
use crate::discover::Cache;
use crate::discover::process::FileFacts;
use crate::event::{ConnectionId, Event, Verdict};

/// Probes on everything that runs and will run, until it is dropped.
pub struct Sensor {
    watch: Watch,
    events: Spool,
    kernel: Connections,
    losses: Arc<Losses>,
    teller: Teller,
    trial: Trial,
    gone: Vec<Gone>,
    habits: Habits,
    /// Whether sockets and new files can be followed.
    sockets: bool,
    by_process: bool,
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

/// Bytes of records handed on in one go: verdicts, which follow from them, should not wait.
const BATCH: usize = 4 << 20;

impl Sensor {
    /// Loads and attaches. When it returns, all that runs at this moment is covered.
    pub fn start(options: &Options) -> Result<Self, ProbeError> {
        let mut programs = Programs::load(options)?;
        let (sockets, by_process) = (programs.layout, programs.by_process());
        let losses = Arc::new(Losses::of(&mut programs)?);
        let events = Spool::start(programs.map("EVENTS")?, options.backlog_bytes)
            .map_err(ProbeError::Thread)?;
        let kernel = Connections::of(&mut programs)?;
        let trial = Trial::new(Misfits::of(&mut programs)?);
        let directory = options.findings.as_deref();
        let findings = directory.map_or_else(Cache::in_memory, Cache::in_directory);
        let images = Images::new(findings);
        let (mut coverage, news) = Coverage::new(programs, Arc::clone(&losses), images, options)?;
        coverage.begin()?;
        let span = options.release_idle.filter(|_| by_process);
        Ok(Self {
            watch: Watch::start(coverage, news).map_err(ProbeError::Thread)?,
            events,
            kernel,
            losses,
            teller: Teller::default(),
            trial,
            gone: vec![],
            habits: Habits::new(span, clock::boot_time()),
            sockets,
            by_process,
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
        let is_over = self.stage != Stage::Running;
        self.teller.hurry(is_over, self.watch.images(), sink);
        for gone in std::mem::take(&mut self.gone) {
            if gone.sweeps <= sweeps {
                self.exited(gone.pid, sink);
            } else {
                self.gone.push(gone);
            }
        }
        if !is_over {
            let (processes, images) = (&mut self.teller.processes, self.watch.images());
            self.trial.look(clock::boot_time(), processes, images);
            self.report();
        }
        self.settle(sink);
        false
    }

    /// Files that lost their hooks since the last time, because what came was no plaintext.
    pub fn withdrawn(&mut self) -> Vec<Withdrawn> {
        self.trial.news()
    }

    /// Who was released or taken back since the last time.
    pub fn changes(&mut self) -> Vec<Change> {
        self.habits.changes()
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
        let connections = &self.teller.connections;
        if let Some(id) = connections.kernel_id(connection) {
            self.kernel.decide(id, verdict);
            if verdict == Verdict::Wanted {
                self.habits.called(connections.owner(id));
            }
        }
    }

    pub fn status(&self) -> Status {
        let counters = self.losses.sum();
        Status {
            images: self.watch.images().all(),
            connections: self.teller.connections.len(),
            lost_bytes: self.teller.connections.lost(),
            sockets: self.sockets,
            by_process: self.by_process,
            loss: Loss {
                refused: self.teller.refused,
                unreadable: self.teller.unreadable,
                untracked: counters.untracked,
                processes: counters.processes,
            },
            released: self.habits.released(),
        }
    }

    /// The files of a process that hold TLS, and what came through each.
    pub fn covered(&self, pid: u32) -> io::Result<Vec<Covered>> {
        let files = self.watch.images().of_process(pid)?;
        let covered = |(facts, image): (FileFacts, Option<Arc<Image>>)| Covered {
            facts,
            seen: image
                .as_ref()
                .map(|image| self.teller.witness.seen(pid, &image.tally))
                .unwrap_or_default(),
            image,
            is_released: self.habits.is_released(pid),
        };
        Ok(files.into_iter().map(covered).collect())
    }

    /// Once, when all records of a stopped sensor were handed on.
    fn settle(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if self.stage != Stage::Stopped {
            return;
        }
        self.stage = Stage::Settled;
        let open: Vec<_> = self.kernel.iter().collect();
        for connection in open {
            let end = closing(&connection);
            self.teller.count(&end);
            self.teller
                .connections
                .settle(connection.id, &end, clock::boot_time(), sink);
        }
    }

    fn drain_news(&mut self) {
        for news in self.watch.news() {
            match news {
                News::Executed(pid, identity) => {
                    self.habits.gone(pid);
                    self.teller.processes.executed(pid, identity);
                }
                // A sweep that is under way may be past its last record.
                News::Exited(pid) => self.gone.push(Gone {
                    pid,
                    sweeps: self.events.sweeps().saturating_add(2),
                }),
                News::Released(pid) => self.habits.was_released(pid),
                News::TakenBack(pid) => self.habits.was_taken_back(pid),
            }
        }
    }

    /// Says, now and then, which processes made calls and which were busy.
    fn report(&mut self) {
        let now = clock::boot_time();
        if !self.habits.is_time(now) {
            return;
        }
        let mut moves = self.teller.witness.moves();
        for connection in self.kernel.iter().filter(|c| c.instruction != 0) {
            let moved = moves.entry(connection.pid).or_insert(0);
            *moved = moved.saturating_add(connection.calls);
        }
        let report = self.habits.report(now, moves);
        if let Err(report) = self.watch.report(report) {
            self.habits.keep(report);
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
            if let Some((header, record)) = record::parse(item) {
                self.teller.take(&header, record, self.watch.images(), sink);
            }
        }
        false
    }

    fn exited(&mut self, pid: u32, sink: &mut dyn FnMut(Event<'_>)) {
        self.habits.gone(pid);
        self.teller.processes.exited(pid);
        self.teller.witness.exited(pid);
        for (id, key) in self.teller.connections.of_process(pid) {
            let Some(connection) = self.kernel.take(&key).filter(|c| c.id == id) else {
                continue;
            };
            let end = closing(&connection);
            self.teller.count(&end);
            self.teller
                .connections
                .close(id, &end, clock::boot_time(), sink);
        }
    }
}

impl fmt::Debug for Sensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sensor")
            .field("watch", &self.watch)
            .field("teller", &self.teller)
            .finish_non_exhaustive()
    }
}

fn closing(connection: &Connection) -> Closing {
    Closing {
        position: connection.position,
        cut: connection.cut,
        refused: connection.refused,
        unreadable: connection.unreadable,
        calls: connection.calls,
    }
}
