//! Processes that come and go: probes for the files they bring, and their names while these
//! can be read.
//!
//! In: the ring for processes. Out: probes, [`News`]. Must not know: traffic.
//!
//! A process that has just started is in a hurry, and whoever makes calls of records may be
//! busy for long. So this is a thread of its own. What remains of the way from a mapping to
//! its probes is one grace period of the kernel, some 4 to 20 ms, which the first probe
//! waits for, and with it all that are set within the next 30 ms.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use llmtap_common::record::{ProcessRecord, process as happened};

use super::aside::{Aside, Open};
use super::attach::{Images, identify};
use super::idle::Report;
use super::load::Programs;
use super::process::{self, Identity};
use super::release::{Field, Release};
use super::spool::{self, hasten};
use super::tables::{Files, Losses};
use super::{Options, Pids, ProbeError, record};
use crate::discover::maps;

/// How long news may lie in the ring, if nothing wakes its reader earlier.
const LATENCY: Duration = Duration::from_millis(10);
/// Records in one go from which on some may have been lost.
const FLOOD: usize = 4096;
/// How often what was found is written down.
const SAVING: Duration = Duration::from_secs(60);
/// Processes looked at in one go of a [`Sweep`], which is some milliseconds: others may be in a
/// hurry.
const STRIDE: usize = 8;
/// News that wait to be taken; what is beyond is forgotten, and only names suffer.
const WAITING: usize = 1 << 16;

/// What became of a process.
#[derive(Debug)]
pub enum News {
    /// It runs another program.
    Executed(u32, Identity),
    Exited(u32),
    /// It has no probes now.
    Released(u32),
    /// It has them again.
    TakenBack(u32),
}

/// Who sets probes.
pub struct Coverage {
    programs: Programs,
    images: Arc<Images>,
    ring: RingBuf<MapData>,
    files: Files,
    losses: Arc<Losses>,
    /// Records lost when all processes were last looked at.
    lost: u64,
    /// When findings were last written down.
    saved: Instant,
    /// `None` at the start, which waits for everything.
    aside: Option<Aside>,
    pids: Pids,
    /// `None`: nobody is ever released.
    release: Option<Release>,
    news: SyncSender<News>,
    sweep: Option<Sweep>,
    /// When the last one began, and the time between two.
    swept: Instant,
    sweep_every: Duration,
}

/// Files by device and inode.
type Seen = HashSet<(maps::Device, u64)>;

/// A look at all processes, a few at a time: which files are still mapped.
struct Sweep {
    left: std::vec::IntoIter<u32>,
    seen: Seen,
}

impl Coverage {
    pub fn new(
        mut programs: Programs,
        losses: Arc<Losses>,
        images: Images,
        options: &Options,
    ) -> Result<(Self, Receiver<News>), ProbeError> {
        let after = options.release_idle.filter(|_| programs.by_process());
        let pids = || options.pids.clone();
        let release = after.map(|after| Release::new(&mut programs, pids(), after));
        let (sender, news) = sync_channel(WAITING);
        let coverage = Self {
            ring: programs.map("PROCESSES")?,
            files: Files::of(&mut programs)?,
            images: Arc::new(images),
            losses,
            lost: 0,
            saved: Instant::now(),
            aside: None,
            pids: pids(),
            release: release.transpose()?,
            news: sender,
            sweep: None,
            swept: Instant::now(),
            sweep_every: options.sweep_every,
            programs,
        };
        Ok((coverage, news))
    }

    /// Covers what runs, and what the next process is likely to map.
    pub fn begin(&mut self) -> Result<(), ProbeError> {
        // First the news, then the present: nothing falls between.
        self.programs.attach_tracepoints()?;
        self.scan();
        self.cover_usual();
        self.images.save_findings();
        self.aside = Some(Aside::start(Arc::clone(&self.images)).map_err(ProbeError::Thread)?);
        Ok(())
    }

    /// Takes all probes away.
    pub fn end(mut self) {
        self.images.detach();
        self.programs.detach_tracepoints();
        self.images.save_findings();
    }

    /// Covers the files of all processes.
    fn scan(&mut self) {
        let mut seen = Seen::new();
        for pid in self.traced() {
            self.cover_process(pid, &mut seen);
        }
    }

    fn traced(&self) -> Vec<u32> {
        match &self.pids {
            Pids::Only(pids) => pids.clone(),
            Pids::Every | Pids::Except(_) => process::all().collect(),
        }
    }

    fn cover_process(&mut self, pid: u32, seen: &mut Seen) {
        for file in maps::mapped_files(pid).unwrap_or_default() {
            if !seen.contains(&(file.device, file.inode)) && self.cover(pid, &file) {
                seen.insert((file.device, file.inode));
            }
        }
    }

    fn cover_usual(&mut self) {
        for path in maps::usual_libraries() {
            if let Ok(Some(file)) = maps::open_regular(&path) {
                self.images.cover(&mut self.programs, &file, &path);
            }
        }
    }

