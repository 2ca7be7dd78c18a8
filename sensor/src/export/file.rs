//! Records as lines of JSON in a file, which is turned over when it is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::semconv::Conventions;
use super::worker::Sink;
use super::{Outgoing, jsonl};

/// Where lines go.
#[derive(Debug)]
pub enum Lines {
    Stdout,
    File(Rotating),
}

/// A file, and those that were full before it: `calls.jsonl`, `calls.jsonl.1`, ….
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    max_bytes: u64,
    /// Full files that are kept.
    keep: u32,
    bytes: u64,
    file: File,
}

/// Writes records as lines.
#[derive(Debug)]
pub struct JsonLines {
    pub lines: Lines,
    pub conventions: Conventions,
}

impl Rotating {
    /// Appends to the file at `path`, which its owner alone may read.
    pub fn open(path: &Path, max_bytes: u64, keep: u32) -> io::Result<Self> {
        let file = append(path)?;
        Ok(Self {
            path: path.to_owned(),
            max_bytes,
            keep,
            bytes: file.metadata()?.len(),
            file,
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let more = line.len() as u64 + 1;
        if self.bytes > 0 && self.bytes + more > self.max_bytes {
            self.rotate()?;
        }
        write_whole(&mut self.file, format!("{line}\n").as_bytes())?;
        self.bytes += more;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (0..self.keep).rev() {
            rename(&self.numbered(number), &self.numbered(number + 1))?;
        }
        if self.keep == 0 {
            fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.bytes = 0;
        Ok(())
    }

    /// Number 0 is the file that is written to.
    fn numbered(&self, number: u32) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Writes all or nothing: half a line would spoil the next one.
fn write_whole(file: &mut File, line: &[u8]) -> io::Result<()> {
    let mut rest = line;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let written = (line.len() - rest.len()) as u64;
                let length = file.metadata()?.len();
                file.set_len(length.saturating_sub(written))?;
                return Err(error);
            }
        }
    }
    Ok(())
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

impl Sink for JsonLines {
    fn take(&mut self, record: &Outgoing) -> io::Result<()> {
        let line = match record {
            Outgoing::Call(record) => jsonl::spelled(record, self.conventions)?,
            Outgoing::Served(record) => jsonl::served_line(record)?,
        };
        match &mut self.lines {
            Lines::Stdout => writeln!(io::stdout().lock(), "{line}"),
            Lines::File(file) => file.write(&line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.lines {
            Lines::Stdout => io::stdout().lock().flush(),
            // Each line is written as it comes.
            Lines::File(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_kept_as_many_as_were_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        let mut file = Rotating::open(&path, 20, 2).unwrap();
        for n in 0..10 {
            file.write(&format!("line {n}")).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("calls.jsonl"), "line 8\nline 9\n");
        assert_eq!(read("calls.jsonl.1"), "line 6\nline 7\n");
        assert_eq!(read("calls.jsonl.2"), "line 4\nline 5\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_is_continued_and_keeps_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        for n in 0..3 {
            let mut file = Rotating::open(&path, 20, 1).unwrap();
            file.write(&format!("line {n}")).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 2\n");
    }
}
