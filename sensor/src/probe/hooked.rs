//! Files with hooks, of one process and of all.
//!
//! In: processes, by `/proc`, which changes while it is read. Out: [`Hooked`] files, and links
//! to them. Must not know: why it is asked.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use super::attach::{Image, ImageId, Images, attach_hook, identify};
use super::links::Link;
use super::load::Programs;
use super::{Pids, ProbeError, process};
use crate::discover::maps::{self, Device, MappedFile};
use crate::discover::{Finding, Function};

/// A file with hooks.
#[derive(Clone, Debug)]
pub struct Hooked {
    pub id: ImageId,
    pub file: Arc<File>,
    pub image: Arc<Image>,
}

impl Hooked {
    /// Whether links for all and links for single processes may stand side by side: what
    /// both see comes once then. Most hooks remember a call by its thread, or a record by
    /// its number, and take it once. Those in Go's functions remember nothing.
    pub fn may_be_doubled(&self) -> bool {
        let Finding::Hooks(plan) = &self.image.finding else {
            return true;
        };
        let forgets = |function| matches!(function, Function::GoRead { .. } | Function::GoWrite);
        !plan.hooks.iter().any(|hook| forgets(hook.function))
    }

    /// Sets all probes of the file in one process; none where it has ended.
    pub fn attach_to(&self, programs: &mut Programs, pid: u32) -> Result<Vec<Link>, ProbeError> {
        let Finding::Hooks(plan) = &self.image.finding else {
            return Ok(vec![]);
        };
        let mut links = vec![];
        for hook in &plan.hooks {
            match attach_hook(programs, &self.file, hook, Some(pid)) {
                Ok(attached) => links.extend(attached),
                Err(_) if !process::exists(pid) => return Ok(vec![]),
                Err(error) => return Err(error),
            }
        }
        Ok(links)
    }
}

/// The files with hooks that a process maps; `None` where it can't be told, or where not all
/// of their hooks are in place.
pub fn of_process(images: &Images, pid: u32) -> Option<Vec<Hooked>> {
    let mut hooked = vec![];
    for mapped in mapped_files(pid).ok()? {
        let Some(file) = mapped.open(pid).ok()? else {
            continue;
        };
        let Some(image) = images.image(&file).filter(|image| image.sites() > 0) else {
            continue;
        };
        if !image.failures.is_empty() {
            return None;
        }
        hooked.push(Hooked {
            id: identify(&file).ok()?.0,
            file: Arc::new(file),
            image,
        });
    }
    Some(hooked)
}

/// Which of the processes that are traced map each of these files, or may do so.
pub fn users(
    ids: impl Iterator<Item = ImageId>,
    pids: &Pids,
) -> io::Result<HashMap<ImageId, HashSet<u32>>> {
    let mut users: HashMap<_, HashSet<_>> = ids.map(|id| (id, HashSet::new())).collect();
    // Most files are mapped by many.
    let mut known = HashMap::new();
    for pid in process::all().filter(|pid| pids.want(*pid)) {
        match ids_of(pid, &mut known) {
            Ok(ids) => {
                for id in ids {
                    users.entry(id).and_modify(|users| users.extend([pid]));
                }
            }
            // It may map any of them.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                users.values_mut().for_each(|users| users.extend([pid]));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(users)
}

/// By device and inode; `None`: no regular file.
type Ids = HashMap<(Device, u64), Option<ImageId>>;

/// The files that a process maps. `known` are those that were met before.
fn ids_of(pid: u32, known: &mut Ids) -> io::Result<Vec<ImageId>> {
    let mut ids = vec![];
    for mapped in mapped_files(pid)? {
        let place = (mapped.device, mapped.inode);
        let id = match known.get(&place) {
            Some(id) => *id,
            None => match id_of(&mapped, pid) {
                // It is mapped no more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                id => *known.entry(place).or_insert(id?),
            },
        };
        ids.extend(id);
    }
    Ok(ids)
}

fn id_of(mapped: &MappedFile, pid: u32) -> io::Result<Option<ImageId>> {
    let id = |file| identify(&file).map(|(id, _)| id);
    mapped.open(pid)?.map(id).transpose()
}

/// What a process maps: nothing where it has ended. It is an error where its first thread
/// has ended and others have not, which hides what they map from everybody, from the kernel's
/// choice of whom to probe, too.
fn mapped_files(pid: u32) -> io::Result<Vec<MappedFile>> {
    let files = match maps::mapped_files(pid) {
        Err(_) if !process::exists(pid) => return Ok(vec![]),
        files => files?,
    };
    if files.is_empty() && fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|t| t.count() > 1) {
        return Err(io::Error::other("its first thread has ended"));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_its_own_file() {
        let own = std::process::id();
        let file = File::open("/proc/self/exe").expect("readable");
        let (id, _) = identify(&file).expect("a file");
        let parent = rustix::process::getppid()
            .expect("has one")
            .as_raw_nonzero();
        let pids = Pids::Except(vec![parent.get().cast_unsigned()]);
        let users = users([id].into_iter(), &pids).expect("readable");
        // The sensor itself is never traced.
        assert!(!users[&id].contains(&own));
        assert_eq!(mapped_files(1 << 30).expect("gone is nothing"), []);
        assert!(!mapped_files(own).expect("readable").is_empty());
    }
}
