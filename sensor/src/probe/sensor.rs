//! The running sensor: probes, rings, and what becomes of their records.
//!
//! In: records of both rings. Out: events; probes on files that are new. Must not know:
//! what a payload means.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use llmtap_common::conn::{Connection, Key};
use llmtap_common::filter;
use llmtap_common::layout::FileId;
use llmtap_common::loss::Counters;
use llmtap_common::record::{Closing, Opening, ProcessRecord, process as happened};
use zerocopy::{FromBytes, IntoBytes};

use super::attach::Images;
use super::clock;
use super::connections::Connections;
use super::load::Programs;
use super::process::{self, Processes};
use super::record::{self, Record};
use super::spool::{self, Spool};
use super::status::{Loss, Status};
use super::{Options, Pids, ProbeError};
use crate::discover::maps;
use crate::event::{ConnectionId, Event, Origin, Verdict};

/// Probes on everything that runs and will run, until it is dropped.
pub struct Sensor {
    programs: Programs,
    images: Images,
    events: Spool,
    news: RingBuf<MapData>,
    maps: Maps,
    connections: Connections,
    processes: Processes,
    /// Processes that are gone, but may have records left.
    gone: Vec<u32>,
    closed: Totals,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Stopped,
    /// Stopped, and the end of each connection was told.
    Settled,
}

/// Maps of the kernel half; keys and values as bytes, see `llmtap_common`.
struct Maps {
    connections: HashMap<MapData, [u8; size_of::<Key>()], [u8; size_of::<Connection>()]>,
    verdicts: Array<MapData, u64>,
    files: HashMap<MapData, [u8; size_of::<FileId>()], u8>,
    counters: PerCpuArray<MapData, [u8; size_of::<Counters>()]>,
}

/// Sums over connections that are over.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    refused: u64,
    unreadable: u64,
}

/// Records handled before processes are looked at again: a new one is in a hurry.
const BATCH: usize = 256;
/// Batches in one go: who drains has more to do.
const BATCHES: usize = 64;
/// Records of processes in one go from which on some may have been lost.
const FLOOD: usize = 4096;

impl Sensor {
    /// Loads and attaches. When it returns, all that runs at this moment is covered.
    pub fn start(options: &Options) -> Result<Self, ProbeError> {
        let mut programs = Programs::load(options)?;
        let mut sensor = Self {
            images: Images::default(),
            events: Spool::start(programs.map("EVENTS")?, options.backlog_bytes)
                .map_err(ProbeError::Spool)?,
            news: programs.map("PROCESSES")?,
            maps: Maps {
                connections: programs.map("CONNECTIONS")?,
                verdicts: programs.map("VERDICTS")?,
                files: programs.map("FILES")?,
                counters: programs.map("COUNTERS")?,
            },
            connections: Connections::default(),
            processes: Processes::default(),
            gone: vec![],
            closed: Totals::default(),
            stage: Stage::Running,
            programs,
        };
        // First the news, then the present: nothing falls between.
        sensor.programs.attach_tracepoints()?;
        match &options.pids {
            Pids::Only(pids) => sensor.scan(pids.iter().copied()),
            Pids::Every | Pids::Except(_) => sensor.scan(process::all()),
        }
        sensor.scan_usual();
        Ok(sensor)
    }

    /// Covers the files of processes.
    fn scan(&mut self, pids: impl Iterator<Item = u32>) {
        let mut seen = HashSet::new();
        for pid in pids {
            for file in maps::mapped_files(pid).unwrap_or_default() {
                if !seen.contains(&(file.device, file.inode)) && self.cover(pid, &file) {
                    seen.insert((file.device, file.inode));
                }
            }
        }
    }

    /// Covers what the next process is likely to map.
    fn scan_usual(&mut self) {
        for path in maps::usual_libraries() {
            if let Ok(Some(file)) = maps::open_regular(&path) {
                self.images.cover(&mut self.programs, &file, &path);
            }
        }
    }

    /// Whether the file could be looked at.
    fn cover(&mut self, pid: u32, mapped: &maps::MappedFile) -> bool {
        let Ok(file) = mapped.open(pid) else {
            return false;
        };
        if let Some(file) = file {
            self.images.cover(&mut self.programs, &file, &mapped.path);
        }
        true
    }