    /// Whether the file could be looked at, and whoever else maps it needs no look.
    fn cover(&mut self, pid: u32, mapped: &maps::MappedFile) -> bool {
        match mapped.open(pid) {
            Ok(Some(file)) => self.cover_for(pid, file, mapped.path.clone()),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Covers a file that a process maps. Whether whoever else maps it needs no look.
    fn cover_for(&mut self, pid: u32, file: File, path: PathBuf) -> bool {
        let id = identify(&file);
        self.cover_file(file, path);
        let (Ok((id, _)), Some((release, mut field))) = (id, self.release()) else {
            return true;
        };
        !release.mapped(pid, id, &mut field)
    }

    /// Who takes probes out of processes, and out of what.
    fn release(&mut self) -> Option<(&mut Release, Field<'_>)> {
        let field = Field {
            programs: &mut self.programs,
            images: &self.images,
            files: &mut self.files,
            news: &self.news,
        };
        Some((self.release.as_mut()?, field))
    }

    /// Covers a file, at once or when it was looked at.
    fn cover_file(&mut self, file: File, path: PathBuf) {
        let open = Open { file, path };
        let refused = match &self.aside {
            Some(aside) if self.images.takes_a_while(&open.file) => aside.take(open),
            _ => Err(open),
        };
        if let Err(Open { file, path }) = refused {
            self.images.cover(&mut self.programs, &file, &path);
        }
    }

    /// Covers what was looked at aside.
    fn take_back(&mut self) {
        let known: Vec<Open> = self.aside.iter().flat_map(Aside::done).collect();
        for Open { file, path } in known {
            self.images.cover(&mut self.programs, &file, &path);
        }
    }

    /// Handles what has come, and says how much that was.
    fn drain(&mut self) -> usize {
        let mut handled: usize = 0;
        loop {
            let next = self.ring.next();
            let Some(record) = next.map(|item| record::parse_process(&item)) else {
                return handled;
            };
            handled = handled.saturating_add(1);
            if let Some(record) = record {
                self.happened(&record);
            }
        }
    }

    fn happened(&mut self, record: &ProcessRecord) {
        if let Some((release, mut field)) = self.release() {
            release.happened(record, &mut field);
        }
        match record.kind {
            happened::EXEC => {
                let identity = process::identity(record.pid);
                let _ = self.news.try_send(News::Executed(record.pid, identity));
                self.executed(record);
            }
            happened::MAP => self.mapped(record),
            happened::EXIT => {
                let _ = self.news.try_send(News::Exited(record.pid));
            }
            _ => {}
        }
    }

    fn executed(&mut self, record: &ProcessRecord) {
        if self.files.has(&record.file) {
            return;
        }
        if let Ok(Some((file, path))) = process::executable(record.pid)
            && self.cover_for(record.pid, file, path)
        {
            self.files.add(&record.file);
        }
    }

    fn mapped(&mut self, record: &ProcessRecord) {
        if self.files.has(&record.file) {
            return;
        }
        let files = maps::mapped_files(record.pid).unwrap_or_default();
        let place = |file: &&maps::MappedFile| file.addresses.contains(&record.address);
        if let Some(file) = files.iter().find(place)
            && self.cover(record.pid, file)
        {
            self.files.add(&record.file);
        }
    }

    /// When nothing is in a hurry.
    fn rest(&mut self) {
        if self.saved.elapsed() > SAVING {
            self.images.save_findings();
            self.saved = Instant::now();
        }
        match self.sweep.take() {
            Some(sweep) => self.sweep_on(sweep),
            None if self.swept.elapsed() > self.sweep_every => {
                self.swept = Instant::now();
                // Whoever maps a file from now on says so.
                self.files.forget_all();
                self.sweep = Some(Sweep {
                    left: self.traced().into_iter(),
                    seen: Seen::new(),
                });
            }
            None => {}
        }
    }

    fn sweep_on(&mut self, mut sweep: Sweep) {
        for pid in sweep.left.by_ref().take(STRIDE) {
            self.cover_process(pid, &mut sweep.seen);
        }
        if sweep.left.len() > 0 {
            self.sweep = Some(sweep);
            return;
        }
        self.cover_usual();
        self.images.swept();
    }

    /// After a flood of records all processes are looked at again, if some were lost.
    fn recover(&mut self) {
        let lost = self.losses.sum().processes;
        if lost > self.lost {
            self.lost = lost;
            self.scan();
        }
    }
}

/// A [`Coverage`] at work.
#[derive(Debug)]
pub struct Watch {
    images: Arc<Images>,
    news: Receiver<News>,
    reports: SyncSender<Report>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Coverage>>,
}

impl Watch {
    pub fn start(mut coverage: Coverage, news: Receiver<News>) -> io::Result<Self> {
        let (reports, reported) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let (images, stopped) = (Arc::clone(&coverage.images), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name("llmtap-watch".to_owned())
            .spawn(move || {
                hasten();
                while !stopped.load(Ordering::Acquire) {
                    coverage.take_back();
                    match coverage.drain() {
                        0 => coverage.rest(),
                        1..FLOOD => {}
                        _ => coverage.recover(),
                    }
                    if let (Ok(report), Some((release, mut field))) =
                        (reported.try_recv(), coverage.release())
                    {
                        release.look(report, &mut field);
                    }
                    if spool::wait(&[coverage.ring.as_fd()], LATENCY).is_err() {
                        thread::sleep(LATENCY);
                    }
                }
                coverage
            })?;
        Ok(Self {
            images,
            news,
            reports,
            stop,
            thread: Some(thread),
        })
    }

    pub fn images(&self) -> &Images {
        &self.images
    }

    /// What has happened since the last time, in order.
    pub fn news(&self) -> impl Iterator<Item = News> {
        self.news.try_iter()
    }

    /// Says what became known of processes, or gives it back where there is no time for it.
    pub fn report(&self, report: Report) -> Result<(), Report> {
        self.reports
            .try_send(report)
            .map_err(|refused| match refused {
                TrySendError::Full(report) | TrySendError::Disconnected(report) => report,
            })
    }

    /// Takes all probes away.
    pub fn finish(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A panic there was reported there.
        if let Some(Ok(coverage)) = self.thread.take().map(JoinHandle::join) {
            coverage.end();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.finish();
    }
}
