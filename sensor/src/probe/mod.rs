//! Live probes.
//!
//! In: [`HookPlan`](crate::discover::HookPlan)s. Out: [`Event`]s. Must not know: HTTP;
//! what a payload means.
//!
//! Everything attached belongs to file descriptors of this process, so that nothing stays
//! behind however it ends.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::time::Duration;

use aya::maps::{Array, MapData, MapError, RingBuf};
use aya::programs::ProgramError;
use llmtap_common::filter;
use llmtap_common::layout::FileId;
use llmtap_common::record::{Opening, ProcessRecord, process as happened};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zerocopy::IntoBytes;

use crate::event::{ConnectionId, Event, Origin, Verdict};
use crate::time::{ClockOffset, Timestamp};

mod attach;
mod btf;
mod connections;
mod load;
mod process;
mod record;

pub use attach::{Image, ImageId};

use attach::Images;
use connections::Connections;
use load::Programs;
use process::Identity;
use record::Record;

/// What to trace.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the ring for traffic; a power of two, at least 1 MiB.
    pub ring_bytes: u32,
    /// Bytes of one direction that are delivered before the other one has its turn; beyond,
    /// only the end of each call is.
    pub turn_limit: u64,
    pub pids: Pids,
}

/// Which processes. This one is never traced.
#[derive(Clone, Debug, Default)]
pub enum Pids {
    #[default]
    Every,
    Except(Vec<u32>),
    Only(Vec<u32>),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_bytes: 64 << 20,
            turn_limit: 16 << 20,
            pids: Pids::Every,
        }
    }
}