    /// Waits until there is something to read, a process needs attention, or `timeout` is
    /// over. Call [`Self::drain`] after every wait.
    pub fn wait(&self, timeout: Duration) -> Result<(), ProbeError> {
        let fds = [self.news.as_fd(), self.events.signal()];
        spool::wait(&fds, timeout).map_err(ProbeError::Wait)
    }

    /// Hands on what has come, or much of it, and says whether more waits. Events of one
    /// connection come in order.
    pub fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>)) -> bool {
        for _ in 0..BATCHES {
            if self.drain_some(sink) {
                self.settle(sink);
                return false;
            }
        }
        true
    }

    /// Takes all probes away. What has come until then can still be drained; at its end
    /// stands what is missing at the end of each connection, so that the events tell of every
    /// byte that crossed.
    pub fn stop(&mut self) {
        self.images.detach();
        self.programs.detach_tracepoints();
        self.events.finish();
        self.stage = Stage::Stopped;
    }

    /// Whether nothing is left.
    fn drain_some(&mut self, sink: &mut dyn FnMut(Event<'_>)) -> bool {
        if self.drain_processes() >= FLOOD && self.counters().processes > 0 {
            self.scan(process::all());
        }
        if self.drain_events(BATCH, sink) == BATCH {
            return false;
        }
        // No record of theirs is left.
        for pid in std::mem::take(&mut self.gone) {
            self.exited(pid, sink);
        }
        true
    }

    /// What may be left out of a connection from now on.
    pub fn set_verdict(&mut self, connection: ConnectionId, verdict: Verdict) {
        let Some(id) = self.connections.kernel_id(connection) else {
            return;
        };
        let verdict = match verdict {
            Verdict::Undecided => filter::UNDECIDED,
            Verdict::Wanted => filter::WANTED,
            Verdict::HeadsAndPosts => filter::HEADS_AND_POSTS,
            Verdict::HeadsOnly => filter::HEADS_ONLY,
            Verdict::Unwanted => filter::UNWANTED,
        };
        let entry = filter::entry(id, verdict);
        // Where it fails, too much is delivered, which is not wrong.
        let _ = self.maps.verdicts.set(filter::slot(id), entry, 0);
    }

    pub fn status(&self) -> Status<'_> {
        let counters = self.counters();
        Status {
            images: self.images.iter().collect(),
            connections: self.connections.len(),
            lost_bytes: self.connections.lost(),
            sockets: self.programs.layout,
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
        let open: Vec<_> = self.maps.connections.iter().flatten().collect();
        for (_, bytes) in open {
            if let Ok(connection) = Connection::read_from_bytes(&bytes) {
                self.count(&connection);
                let end = closing(&connection);
                self.connections
                    .settle(connection.id, &end, clock::boot_time(), sink);
            }
        }
    }

    fn count(&mut self, connection: &Connection) {
        let Totals {
            refused,
            unreadable,
        } = &mut self.closed;
        *refused = refused.saturating_add(connection.refused.into());
        *unreadable = unreadable.saturating_add(connection.unreadable.into());
    }

    /// Sums over all processors.
    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for bytes in self.maps.counters.get(&0, 0).iter().flat_map(|v| v.iter()) {
            let Ok(counters) = Counters::read_from_bytes(bytes) else {
                continue;
            };
            sum.facts = sum.facts.saturating_add(counters.facts);
            sum.untracked = sum.untracked.saturating_add(counters.untracked);
            sum.processes = sum.processes.saturating_add(counters.processes);
        }
        sum
    }

    /// Handles so many records at most, and says how many there were.
    fn drain_events(&mut self, at_most: usize, sink: &mut dyn FnMut(Event<'_>)) -> usize {
        for done in 0..at_most {
            let Some(item) = self.events.next() else {
                return done;
            };
            let Some((header, record)) = record::parse(item) else {
                continue;
            };
            let connections = &mut self.connections;
            match record {
                Record::Data(bytes) => connections.data(&header, bytes, sink),
                Record::Open(opening) => {
                    let origin = origin(&opening, &mut self.processes, &self.images);
                    connections.open(&header, (opening.pid, opening.key), origin, sink);
                }
                Record::Close(end) => {
                    self.closed.refused = self.closed.refused.saturating_add(end.refused.into());
                    self.closed.unreadable =
                        self.closed.unreadable.saturating_add(end.unreadable.into());
                    connections.close(header.connection, &end, header.at, sink);
                }
                Record::ServerName(name) => {
                    connections.update(&header, server_name(name), sink);
                }
            }
        }
        at_most
    }

    fn drain_processes(&mut self) -> usize {
        let mut handled = 0;
        loop {
            let next = self.news.next();
            let Some(record) = next.map(|item| record::parse_process(&item)) else {
                return handled;
            };
            handled += 1;
            let Some(record) = record else { continue };
            match record.kind {
                happened::EXEC => self.executed(&record),
                happened::MAP => self.mapped(&record),
                _ => self.gone.push(record.pid),
            }
        }
    }

    fn executed(&mut self, record: &ProcessRecord) {
        self.processes.executed(record.pid);
        if self.is_known(&record.file) {
            return;
        }
        if let Ok(Some((file, path))) = process::executable(record.pid) {
            self.images.cover(&mut self.programs, &file, &path);
            self.remember(&record.file);
        }
    }

    fn mapped(&mut self, record: &ProcessRecord) {
        if self.is_known(&record.file) {
            return;
        }
        let files = maps::mapped_files(record.pid).unwrap_or_default();
        let place = |file: &&maps::MappedFile| file.addresses.contains(&record.address);
        if let Some(file) = files.iter().find(place)
            && self.cover(record.pid, file)
        {
            self.remember(&record.file);
        }
    }

    fn exited(&mut self, pid: u32, sink: &mut dyn FnMut(Event<'_>)) {
        self.processes.exited(pid);
        for (id, key) in self.connections.of_process(pid) {
            let Some(connection) = self.take_connection(&key).filter(|c| c.id == id) else {
                continue;
            };
            self.count(&connection);
            let end = closing(&connection);
            self.connections.close(id, &end, clock::boot_time(), sink);
        }
    }

    /// Removes a connection from the kernel half.
    fn take_connection(&mut self, key: &Key) -> Option<Connection> {
        let key = bytes(key);
        let value = self.maps.connections.get(&key, 0).ok()?;
        let _ = self.maps.connections.remove(&key);
        Connection::read_from_bytes(&value).ok()
    }

    fn is_known(&self, file: &FileId) -> bool {
        self.maps.files.get(&bytes(file), 0).is_ok()
    }

    fn remember(&mut self, file: &FileId) {
        // Where it fails, the file is looked at again.
        let _ = self.maps.files.insert(bytes(file), 1, 0);
    }
}

impl fmt::Debug for Sensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sensor")
            .field("images", &self.images)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// A key as a map takes it.
fn bytes<T: IntoBytes + zerocopy::Immutable, const N: usize>(key: &T) -> [u8; N] {
    let mut bytes = [0; N];
    key.write_to(&mut bytes)
        .expect("invariant: the size of the map's key");
    bytes
}

fn closing(connection: &Connection) -> Closing {
    Closing {
        position: connection.position,
        cut: connection.cut,
        refused: connection.refused,
        unreadable: connection.unreadable,
    }
}

fn origin(opening: &Opening, processes: &mut Processes, images: &Images) -> Origin {
    let library = if opening.key.pid == 0 {
        Some("none".into())
    } else {
        processes.library(opening.pid, opening.instruction, images)
    };
    let identity = processes.identity(opening.pid);
    let addresses = record::addresses(&opening.socket);
    Origin {
        pid: Some(opening.pid),
        tid: Some(opening.tid),
        // A process may be gone before anyone could ask who it was.
        comm: identity.comm.clone().or_else(|| thread_name(opening)),
        exe: identity.exe.clone(),
        tls: library.map(|name| String::from(name).into()),
        local: addresses.map(|(local, _)| local),
        peer: addresses.map(|(_, peer)| peer),
        ..Origin::default()
    }
}

/// In most programs the thread that speaks bears the process's name.
fn thread_name(opening: &Opening) -> Option<Box<str>> {
    let name = opening.comm.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into())
}

fn server_name(name: &[u8]) -> Origin {
    Origin {
        sni: Some(String::from_utf8_lossy(name).into()),
        ..Origin::default()
    }
}
