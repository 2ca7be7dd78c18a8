//! Images: which files have been looked at, and what is attached to each.
//!
//! In: files that processes map for execution. Out: probes, attached once a file, in
//! whatever mount namespace it lives and whatever its name. Must not know: traffic.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llmtap_common::site::PAGE;

use super::ProbeError;
use super::go;
use super::links::{self, Link};
use super::load::{self, Programs};
use super::reach::Reach;
use super::tally::{Refutation, Tally};
use crate::discover::process::{FileFacts, tls_files};
use crate::discover::{Cache, Examined, Exit, Finding, Function, Hook, ImageError};

/// Files remembered; beyond, those without TLS are forgotten and looked at again.
const MAX_IMAGES: usize = 1 << 16;

/// A file of more bytes may take longer than others should wait.
const LARGE: u64 = 8 << 20;

/// Tells one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ImageId {
    device: u64,
    inode: u64,
    /// Only where the device does not tell file systems apart.
    stamp: Option<Stamp>,
}

/// Tells a file from what it was before it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// `statfs` of overlayfs.
const OVERLAYFS: u64 = 0x794c_7630;

pub(super) fn identify(file: &File) -> io::Result<(ImageId, Stamp)> {
    let metadata = file.metadata()?;
    let stamp = Stamp {
        size: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    };
    let mut id = ImageId {
        device: metadata.dev(),
        inode: metadata.ino(),
        stamp: None,
    };
    // Every container has a device of its own over the same inode below, and probes are set
    // on that one: once is enough.
    if rustix::fs::fstatfs(file)?.f_type.cast_unsigned() == OVERLAYFS {
        id.device = 0;
        id.stamp = Some(stamp);
    }
    Ok((id, stamp))
}

/// A file with TLS, and what became of it.
#[derive(Debug)]
pub struct Image {
    /// As the process that led to it names it.
    pub path: PathBuf,
    pub finding: Finding,
    /// Hooks that could not be attached.
    pub failures: Vec<ProbeError>,
    /// Why its hooks were taken away again.
    pub withdrawn: Option<Refutation>,
    /// What came through its hooks.
    pub tally: Arc<Tally>,
    /// Probes set.
    sites: usize,
}

impl Image {
    /// Without probes.
    pub fn bare(path: &Path, finding: Finding) -> Self {
        Self {
            path: path.to_owned(),
            finding,
            failures: vec![],
            withdrawn: None,
            tally: Arc::default(),
            sites: 0,
        }
    }

    /// Probes in place.
    pub fn sites(&self) -> usize {
        self.sites
    }

    /// As a capture spells it.
    pub fn library(&self) -> &str {
        match &self.finding {
            Finding::Hooks(plan) => &plan.library,
            Finding::Unsupported(what) => &what.library,
        }
    }
}

#[derive(Debug)]
pub(super) struct Known {
    stamp: Stamp,
    /// `None`: nothing in it to probe.
    pub image: Option<Arc<Image>>,
    pub reach: Reach,
    /// Sweeps over all processes that have ended since one was seen to map it.
    sweeps: u8,
}

/// So many sweeps that find nobody who maps a file, and it is forgotten.
const SWEEPS: u8 = 2;

/// Every file that was looked at.
#[derive(Debug, Default)]
pub struct Images {
    known: Mutex<HashMap<ImageId, Known>>,
    findings: Mutex<Cache>,
}

impl Images {
    pub fn new(findings: Cache) -> Self {
        Self {
            known: Mutex::default(),
            findings: Mutex::new(findings),
        }
    }

    /// Writes down what was found, where that is wanted.
    pub fn save_findings(&self) {
        // What can't be kept is found again.
        let _ = self.findings().save();
    }

    /// Looks at a file and attaches what its plan says, unless that has been done since it
    /// last changed. `path` is for people.
    pub fn cover(&self, programs: &mut Programs, file: &File, path: &Path) {
        let Ok((id, stamp)) = identify(file) else {
            return;
        };
        // What is attached to the file as it was goes first.
        if !self.forget_unless(id, stamp) {
            return;
        }
        let finding = self.finding(file).ok().flatten();
        let (image, links) = match finding {
            Some(finding) => {
                let (image, links) = attach(programs, file, path, finding);
                (Some(Arc::new(image)), links)
            }
            None => (None, vec![]),
        };
        let known = Known {
            stamp,
            image,
            reach: Reach::All(links),
            sweeps: 0,
        };
        self.known().insert(id, known);
    }

    /// What a file holds. Nobody waits for a look at another file.
    pub fn finding(&self, file: &File) -> Result<Option<Finding>, ImageError> {
        let known = self.findings().known(file);
        if let Some(finding) = known {
            return Ok(finding);
        }
        let examined = Examined::of(file)?;
        let finding = examined.finding.clone();
        self.findings().remember(file, examined);
        Ok(finding)
    }

    /// Whether looking at a file takes a while.
    pub fn takes_a_while(&self, file: &File) -> bool {
        let is_large = file.metadata().is_ok_and(|meta| meta.len() > LARGE);
        is_large && self.findings().known(file).is_none()
    }

    /// Forgets a file, unless it has been looked at as it is now. `false`: it has.
    fn forget_unless(&self, id: ImageId, stamp: Stamp) -> bool {
        let mut known = self.known();
        if let Some(known) = known.get_mut(&id)
            && (known.stamp.size, known.stamp.modified) == (stamp.size, stamp.modified)
        {
            known.sweeps = 0;
            return false;
        }
        if known.len() >= MAX_IMAGES {
            known.retain(|_, known| known.image.is_some());
        }
        let before = known.remove(&id);
        // It takes time to detach.
        drop(known);
        links::end(
            before
                .into_iter()
                .flat_map(|known| known.reach.into_links()),
        );
        true
    }

