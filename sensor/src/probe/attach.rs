//! Images: which files have been looked at, and what is attached to each.
//!
//! In: files that processes map for execution. Out: probes, attached once a file, in
//! whatever mount namespace it lives and whatever its name. Must not know: traffic.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::programs::uprobe::{UProbeLink, UProbeScope};

use super::ProbeError;
use super::load::{self, Programs};
use crate::discover::{self, Exit, Hook, HookPlan, Site};

/// Files remembered; beyond, those without probes are forgotten and looked at again.
const MAX_IMAGES: usize = 1 << 16;

/// Tells a file from every other, and from what it was before it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageId {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl ImageId {
    fn of(file: &File) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// A file with TLS functions, and what became of it.
#[derive(Debug)]
pub struct Image {
    /// As the process that led to it names it.
    pub path: PathBuf,
    pub plan: HookPlan,
    /// Hooks that could not be attached.
    pub failures: Vec<ProbeError>,
    links: Vec<UProbeLink>,
}

impl Image {
    pub fn sites(&self) -> usize {
        self.links.len()
    }
}

/// Every file that was looked at.
#[derive(Debug, Default)]
pub struct Images {
    /// `None`: nothing in it to probe.
    known: HashMap<ImageId, Option<Image>>,
}

impl Images {
    /// Looks at a file and attaches what its plan says, unless that has been done.
    /// `path` is for people.
    pub fn cover(&mut self, programs: &mut Programs, file: &File, path: &Path) -> Option<&Image> {
        let id = ImageId::of(file).ok()?;
        if self.known.len() >= MAX_IMAGES {
            self.known.retain(|_, image| image.is_some());
        }
        self.known
            .entry(id)
            .or_insert_with(|| {
                let plan = discover::analyse(file).ok().flatten()?;
                Some(attach(programs, file, path, plan))
            })
            .as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Image> {
        self.known.values().flatten()
    }
}

fn attach(programs: &mut Programs, file: &File, path: &Path, plan: HookPlan) -> Image {
    // This name leads to the open file, even if it has none of its own any more.
    let target = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mut image = Image {
        path: path.to_owned(),
        links: vec![],
        failures: vec![],
        plan,
    };
    for hook in &image.plan.hooks {
        match attach_hook(programs, &target, hook) {
            Ok(links) => image.links.extend(links),
            Err(error) => image.failures.push(error),
        }
    }
    image
}

/// All probes of a hook, or none.
fn attach_hook(
    programs: &mut Programs,
    target: &Path,
    hook: &Hook,
) -> Result<Vec<UProbeLink>, ProbeError> {
    let Some(entry) = load::entry_program(hook.function) else {
        return Ok(vec![]);
    };
    let mut links = vec![];
    // Returns first: an entry whose return goes unseen would be taken for a call in flight.
    if let Some(exit) = &hook.exit {
        let program = load::exit_program(exit);
        let sites = match exit {
            Exit::Return => std::slice::from_ref(&hook.entry),
            Exit::Sites(sites) => sites,
        };
        for site in sites {
            links.push(attach_site(programs, target, program, site)?);
        }
    }
    links.push(attach_site(programs, target, entry, &hook.entry)?);
    Ok(links)
}

fn attach_site(
    programs: &mut Programs,
    target: &Path,
    program: &'static str,
    site: &Site,
) -> Result<UProbeLink, ProbeError> {
    let probe = programs.probe(program)?;
    let attached = probe
        .attach(site.offset, target, UProbeScope::AllProcesses)
        .and_then(|link| probe.take_link(link));
    attached.map_err(|source| ProbeError::Attach {
        program,
        offset: site.offset,
        source: Box::new(source),
    })
}
