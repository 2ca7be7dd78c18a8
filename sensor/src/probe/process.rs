//! Processes: who they are, and which TLS library stands at an address of theirs.
//!
//! In: `/proc`, which changes while it is read. Out: names. Must not know: traffic.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use llmtap_common::site::PAGE;

use super::attach::{Image, Images};
use super::tally::Tally;
use crate::discover::{Finding, maps};

/// Processes whose names are remembered.
const MAX_PROCESSES: usize = 1 << 16;

/// Numbers of all processes of this moment.
pub fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Whether the numbers of processes here are those that the kernel half has.
pub fn has_numbers_of_host() -> bool {
    /// The inode of the first namespace, fixed in the kernel.
    const INITIAL: u64 = 0xefff_fffc;
    fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == INITIAL)
}

pub fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// The program that a process runs.
pub fn executable(pid: u32) -> io::Result<Option<(File, PathBuf)>> {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let path = fs::read_link(&link)?;
    Ok(maps::open_regular(&link)?.map(|file| (file, path)))
}

/// Who a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of its main thread.
    pub comm: Option<Box<str>>,
    pub exe: Option<Box<str>>,
    /// Where which TLS library is mapped.
    libraries: Vec<(Range<u64>, Library)>,
    /// `None` until its file has been looked at.
    go: Option<Go>,
}

/// Whether a program is one of Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    No,
    Yes,
    /// And known to keep the running goroutine in a register.
    InRegisters,
}

/// A TLS library.
#[derive(Clone, Debug)]
pub struct Library {
    /// As a capture spells it.
    pub name: Box<str>,
    /// Of the file that it is in.
    pub tally: Arc<Tally>,
}

impl Library {
    fn of(image: &Image) -> Self {
        Self {
            name: image.library().into(),
            tally: Arc::clone(&image.tally),
        }
    }
}

impl PartialEq for Library {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.tally, &other.tally)
    }
}

impl Eq for Library {}

pub fn identity(pid: u32) -> Identity {
    let process = Path::new("/proc").join(pid.to_string());
    let comm = fs::read(process.join("comm")).ok();
    let exe = fs::read_link(process.join("exe")).ok();
    Identity {
        comm: comm.map(|c| String::from_utf8_lossy(c.trim_ascii_end()).into()),
        exe: exe.map(|e| e.to_string_lossy().trim_end_matches(" (deleted)").into()),
        libraries: vec![],
        go: None,
    }
}

/// Processes that were asked about and still run.
#[derive(Debug, Default)]
pub struct Processes {
    known: HashMap<u32, Identity>,
}

impl Processes {
    /// It runs another program now.
    pub fn executed(&mut self, pid: u32, identity: Identity) {
        if self.known.len() < MAX_PROCESSES {
            self.known.insert(pid, identity);
        }
    }

