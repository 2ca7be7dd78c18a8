//! Takes probes out of processes that make no calls, and sets them again.
//!
//! In: what processes do. Out: probes in some of them, [`News`]. Must not know: what a
//! payload means; what makes a process worth it, which [`Idle`] knows.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use llmtap_common::idle::{RELEASED, Watched};
use llmtap_common::record::{ProcessRecord, process as happened};

use super::attach::{ImageId, Images};
use super::hooked::{self, Hooked};
use super::idle::{Idle, Report, Step};
use super::load::Programs;
use super::reach::{Admission, MAX_EACH};
use super::tables::{Files, WatchedProcesses};
use super::watch::News;
use super::{Pids, ProbeError, clock, process};

/// Who is released.
pub struct Release {
    idle: Idle,
    kernel: WatchedProcesses,
    /// The number of each process that is watched, which names what is known of its peers.
    serials: HashMap<u32, u64>,
    serial: u64,
    /// The files that each was released from.
    released: HashMap<u32, HashSet<ImageId>>,
    pids: Pids,
}

/// What there is to be done to, and who is to know.
pub struct Field<'a> {
    pub programs: &'a mut Programs,
    pub images: &'a Images,
    pub files: &'a mut Files,
    pub news: &'a SyncSender<News>,
}

/// A file with processes that leave it, and those that stay.
struct Parting {
    hooked: Hooked,
    leaving: HashSet<u32>,
    staying: HashSet<u32>,
}