/// Why probes can't be set.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("this binary was built without its eBPF object; build it with `cargo xtask build`")]
    NoObject,
    #[error("the eBPF object lacks `{0}`; user half and kernel half are of different builds")]
    Object(&'static str),
    #[error("cannot load the eBPF object")]
    Load(#[source] Box<aya::EbpfError>),
    #[error("the kernel rejects the program `{program}`")]
    Program {
        program: &'static str,
        #[source]
        source: Box<ProgramError>,
    },
    #[error("cannot attach to the tracepoint `{tracepoint}`")]
    Tracepoint {
        tracepoint: &'static str,
        #[source]
        source: ProgramError,
    },
    #[error("cannot attach `{program}` at offset {offset:#x}")]
    Attach {
        program: &'static str,
        offset: u64,
        #[source]
        source: Box<ProgramError>,
    },
    #[error("cannot use the map `{map}`")]
    Map {
        map: &'static str,
        #[source]
        source: MapError,
    },
    #[error("cannot wait for records")]
    Wait(#[source] rustix::io::Errno),
}

/// Probes on everything that runs and will run, until it is dropped.
pub struct Sensor {
    programs: Programs,
    images: Images,
    events: RingBuf<MapData>,
    processes: RingBuf<MapData>,
    verdicts: Array<MapData, u64>,
    files: aya::maps::HashMap<MapData, [u8; 32], u8>,
    connections: Connections,
    identities: HashMap<u32, Identity>,
    /// Processes that are gone, but may have records left.
    gone: Vec<u32>,
}

/// What `llmtap doctor` tells.
#[derive(Debug)]
pub struct Status<'a> {
    pub images: Vec<&'a Image>,
    /// Connections followed at this moment.
    pub connections: usize,
    /// Bytes lost, as told by events.
    pub lost_bytes: u64,
    /// Whether sockets and new files can be followed, which needs the kernel's types.
    pub sockets: bool,
}

impl std::fmt::Debug for Sensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sensor")
            .field("images", &self.images)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// Records handled before processes are looked at again: a new one is in a hurry.
const BATCH: usize = 256;
/// Processes whose names are remembered.
const MAX_IDENTITIES: usize = 1 << 16;

impl Sensor {
    /// Loads and attaches. When it returns, all that runs at this moment is covered.
    pub fn start(options: &Options) -> Result<Self, ProbeError> {
        let mut programs = Programs::load(options)?;
        let mut sensor = Self {
            images: Images::default(),
            events: programs.map("EVENTS")?,
            processes: programs.map("PROCESSES")?,
            verdicts: programs.map("VERDICTS")?,
            files: programs.map("FILES")?,
            connections: Connections::default(),
            identities: HashMap::new(),
            gone: vec![],
            programs,
        };
        // First the news, then the present: nothing falls between.
        sensor.programs.attach_tracepoints()?;
        sensor.scan();
        Ok(sensor)
    }

    /// Covers the files of every process.
    fn scan(&mut self) {
        let mut seen = HashSet::new();
        for pid in process::all() {
            for mapping in process::mappings(pid) {
                if seen.contains(&mapping.file) {
                    continue;
                }
                if let Ok(file) = mapping.open(pid) {
                    self.images.cover(&mut self.programs, &file, &mapping.path);
                    seen.insert(mapping.file);
                }
            }
        }
    }

    /// Waits until there is much to read, a process needs attention, or `timeout` is over.
    /// Less traffic than that wakes nobody: call [`Self::drain`] after every wait.
    pub fn wait(&self, timeout: Duration) -> Result<(), ProbeError> {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut fds = [
            PollFd::from_borrowed_fd(self.processes.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.events.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(ProbeError::Wait(error)),
        }
    }

    /// Hands on what has come.
    pub fn drain(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        loop {
            self.drain_processes();
            if self.drain_events(BATCH, sink) < BATCH {
                break;
            }
        }
        let now = boot_time();
        for pid in std::mem::take(&mut self.gone) {
            self.connections.exit(pid, now, sink);
            self.identities.remove(&pid);
        }
    }

    /// What is attached, and what was lost.
    pub fn status(&self) -> Status<'_> {
        Status {
            images: self.images.iter().collect(),
            connections: self.connections.len(),
            lost_bytes: self.connections.lost(),
            sockets: self.programs.layout,
        }
    }

    /// What may be left out of a connection from now on.
    pub fn set_verdict(&mut self, connection: ConnectionId, verdict: Verdict) {
        let Some(id) = self.connections.kernel_id(connection) else {
            return;
        };
        let verdict = match verdict {
            Verdict::Undecided => filter::UNDECIDED,
            Verdict::Wanted => filter::WANTED,
            Verdict::HeadsOnly => filter::HEADS_ONLY,
            Verdict::Unwanted => filter::UNWANTED,
        };
        // Where it fails, too much is delivered, which is not wrong.
        let _ = self
            .verdicts
            .set(filter::slot(id), filter::entry(id, verdict), 0);
    }

    fn drain_events(&mut self, at_most: usize, sink: &mut dyn FnMut(Event<'_>)) -> usize {
        let Self {
            events,
            connections,
            identities,
            images,
            ..
        } = self;
        for done in 0..at_most {
            let Some(item) = events.next() else {
                return done;
            };
            let Some((header, record)) = record::parse(&item) else {
                continue;
            };
            match record {
                Record::Data(bytes) => connections.data(&header, bytes, sink),
                Record::Open(opening) => {
                    let origin = origin(&opening, identities, images);
                    connections.open(&header, opening.key, origin, sink);
                }
                Record::Close(closing) => connections.close(&header, &closing, sink),
                Record::ServerName(name) => {
                    connections.update(&header, server_name(name), sink);
                }
            }
        }
        at_most
    }

    fn drain_processes(&mut self) {
        while let Some(record) = self
            .processes
            .next()
            .and_then(|item| record::parse_process(&item))
        {
            match record.kind {
                happened::EXEC => self.executed(&record),
                happened::MAP => self.mapped(&record),
                _ => self.gone.push(record.pid),
            }
        }
    }

    fn executed(&mut self, record: &ProcessRecord) {
        if self.identities.len() < MAX_IDENTITIES {
            let identity = process::identity(record.pid);
            self.identities.insert(record.pid, identity);
        }
        if self.is_known(&record.file) {
            return;
        }
        if let Ok((file, path)) = process::executable(record.pid) {
            self.images.cover(&mut self.programs, &file, &path);
            self.remember(&record.file);
        }
    }

    fn mapped(&mut self, record: &ProcessRecord) {
        if self.is_known(&record.file) {
            return;
        }
        let mapping = process::mappings(record.pid)
            .into_iter()
            .find(|m| (m.start..m.end).contains(&record.address));
        let Some(mapping) = mapping else { return };
        if let Ok(file) = mapping.open(record.pid) {
            self.images.cover(&mut self.programs, &file, &mapping.path);
            self.remember(&record.file);
        }
    }

    fn is_known(&self, file: &FileId) -> bool {
        self.files.get(&key(file), 0).is_ok()
    }

    fn remember(&mut self, file: &FileId) {
        // Where it fails, the file is looked at again.
        let _ = self.files.insert(key(file), 1, 0);
    }
}

fn key(file: &FileId) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(file.as_bytes());
    key
}

fn origin(opening: &Opening, identities: &mut HashMap<u32, Identity>, _images: &Images) -> Origin {
    let identity = identities
        .entry(opening.pid)
        .or_insert_with(|| process::identity(opening.pid));
    let addresses = record::addresses(&opening.socket);
    Origin {
        pid: Some(opening.pid),
        tid: Some(opening.tid),
        comm: identity.comm.clone(),
        exe: identity.exe.clone(),
        tls: Some(
            if opening.key.pid == 0 {
                "none"
            } else {
                "openssl"
            }
            .into(),
        ),
        local: addresses.map(|(local, _)| local),
        peer: addresses.map(|(_, peer)| peer),
        ..Origin::default()
    }
}

fn server_name(name: &[u8]) -> Origin {
    Origin {
        sni: Some(String::from_utf8_lossy(name).into()),
        ..Origin::default()
    }
}

/// Nanoseconds since boot.
fn boot_time() -> u64 {
    nanoseconds(rustix::time::ClockId::Boottime)
}

/// This moment by the clock that stamps events.
pub fn now() -> Timestamp {
    Timestamp::from_nanos(boot_time())
}

/// What to add to the time of an event for Unix time, as of now.
pub fn clock_offset() -> ClockOffset {
    let unix = nanoseconds(rustix::time::ClockId::Realtime);
    let offset = unix.cast_signed().saturating_sub(boot_time().cast_signed());
    ClockOffset::from_nanos(offset)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
