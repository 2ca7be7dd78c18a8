//! Remembers what was found in which file, in memory and, if wanted, on disk.
//!
//! In: open files. Out: [`Finding`]s. Must not know: how they are found.
//!
//! A file is known by its inode, size and time of last change, which no user can set.
//! A build id alone would not do: anyone may write a file that carries the id of the
//! system's libssl, and probes placed by its plan would break the real one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::image::ImageError;
use super::plan::Finding;

/// Changes with the rules of analysis, so that old findings are not taken for new ones.
const VERSION: u32 = 4;
/// Files remembered; when full, all are forgotten.
const MAX_ENTRIES: usize = 16 << 10;
const MAX_FILE: u64 = 64 << 20;

/// Says that a file is the very same, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Time of the last change of content or metadata.
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// What was found in a file as it was at that time.
#[derive(Clone, Debug)]
pub struct Examined {
    pub finding: Option<Finding>,
    stamp: Stamp,
}

impl Examined {
    /// Looks for TLS in `file`, which may take a second where it is large.
    pub fn of(file: &File) -> Result<Self, ImageError> {
        Ok(Self {
            stamp: Stamp::of(file)?,
            finding: super::examine(file)?,
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    stamp: Stamp,
    finding: Option<Finding>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    program: Box<str>,
    entries: Vec<Entry>,
}

/// Findings by file.
#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<Stamp, Entry>,
    path: Option<PathBuf>,
    changed: bool,
}

impl Cache {
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Starts from what an earlier run of this program left in `directory`, which is made if
    /// it is not there. One that another user could write to is not used: what stands there
    /// is believed. What is unreadable there is as good as none.
    pub fn in_directory(directory: &Path) -> Self {
        if !is_our_own(directory) {
            return Self::in_memory();
        }
        let path = directory.join("findings.json");
        let entries = load(&path).unwrap_or_default();
        Self {
            entries,
            path: Some(path),
            changed: false,
        }
    }

    /// What `file` holds, examined only if it is new or has changed.
    pub fn examine(&mut self, file: &File) -> Result<Option<Finding>, ImageError> {
        if let Some(finding) = self.known(file) {
            return Ok(finding);
        }
        let examined = Examined::of(file)?;
        let finding = examined.finding.clone();
        self.remember(file, examined);
        Ok(finding)
    }

    /// What an earlier look found in `file`. `None`: there was none since it last changed.
    pub fn known(&self, file: &File) -> Option<Option<Finding>> {
        let entry = self.entries.get(&Stamp::of(file).ok()?)?;
        Some(entry.finding.clone())
    }

    /// Keeps what was found in `file`, for [`Self::known`].
    pub fn remember(&mut self, file: &File, examined: Examined) {
        let Examined { stamp, finding } = examined;
        // A file that changed while it was read may have been read in two halves.
        if Stamp::of(file).is_ok_and(|now| now == stamp) {
            self.insert(Entry { stamp, finding });
        }
    }

    fn insert(&mut self, entry: Entry) {
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.clear();
        }
        self.entries.insert(entry.stamp, entry);
        self.changed = true;
    }

    /// Writes what is new to the directory, if there is one.
    pub fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.path.as_deref().filter(|_| self.changed) else {
            return Ok(());
        };
        let stored = Stored {
            version: VERSION,
            program: program(),
            entries: self.entries.values().cloned().collect(),
        };
        let fresh = path.with_extension(format!("new-{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        serde_json::to_writer(io::BufWriter::new(options.open(&fresh)?), &stored)?;
        fs::rename(&fresh, path)?;
        self.changed = false;
        Ok(())
    }
}

/// Which build of this program it is: another one may find other things.
fn program() -> Box<str> {
    let stamp = File::open("/proc/self/exe").and_then(|file| Stamp::of(&file));
    let build = stamp.map_or((0, (0, 0)), |stamp| (stamp.size, stamp.modified));
    format!("{} {build:?}", env!("CARGO_PKG_VERSION")).into()
}

/// Whether this is a directory, there or just made, that nobody else can write to.
fn is_our_own(directory: &Path) -> bool {
    let _ = fs::DirBuilder::new().mode(0o700).create(directory);
    let Ok(meta) = fs::symlink_metadata(directory) else {
        return false;
    };
    let owner = rustix::process::geteuid().as_raw();
    meta.is_dir() && meta.uid() == owner && meta.mode() & 0o022 == 0
}

fn load(path: &Path) -> Option<HashMap<Stamp, Entry>> {
    if fs::metadata(path).ok()?.len() > MAX_FILE {
        return None;
    }
    let stored: Stored = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let same = stored.version == VERSION && stored.program == program();
    same.then(|| {
        stored
            .entries
            .into_iter()
            .map(|entry| (entry.stamp, entry))
            .collect()
    })
}

/// The probes for a file, from the cache where it is known. `None`: nothing to hook.
pub fn analyse_cached(
    cache: &mut Cache,
    file: &File,
) -> Result<Option<super::HookPlan>, ImageError> {
    Ok(match cache.examine(file)? {
        Some(Finding::Hooks(plan)) => Some(plan),
        Some(Finding::Unsupported(_)) | None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::image::Machine;
    use super::super::synthetic::Builder;
    use super::*;

    /// A directory of its own, gone with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("llmtap-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn library(push: &[u8]) -> Vec<u8> {
        let mut builder = Builder::new(Machine::X86_64);
        builder.function("SSL_read", push);
        builder.function("SSL_write", push);
        builder.build()
    }

    #[test]
    fn findings_survive_a_restart_and_follow_the_file() {
        let scratch = Scratch::new("cache");
        let path = scratch.0.join("libssl.so");
        fs::write(&path, library(b"\x55\xc3")).unwrap();

        let mut first = Cache::in_directory(&scratch.0);
        let found = first.examine(&File::open(&path).unwrap()).unwrap();
        assert!(matches!(found, Some(Finding::Hooks(_))));
        first.save().unwrap();

        let mut second = Cache::in_directory(&scratch.0);
        assert_eq!(second.entries.len(), 1);
        assert_eq!(second.examine(&File::open(&path).unwrap()).unwrap(), found);
        assert!(!second.changed, "known already");

        // Another content under the same path and of the same size.
        let other = scratch.0.join("other");
        fs::write(&other, library(b"\x53\xc3")).unwrap();
        fs::rename(&other, &path).unwrap();
        second.examine(&File::open(&path).unwrap()).unwrap();
        assert_eq!(second.entries.len(), 2);
    }

    #[test]
    fn a_place_that_others_can_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new("cache-open");
        let fresh = scratch.0.join("fresh");
        assert!(Cache::in_directory(&fresh).path.is_some());
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Cache::in_directory(&fresh).path.is_none());
        let link = scratch.0.join("link");
        std::os::unix::fs::symlink(&scratch.0, &link).unwrap();
        assert!(Cache::in_directory(&link).path.is_none());
    }

    #[test]
    fn what_another_version_left_is_not_believed() {
        let scratch = Scratch::new("cache-version");
        let path = scratch.0.join("findings.json");
        for text in [
            r#"{"version":0,"program":"0.0.0","entries":[]}"#.to_owned(),
            "[".repeat(100_000),
            String::new(),
        ] {
            fs::write(&path, text).unwrap();
            assert!(load(&path).is_none());
        }
        assert!(Cache::in_directory(&scratch.0).entries.is_empty());
    }
}
