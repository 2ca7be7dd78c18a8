//! What files a process has mapped as code.
//!
//! In: `/proc/PID/maps`, whose paths a process can choose. Out: each file once, and a
//! way to open it in whatever mount namespace it lies. Must not know: what is in them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Files of one process that are looked at, at most.
const MAX_FILES: usize = 4096;
/// The kernel writes paths of up to a page; with every byte escaped, four times that.
const MAX_LINE: u64 = 32 << 10;

/// A file that is mapped executable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MappedFile {
    /// The first executable mapping of it.
    pub addresses: Range<u64>,
    pub device: Device,
    pub inode: u64,
    /// As the process sees it; good for showing, not for opening.
    pub path: PathBuf,
    /// Unlinked or replaced since it was mapped.
    pub deleted: bool,
}

/// As `/proc/PID/maps` tells it, which on some file systems (btrfs, overlayfs) is not
/// what `stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    pub major: u32,
    pub minor: u32,
}

impl MappedFile {
    /// Names the very file that is mapped, also if its path is gone or means another
    /// file here.
    pub fn map_files_path(&self, pid: u32) -> PathBuf {
        let Range { start, end } = self.addresses;
        PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"))
    }

    /// Opens it for reading. `None`: it is no regular file, and opening it might do
    /// something. Needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
    pub fn open(&self, pid: u32) -> io::Result<Option<File>> {
        open_regular(&self.map_files_path(pid))
    }
}

/// The host's own TLS libraries, mapped or not. What is new to the sensor takes some time
/// to cover, longer than a short process lives; these are sure to be used.
pub fn usual_libraries() -> Vec<PathBuf> {
    const FOLDERS: [&str; 6] = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib64",
        "/usr/local/lib",
    ];
    const NAMES: [&str; 5] = [
        "libssl",
        "libgnutls.",
        "libnspr4",
        "libwolfssl",
        "libmbedtls",
    ];
    let is_usual = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let usual = |name: &str| NAMES.iter().any(|begin| name.starts_with(begin));
        name.is_some_and(|name| usual(name) && name.contains(".so"))
    };
    let entries = FOLDERS
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok());
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    paths.filter(is_usual).collect()
}

/// Opens a regular file, and nothing else.
pub fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let place = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)?;
    if !place.metadata()?.is_file() {
        return Ok(None);
    }
    File::open(format!("/proc/self/fd/{}", place.as_raw_fd())).map(Some)
}

/// The files that process `pid` has mapped executable, each once.
pub fn mapped_files(pid: u32) -> io::Result<Vec<MappedFile>> {
    parse(BufReader::new(File::open(format!("/proc/{pid}/maps"))?))
}

/// Reads the text of a `maps` file. Lines that are no mapping of a file are left out.
pub fn parse(mut maps: impl BufRead) -> io::Result<Vec<MappedFile>> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut line = Vec::new();
    while files.len() < MAX_FILES {
        line.clear();
        if maps.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if let Some(file) = mapping(line.trim_ascii_end())
            && seen.insert((file.device, file.inode))
        {
            files.push(file);
        }
    }
    Ok(files)
}

/// `start-end perms offset major:minor inode   path`
fn mapping(line: &[u8]) -> Option<MappedFile> {
    let mut rest = line;
    let addresses = field(&mut rest)?;
    let permissions = field(&mut rest)?;
    let _offset = field(&mut rest)?;
    let device = field(&mut rest)?;
    let inode: u64 = field(&mut rest)?.parse().ok()?;
    if permissions.as_bytes().get(2) != Some(&b'x') || inode == 0 {
        return None;
    }
    let (start, end) = addresses.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    let (path, deleted) = match rest.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (rest, false),
    };
    Some(MappedFile {
        addresses: u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?,
        device: Device {
            major: u32::from_str_radix(major, 16).ok()?,
            minor: u32::from_str_radix(minor, 16).ok()?,
        },
        inode,
        path: PathBuf::from(OsStr::from_bytes(path.trim_ascii_start())),
        deleted,
    })
}

/// Takes the first word off the line.
fn field<'l>(rest: &mut &'l [u8]) -> Option<&'l str> {
    let line = rest.trim_ascii_start();
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (word, after) = line.split_at_checked(end)?;
    *rest = after;
    std::str::from_utf8(word)
        .ok()
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c0a00000-55d0c0a02000 r--p 00000000 fe:01 1311 /usr/bin/cat
55d0c0a02000-55d0c0a07000 r-xp 00002000 fe:01 1311 /usr/bin/cat
7f0000000000-7f0000001000 r-xp 00000000 00:2f 99   /tmp/a b/lib ssl.so (deleted)
7f0000002000-7f0000003000 r-xp 00001000 00:2f 99   /tmp/a b/lib ssl.so (deleted)
7f0000004000-7f0000005000 rwxp 00000000 00:00 0
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0    [vdso]
not a mapping
7f0000006000-7f0000007000 r-xp 00000000 fe:01 77   /with\\012newline
";

    #[test]
    fn each_executable_file_comes_once() {
        let files = parse(MAPS.as_bytes()).unwrap();
        let seen: Vec<_> = files
            .iter()
            .map(|f| (f.inode, f.path.to_str().unwrap(), f.deleted))
            .collect();
        assert_eq!(
            seen,
            [
                (1311, "/usr/bin/cat", false),
                (99, "/tmp/a b/lib ssl.so", true),
                (77, "/with\\012newline", false),
            ]
        );
        assert_eq!(
            files[0].device,
            Device {
                major: 0xfe,
                minor: 1
            }
        );
        assert_eq!(
            files[0].map_files_path(7),
            Path::new("/proc/7/map_files/55d0c0a02000-55d0c0a07000")
        );
    }

    #[test]
    fn an_endless_line_is_cut_and_not_kept() {
        let mut text = vec![b'x'; 1 << 20];
        text.extend_from_slice(
            b"\n55d0c0a02000-55d0c0a07000 r-xp 00002000 fe:01 1311 /usr/bin/cat\n",
        );
        assert_eq!(parse(&text[..]).unwrap().len(), 1);
    }

    #[test]
    fn own_image_is_found_by_its_inode() {
        use std::os::unix::fs::MetadataExt;
        let exe = std::fs::metadata("/proc/self/exe").unwrap();
        let files = mapped_files(std::process::id()).unwrap();
        assert!(
            files.iter().any(|file| file.inode == exe.ino()),
            "{files:?}"
        );
    }

    #[test]
    fn a_device_is_not_opened() {
        assert!(open_regular(Path::new("/dev/null")).unwrap().is_none());
        assert!(open_regular(Path::new("/proc/self/exe")).unwrap().is_some());
    }
}