    /// The image that a file was found to be.
    pub fn image(&self, file: &File) -> Option<Arc<Image>> {
        self.looked_at(file)?
    }

    /// The same; `None` where nobody has looked at the file yet.
    pub fn looked_at(&self, file: &File) -> Option<Option<Arc<Image>>> {
        let (id, _) = identify(file).ok()?;
        Some(self.known().get(&id)?.image.clone())
    }

    /// The files of a process that hold TLS, or that could not be looked at, each with what
    /// became of it.
    pub fn of_process(&self, pid: u32) -> io::Result<Vec<(FileFacts, Option<Arc<Image>>)>> {
        let files = tls_files(pid, &mut self.findings())?;
        let with_image = |facts: FileFacts| {
            let file = facts.file.open(pid).ok().flatten();
            let image = file.and_then(|file| self.image(&file));
            (facts, image)
        };
        Ok(files.into_iter().map(with_image).collect())
    }

    /// Those with a hook that stands at this place in a page.
    pub fn hooked_at(&self, in_page: u64) -> Vec<Arc<Image>> {
        let at_place = |hook: &Hook| hook.entry.offset % PAGE == in_page;
        let mut images = self.all();
        images.retain(|image| match &image.finding {
            Finding::Hooks(plan) => image.sites > 0 && plan.hooks.iter().any(at_place),
            Finding::Unsupported(_) => false,
        });
        images
    }

    /// Takes the hooks of a file away, for good.
    pub fn withdraw(&self, image: &Arc<Image>, why: Refutation) {
        let bare = Arc::new(Image {
            withdrawn: Some(why),
            tally: Arc::clone(&image.tally),
            ..Image::bare(&image.path, image.finding.clone())
        });
        let mut known = self.known();
        let is_it =
            |known: &&mut Known| known.image.as_ref().is_some_and(|i| Arc::ptr_eq(i, image));
        let place = known.values_mut().find(is_it);
        let Some(place) = place else { return };
        place.image = Some(bare);
        let reach = std::mem::take(&mut place.reach);
        drop(known);
        links::end_aside(reach.into_links());
    }

    /// All processes were looked at, and what they map was covered: what is left over for long
    /// enough is forgotten.
    pub fn swept(&self) {
        let mut links = vec![];
        self.known().retain(|_, known| {
            let is_left = known.sweeps >= SWEEPS;
            known.sweeps = known.sweeps.saturating_add(1);
            if is_left {
                links.extend(std::mem::take(&mut known.reach).into_links());
            }
            !is_left
        });
        links::end_aside(links);
    }

    pub fn all(&self) -> Vec<Arc<Image>> {
        let known = self.known();
        known
            .values()
            .filter_map(|known| known.image.clone())
            .collect()
    }

    pub fn detach(&self) {
        let all = std::mem::take(&mut *self.known());
        links::end(all.into_values().flat_map(|known| known.reach.into_links()));
    }

    fn findings(&self) -> MutexGuard<'_, Cache> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What another thread left behind in a panic is as good as before.
    pub(super) fn known(&self) -> MutexGuard<'_, HashMap<ImageId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn attach(
    programs: &mut Programs,
    file: &File,
    path: &Path,
    finding: Finding,
) -> (Image, Vec<Link>) {
    let (mut links, mut failures) = (vec![], vec![]);
    if let Finding::Hooks(plan) = &finding {
        for hook in &plan.hooks {
            match attach_hook(programs, file, hook, None) {
                Ok(attached) => links.extend(attached),
                Err(error) => failures.push(error),
            }
        }
    }
    let image = Image {
        failures,
        sites: links.iter().map(Link::sites).sum(),
        ..Image::bare(path, finding)
    };
    (image, links)
}

/// All probes of a hook, or none; in one process or in every one.
pub(super) fn attach_hook(
    programs: &mut Programs,
    file: &File,
    hook: &Hook,
    process: Option<u32>,
) -> Result<Vec<Link>, ProbeError> {
    // This name leads to the open file, even if it has none of its own any more.
    let target = &PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let Some(entry) = load::entry_program(hook.function) else {
        return Ok(vec![]);
    };
    if let Function::GoRead { connection } = hook.function {
        go::tell_site(programs, target, hook.entry.offset, connection)?;
    }
    let mut links = vec![];
    // Returns first: an entry whose return goes unseen would be taken for a call in flight.
    if let Some(exit) = &hook.exit {
        let program = load::exit_program(hook.function, exit);
        let sites = match exit {
            Exit::Return => std::slice::from_ref(&hook.entry),
            Exit::Sites(sites) => sites,
        };
        links.extend(programs.probe(program, target, sites, process)?);
    }
    links.extend(programs.probe(entry, target, std::slice::from_ref(&hook.entry), process)?);
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_keeps_its_id_when_it_changes() {
        let path = std::env::temp_dir().join(format!("llmtap-image-{}", std::process::id()));
        let mut file = File::create(&path).expect("writable");
        let (before, old) = identify(&file).expect("a file");
        file.write_all(b"more").expect("writable");
        let (after, new) = identify(&file).expect("a file");
        std::fs::remove_file(&path).expect("there");
        assert_eq!((before.device, before.inode), (after.device, after.inode));
        assert_ne!(old, new);
    }
}