    pub fn exited(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    pub fn identity(&mut self, pid: u32) -> &Identity {
        self.entry(pid)
    }

    fn entry(&mut self, pid: u32) -> &mut Identity {
        if self.known.len() >= MAX_PROCESSES {
            self.known.clear();
        }
        self.known.entry(pid).or_insert_with(|| identity(pid))
    }

    /// The TLS library that `instruction` belongs to.
    pub fn library(&mut self, pid: u32, instruction: u64, images: &Images) -> Option<Library> {
        let known = self.entry(pid);
        let found = |libraries: &[(Range<u64>, Library)]| {
            let place = libraries.iter().find(|(at, _)| at.contains(&instruction));
            place.map(|(_, library)| library.clone())
        };
        found(&known.libraries).or_else(|| {
            known.libraries = libraries(pid, images);
            let exe = known.exe.as_deref();
            // Wherever a file is mapped, its probes stand at the same places in a page.
            let hooked = || images.hooked_at(instruction % PAGE);
            found(&known.libraries).or_else(|| likely_library(exe, hooked()))
        })
    }

    /// Whether the process is known to be a program of Go.
    pub fn is_go(&mut self, pid: u32, images: &Images) -> bool {
        self.go(pid, images).is_some_and(|go| go != Go::No)
    }

    /// Whether it is known of the process that its goroutines can be told apart.
    pub fn tells_goroutines(&mut self, pid: u32, images: &Images) -> bool {
        self.go(pid, images) == Some(Go::InRegisters)
    }

    fn go(&mut self, pid: u32, images: &Images) -> Option<Go> {
        let known = self.entry(pid);
        if known.go.is_none()
            && let Ok(Some((file, _))) = executable(pid)
        {
            known.go = images
                .looked_at(&file)
                .map(|image| Go::of(image.as_deref()));
        }
        known.go
    }
}

impl Go {
    /// What can be hooked is of a version that calls by registers.
    fn of(image: Option<&Image>) -> Self {
        match image.filter(|image| image.library() == "go") {
            None => Self::No,
            Some(image) if matches!(image.finding, Finding::Hooks(_)) => Self::InRegisters,
            Some(_) => Self::Yes,
        }
    }
}

fn libraries(pid: u32, images: &Images) -> Vec<(Range<u64>, Library)> {
    let files = maps::mapped_files(pid).unwrap_or_default();
    let library = |file: maps::MappedFile| {
        let open = file.open(pid).ok()??;
        Some((file.addresses, Library::of(&*images.image(&open)?)))
    };
    files.into_iter().filter_map(library).collect()
}

/// For a process that is gone, which ran `exe`, and ran into a hook of one of `images`: it was
/// the program itself, or a library if all of these are of one kind.
fn likely_library(exe: Option<&str>, images: Vec<Arc<Image>>) -> Option<Library> {
    let is_own = |path: &Path| exe.is_some_and(|exe| path.to_str() == Some(exe));
    let (own, others): (Vec<_>, Vec<_>) = images.into_iter().partition(|i| is_own(&i.path));
    let likely = if own.is_empty() { others } else { own };
    let (first, rest) = likely.split_first()?;
    if rest.iter().any(|image| image.library() != first.library()) {
        return None;
    }
    let mut library = Library::of(first);
    if !rest.is_empty() {
        // Nobody knows which of them it was, so that none is judged by what comes.
        library.tally = Arc::default();
    }
    Some(library)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Unsupported;

    #[test]
    fn this_process_is_known_by_its_file() {
        let exe = std::env::current_exe().expect("has a path");
        let mut processes = Processes::default();
        let own = processes.identity(std::process::id());
        assert_eq!(own.exe.as_deref(), exe.to_str());
        assert!(own.comm.is_some());
    }

    #[test]
    fn a_process_that_is_gone_has_no_names() {
        // Above the largest pid that the kernel gives out.
        let pid = 1 << 30;
        let mut processes = Processes::default();
        assert_eq!(*processes.identity(pid), Identity::default());
        assert_eq!(processes.library(pid, 0x1000, &Images::default()), None);
    }

    #[test]
    fn a_process_that_is_gone_speaks_for_no_file_that_may_not_be_its_own() {
        let image = |path: &str, library: &'static str| {
            let finding = Finding::Unsupported(Unsupported {
                library: library.into(),
                reason: "".into(),
            });
            Arc::new(Image::bare(Path::new(path), finding))
        };
        let (one, other) = (image("/lib/one", "openssl"), image("/lib/other", "openssl"));
        let go = image("/bin/go", "go");
        let likely = |exe, images: &[&Arc<Image>]| {
            let images = images.iter().copied().cloned().collect();
            likely_library(exe, images)
        };
        let is_judged =
            |library: &Library, image: &Image| Arc::ptr_eq(&library.tally, &image.tally);

        let only = likely(None, &[&one]).unwrap();
        assert!(is_judged(&only, &one));
        let either = likely(None, &[&one, &other]).unwrap();
        assert_eq!(&*either.name, "openssl");
        assert!(!is_judged(&either, &one) && !is_judged(&either, &other));
        assert_eq!(likely(None, &[&one, &go]), None);
        let own = likely(Some("/bin/go"), &[&one, &other, &go]).unwrap();
        assert!(is_judged(&own, &go));
        // Of one name, in two containers.
        let twin = image("/bin/go", "go");
        let own = likely(Some("/bin/go"), &[&go, &twin]).unwrap();
        assert!(!is_judged(&own, &go) && !is_judged(&own, &twin));
        assert_eq!(likely(None, &[]), None);
    }
}
