//! Maps of the kernel half, with the types of what they hold.
//!
//! In: keys. Out: values. Must not know: what they are wanted for.

use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use llmtap_common::conn::{Connection, Key};
use llmtap_common::filter;
use llmtap_common::idle::Watched;
use llmtap_common::layout::FileId;
use llmtap_common::loss::{Counters, Place};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::ProbeError;
use super::load::Programs;
use crate::event::Verdict;

/// Connections that the kernel half follows, and what is thought of them.
pub struct Connections {
    by_key: HashMap<MapData, [u8; size_of::<Key>()], [u8; size_of::<Connection>()]>,
    verdicts: Array<MapData, u64>,
}

impl Connections {
    pub fn of(programs: &mut Programs) -> Result<Self, ProbeError> {
        Ok(Self {
            by_key: programs.map("CONNECTIONS")?,
            verdicts: programs.map("VERDICTS")?,
        })
    }

    /// Removes a connection.
    pub fn take(&mut self, key: &Key) -> Option<Connection> {
        let key = bytes(key);
        let value = self.by_key.get(&key, 0).ok()?;
        let _ = self.by_key.remove(&key);
        Connection::read_from_bytes(&value).ok()
    }

    pub fn iter(&self) -> impl Iterator<Item = Connection> {
        let entries = self.by_key.iter().flatten();
        entries.filter_map(|(_, value)| Connection::read_from_bytes(&value).ok())
    }

    /// `id`: as the kernel half names the connection.
    pub fn decide(&mut self, id: u64, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Undecided => filter::UNDECIDED,
            Verdict::Wanted => filter::WANTED,
            Verdict::HeadsAndPosts => filter::HEADS_AND_POSTS,
            Verdict::HeadsOnly => filter::HEADS_ONLY,
            Verdict::Unwanted => filter::UNWANTED,
        };
        let entry = filter::entry(id, verdict);
        // Where it fails, too much is delivered, which is not wrong.
        let _ = self.verdicts.set(filter::slot(id), entry, 0);
    }
}

/// Files that were looked at.
pub struct Files(HashMap<MapData, [u8; size_of::<FileId>()], u8>);

impl Files {
    pub fn of(programs: &mut Programs) -> Result<Self, ProbeError> {
        programs.map("FILES").map(Self)
    }

    pub fn has(&self, file: &FileId) -> bool {
        self.0.get(&bytes(file), 0).is_ok()
    }

    pub fn add(&mut self, file: &FileId) {
        // Where it fails, the file is looked at again.
        let _ = self.0.insert(bytes(file), 1, 0);
    }

    pub fn forget_all(&mut self) {
        let all: Vec<_> = self.0.keys().flatten().collect();
        for file in &all {
            let _ = self.0.remove(file);
        }
    }
}

/// Processes that make no calls, as far as the kernel half looks at them for that.
pub struct WatchedProcesses {
    by_pid: HashMap<MapData, u32, [u8; size_of::<Watched>()]>,
    /// Whether there are any.
    any: Array<MapData, u64>,
}

impl WatchedProcesses {
    pub fn of(programs: &mut Programs) -> Result<Self, ProbeError> {
        Ok(Self {
            by_pid: programs.map("WATCHED")?,
            any: programs.map("WATCHING")?,
        })
    }

    /// Whether there was room.
    pub fn set(&mut self, pid: u32, watched: &Watched) -> bool {
        // Once on, it stays on: what it saves is for hosts without such processes.
        self.any.set(0, 1, 0).is_ok() && self.by_pid.insert(pid, bytes(watched), 0).is_ok()
    }

    pub fn forget(&mut self, pid: u32) {
        let _ = self.by_pid.remove(&pid);
    }
}

/// What the kernel half could not deliver.
pub struct Losses(PerCpuArray<MapData, [u8; size_of::<Counters>()]>);

impl Losses {
    pub fn of(programs: &mut Programs) -> Result<Self, ProbeError> {
        programs.map("COUNTERS").map(Self)
    }

    /// Over all processors.
    pub fn sum(&self) -> Counters {
        let mut sum = Counters::default();
        for bytes in self.0.get(&0, 0).iter().flat_map(|v| v.iter()) {
            let Ok(counters) = Counters::read_from_bytes(bytes) else {
                continue;
            };
            sum.facts = sum.facts.saturating_add(counters.facts);
            sum.untracked = sum.untracked.saturating_add(counters.untracked);
            sum.processes = sum.processes.saturating_add(counters.processes);
        }
        sum
    }
}

/// Calls that fitted no function that is probed, by place.
pub struct Misfits(HashMap<MapData, [u8; size_of::<Place>()], u64>);

impl Misfits {
    pub fn of(programs: &mut Programs) -> Result<Self, ProbeError> {
        programs.map("MISFITS").map(Self)
    }

    /// What came since the last time; there is hardly ever anything.
    pub fn take(&mut self) -> Vec<(Place, u64)> {
        let all: Vec<_> = self.0.iter().flatten().collect();
        for (key, _) in &all {
            let _ = self.0.remove(key);
        }
        let place =
            |(key, count): ([u8; _], u64)| Some((Place::read_from_bytes(&key).ok()?, count));
        all.into_iter().filter_map(place).collect()
    }
}

/// A key as a map takes it.
#[expect(clippy::expect_used, reason = "the sizes are constants")]
fn bytes<T: IntoBytes + Immutable, const N: usize>(key: &T) -> [u8; N] {
    let mut bytes = [0; N];
    key.write_to(&mut bytes)
        .expect("invariant: the size of the map's key");
    bytes
}
