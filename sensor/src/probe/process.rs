//! Processes: what they map, and who they are.
//!
//! In: `/proc`, which changes while it is read. Out: mapped files, names. Must not know:
//! traffic.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Numbers of all processes of this moment.
pub fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// A file that a process maps for execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    /// Offset in the file of `start`.
    pub offset: u64,
    /// Device and inode, as `/proc` prints them.
    pub file: (Box<str>, u64),
    pub path: PathBuf,
}

impl Mapping {
    /// The file itself, whatever its path leads to by now.
    pub fn open(&self, pid: u32) -> std::io::Result<File> {
        File::open(format!(
            "/proc/{pid}/map_files/{:x}-{:x}",
            self.start, self.end
        ))
    }
}

/// What `pid` maps for execution from files; empty where it is gone.
pub fn mappings(pid: u32) -> Vec<Mapping> {
    let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    String::from_utf8_lossy(&maps)
        .lines()
        .filter_map(mapping)
        .collect()
}

/// `start-end perms offset device inode path`
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let device = fields.next()?;
    let inode = fields.next()?.parse().ok()?;
    if inode == 0 || permissions.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        offset,
        file: (device.into(), inode),
        path: PathBuf::from(fields.next().unwrap_or_default().trim_start()),
    })
}

/// The program that a process runs.
pub fn executable(pid: u32) -> std::io::Result<(File, PathBuf)> {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let file = File::open(&link)?;
    Ok((file, fs::read_link(&link)?))
}

/// Who a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of its main thread.
    pub comm: Option<Box<str>>,
    pub exe: Option<Box<str>>,
}

pub fn identity(pid: u32) -> Identity {
    let process = Path::new("/proc").join(pid.to_string());
    let comm = fs::read(process.join("comm")).ok();
    let exe = fs::read_link(process.join("exe")).ok();
    Identity {
        comm: comm.map(|c| String::from_utf8_lossy(c.trim_ascii_end()).into()),
        exe: exe.map(|e| e.to_string_lossy().trim_end_matches(" (deleted)").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line = "7f0a1000-7f0a2000 r-xp 00001000 fe:00 1234       /usr/lib/a b.so (deleted)";
        let mapping = mapping(line).expect("a mapping");
        assert_eq!((mapping.start, mapping.end), (0x7f0a_1000, 0x7f0a_2000));
        assert_eq!(mapping.offset, 0x1000);
        assert_eq!(mapping.file, ("fe:00".into(), 1234));
        assert_eq!(mapping.path, Path::new("/usr/lib/a b.so (deleted)"));
    }

    #[test]
    fn what_is_no_executable_file_is_left_out() {
        for line in [
            "7f0a1000-7f0a2000 r--p 00001000 fe:00 1234 /usr/lib/a.so",
            "7f0a1000-7f0a2000 r-xp 00000000 00:00 0 [vdso]",
            "zz-7f0a2000 r-xp 00000000 00:00 1 /a",
            "7f0a1000-7f0a2000",
            "",
        ] {
            assert_eq!(mapping(line), None, "{line}");
        }
    }

    #[test]
    fn this_process_maps_itself() {
        let pid = std::process::id();
        let exe = std::env::current_exe().expect("has a path");
        let own = mappings(pid).into_iter().find(|m| m.path == exe);
        assert!(own.is_some(), "{} is not among the mappings", exe.display());
        let name = identity(pid).exe;
        assert_eq!(name.as_deref(), exe.to_str());
    }
}