impl Release {
    /// `after`: how long a process makes no calls until it is released.
    pub fn new(programs: &mut Programs, pids: Pids, after: Duration) -> Result<Self, ProbeError> {
        let span = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self {
            idle: Idle::new(span, clock::boot_time()),
            kernel: WatchedProcesses::of(programs)?,
            serials: HashMap::new(),
            serial: 0,
            released: HashMap::new(),
            pids,
        })
    }

    /// Acts on what became known of processes.
    pub fn look(&mut self, report: Report, field: &mut Field<'_>) {
        self.bury(field);
        let mut wanted = HashSet::new();
        for step in self.idle.look(clock::boot_time(), report) {
            match step {
                Step::Watch(pid) => self.watch(pid),
                Step::Forget(pid) => self.forget(pid),
                Step::TakeBack(pid) => self.take_back(pid, field),
                Step::Release(pid) => {
                    wanted.insert(pid);
                }
            }
        }
        if !wanted.is_empty() {
            self.release(&wanted, field);
            self.settle(field);
        }
    }

    /// Acts on what a process did.
    pub fn happened(&mut self, record: &ProcessRecord, field: &mut Field<'_>) {
        match record.kind {
            happened::EXEC | happened::EXIT => self.gone(record.pid, field),
            happened::CONNECT => self.connected(record.pid, field),
            happened::FORK => {
                let parent = u32::try_from(record.address).unwrap_or(0);
                self.forked(record.pid, parent, field);
            }
            _ => {}
        }
    }

    /// A process connects to somebody new.
    fn connected(&mut self, pid: u32, field: &mut Field<'_>) {
        if let Some(Step::TakeBack(pid)) = self.idle.connected(pid, clock::boot_time()) {
            self.take_back(pid, field);
            self.settle(field);
        }
    }

    /// A process maps a file. Whether every process that does has to be told of.
    pub fn mapped(&mut self, pid: u32, id: ImageId, field: &mut Field<'_>) -> bool {
        if !self.pids.want(pid) {
            return field.images.is_narrowed(id);
        }
        match field.images.admit(field.programs, id, pid) {
            Admission::Needless => false,
            Admission::Done => true,
            Admission::Refused => {
                self.give_up(id, field);
                false
            }
        }
    }

    /// `child` maps whatever its parent does.
    fn forked(&mut self, child: u32, parent: u32, field: &mut Field<'_>) {
        for id in field.images.narrowed_of(parent) {
            self.mapped(child, id, field);
        }
    }

    /// A process has ended, or runs another program.
    fn gone(&mut self, pid: u32, field: &mut Field<'_>) {
        self.idle.gone(pid);
        self.forget(pid);
        self.released.remove(&pid);
        for id in field.images.narrowed_of(pid) {
            field.images.part(field.programs, id, pid);
        }
        self.settle(field);
    }

    /// Of some the end may not have been told.
    fn bury(&mut self, field: &mut Field<'_>) {
        let users = field.images.narrowed_users().into_iter();
        let known: HashSet<u32> = users.chain(self.serials.keys().copied()).collect();
        for pid in known.into_iter().filter(|pid| !process::exists(*pid)) {
            self.gone(pid, field);
        }
    }

    fn watch(&mut self, pid: u32) {
        self.serial = self.serial.saturating_add(1);
        let watched = Watched {
            serial: self.serial,
            since: 0,
        };
        // One that can't be watched is never released.
        if self.kernel.set(pid, &watched) {
            self.serials.insert(pid, self.serial);
        }
    }

    fn forget(&mut self, pid: u32) {
        if self.serials.remove(&pid).is_some() {
            self.kernel.forget(pid);
        }
    }

    /// Says since when what a process began is known as a whole. Whether it is watched.
    fn trust(&mut self, pid: u32, since: u64) -> bool {
        let serial = self.serials.get(&pid).copied();
        serial.is_some_and(|serial| self.kernel.set(pid, &Watched { serial, since }))
    }

    fn release(&mut self, wanted: &HashSet<u32>, field: &mut Field<'_>) {
        let partings = self.partings(wanted, field).unwrap_or_default();
        let released = self.part(partings, field);
        for pid in wanted {
            if released.contains(pid) {
                let _ = field.news.try_send(News::Released(*pid));
            } else {
                self.idle.refused(*pid, clock::boot_time());
                self.restore(*pid, field);
            }
        }
    }

    /// What it takes to release these processes, as far as that can be.
    fn partings(&self, wanted: &HashSet<u32>, field: &mut Field<'_>) -> io::Result<Vec<Parting>> {
        // From now on whoever maps a file says so, and is no user that is not found below.
        let forks = field.programs.report_forks(true);
        forks.map_err(io::Error::other)?;
        field.files.forget_all();
        let mut partings: HashMap<ImageId, Parting> = HashMap::new();
        for pid in wanted.iter().filter(|pid| self.serials.contains_key(pid)) {
            for hooked in hooked::of_process(field.images, *pid).unwrap_or_default() {
                let parting = partings.entry(hooked.id);
                let parting = parting.or_insert_with(|| Parting::from(hooked));
                parting.leaving.insert(*pid);
            }
        }
        let users = hooked::users(partings.keys().copied(), &self.pids)?;
        for (id, parting) in &mut partings {
            let users = users.get(id).into_iter().flatten().copied();
            parting.staying = users.filter(|pid| !parting.leaving.contains(pid)).collect();
        }
        let mut partings: Vec<Parting> = partings.into_values().collect();
        // Who can't leave one file leaves none.
        let bound = partings.iter().filter(|p| !p.can_be(field.images));
        let bound: HashSet<u32> = bound.flat_map(|p| &p.leaving).copied().collect();
        for parting in &mut partings {
            let staying = parting.leaving.extract_if(|pid| bound.contains(pid));
            parting.staying.extend(staying);
        }
        partings.retain(|parting| !parting.leaving.is_empty());
        Ok(partings)
    }

    /// Takes processes out of files, and says for whom all went well.
    fn part(&mut self, partings: Vec<Parting>, field: &mut Field<'_>) -> HashSet<u32> {
        let leaving = partings.iter().flat_map(|parting| &parting.leaving);
        let mut released: HashSet<u32> = leaving.copied().collect();
        // First, so that no call is waited for whose return comes unseen.
        released.retain(|pid| self.trust(*pid, RELEASED));
        for parting in partings {
            let Parting {
                hooked,
                leaving,
                staying,
            } = parting;
            for pid in &leaving {
                self.released.entry(*pid).or_default().insert(hooked.id);
            }
            let images = field.images;
            if !images.narrow(field.programs, &hooked, &leaving, &staying) {
                released.retain(|pid| !leaving.contains(pid));
            }
        }
        released
    }

    fn take_back(&mut self, pid: u32, field: &mut Field<'_>) {
        if self.restore(pid, field) {
            let _ = field.news.try_send(News::TakenBack(pid));
        }
    }

    /// Sets the probes of a process again. Whether it was released.
    fn restore(&mut self, pid: u32, field: &mut Field<'_>) -> bool {
        let Some(files) = self.released.remove(&pid) else {
            return false;
        };
        for id in files {
            if field.images.restore(field.programs, id, pid) == Admission::Refused {
                self.give_up(id, field);
            }
        }
        // What began before the last probe was set may lack something.
        self.trust(pid, clock::boot_time());
        true
    }

    /// Sets the probes of a file in all processes again.
    fn give_up(&mut self, id: ImageId, field: &mut Field<'_>) {
        field.images.widen(field.programs, id);
        let released = self
            .released
            .iter()
            .filter(|(_, files)| files.contains(&id));
        let pids: Vec<u32> = released.map(|(pid, _)| *pid).collect();
        for pid in pids {
            self.idle.refused(pid, clock::boot_time());
            self.take_back(pid, field);
        }
    }

    /// Where nobody is released from anything, forks are of no interest.
    fn settle(&mut self, field: &mut Field<'_>) {
        if !field.images.any_narrowed() {
            // Where it fails, too much is reported.
            let _ = field.programs.report_forks(false);
        }
    }
}

impl From<Hooked> for Parting {
    fn from(hooked: Hooked) -> Self {
        Self {
            hooked,
            leaving: HashSet::new(),
            staying: HashSet::new(),
        }
    }
}

impl Parting {
    fn can_be(&self, images: &Images) -> bool {
        images.is_narrowed(self.hooked.id)
            || self.staying.is_empty()
            || (self.staying.len() <= MAX_EACH && self.hooked.may_be_doubled())
    }
}

#[cfg(test)]
mod tests {
    use llmtap_common::conn::{began_before, id};

    #[test]
    fn a_connection_is_known_by_when_it_began() {
        for now in [1 << 20, 1 << 55, (1 << 56) - 1, 1 << 56, u64::MAX - 1] {
            for processor in [0, 1, 255, 1000] {
                let connection = id(now, processor);
                assert!(began_before(connection, now + 1), "{now}");
                assert!(!began_before(connection, now), "{now}");
                assert!(!began_before(connection, now - 1), "{now}");
            }
        }
    }
}
