//! What it takes to look at large executables: each in a process of its own, so that the most
//! memory is of one.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::shell;

/// What `fetch-builds.sh` has of large files.
const GROUPS: [&str; 4] = ["node", "bun", "rustls", "agents"];
/// Smaller ones are quick.
const LARGE: u64 = 30 << 20;
/// An executable of so many bytes may take so long, a larger one in proportion.
const SIZE: f64 = 200e6;
const SECONDS: f64 = 2.0;
const MEMORY_MIB: u64 = 300;

pub fn run() -> Result<()> {
    let builds = shell::target("builds");
    let mut fetch = shell::command("sensor/tests/support/fetch-builds.sh");
    shell::step("fetch large builds", || {
        shell::run(fetch.arg(&builds).args(GROUPS))
    })?;
    let mut build = shell::cargo();
    build.args(["build", "--release", "--locked", "--package", "llmtap"]);
    shell::run(build.args(["--example", "plan"]))?;
    let plan = shell::target("release/examples/plan");
    let mut files = Vec::new();
    find(&builds, &mut files)?;
    println!("{:>9} {:>7} {:>8}", "size", "time", "memory");
    let mut over = Vec::new();
    for (file, size) in files {
        let (seconds, mib) = examine(&plan, &file)?;
        let name = file.strip_prefix(&builds).unwrap_or(&file).display();
        let megabytes = size / 1_000_000;
        println!("{megabytes:>6} MB {seconds:>5.2} s {mib:>4} MiB  {name}");
        if seconds > SECONDS * (size as f64 / SIZE).max(1.0) || mib > MEMORY_MIB {
            over.push(name.to_string());
        }
    }
    ensure!(over.is_empty(), "too long, or too large: {over:?}");
    Ok(())
}

/// Seconds, and MiB at most, as `sensor/examples/plan.rs` tells them.
fn examine(plan: &Path, file: &Path) -> Result<(f64, u64)> {
    let output = shell::output(shell::command(plan).arg(file))?;
    let line = output.lines().next().unwrap_or_default();
    let told = line.rsplit_once(": ").map_or("", |(_, told)| told);
    let numbers: Vec<&str> = told.split(' ').step_by(2).collect();
    let [seconds, mib] = numbers[..] else {
        anyhow::bail!("plan said: {line}");
    };
    Ok((
        seconds.parse().context("seconds")?,
        mib.parse().context("MiB")?,
    ))
}

/// Large ELF files below a folder, and their sizes.
fn find(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            find(&path, files)?;
        } else if kind.is_file() && entry.metadata()?.len() > LARGE {
            let mut head = [0; 4];
            File::open(&path)?.read_exact(&mut head)?;
            if head == *b"\x7fELF" {
                files.push((path, entry.metadata()?.len()));
            }
        }
    }
    Ok(())
}
