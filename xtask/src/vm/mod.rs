//! Other kernels: Debian's, each in a virtual machine with the sensor and calls to a model.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::arch::Arch;
use crate::report::Report;
use crate::{build, install, libtest, shell};

mod archive;
mod disk;
mod machine;

use machine::{MACHINES, Machine};

#[derive(clap::Args)]
pub struct Options {
    /// Machines to boot, of 5.10, 6.1, 6.12, arm64-5.10, arm64-6.1 and arm64-6.12; all of
    /// them where none is named
    machines: Vec<String>,
}

/// What `tests/kernel/init` says of each machine, beside a check for each of `CALLS`.
const CHECKS: [&str; 4] = ["load", "links", "cheap", "unload"];

/// Calls whose both ends are `tests/kernel/tls.c`, in the order in which they are made.
const CALLS: [&str; 7] = [
    "sync",
    "streamed",
    "big",
    "bio",
    "bare",
    "plain",
    TLS_OF_KERNEL,
];
const TLS_OF_KERNEL: &str = "ktls";

/// Other programs that make one call each (`tests/kernel/client`).
const CLIENTS: [&str; 7] = [
    "curl",
    "gnutls",
    "go",
    "ring",
    "aws-lc",
    "ring-1.2",
    "aws-lc-1.2",
];

/// `cargo xtask vm`.
pub fn run(options: &Options) -> Result<ExitCode> {
    for name in &options.machines {
        let known = MACHINES.iter().any(|machine| machine.name == name);
        ensure!(known, "no machine {name} is known here");
    }
    let wanted = |machine: &&Machine| {
        options.machines.is_empty() || options.machines.iter().any(|name| name == machine.name)
    };
    let mut report = Report::default();
    for machine in MACHINES.iter().filter(wanted) {
        report.add(boot(*machine, &build::sensor_for(machine.arch)?)?);
    }
    println!("{report}");
    Ok(if report.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The machine with the oldest kernel; the others are left out by name.
pub fn oldest() -> Result<Report> {
    let [oldest, others @ ..] = MACHINES;
    let mut report = boot(oldest, &build::sensor()?)?;
    for machine in others {
        let why = "takes minutes: cargo xtask vm";
        report.add(Report::skip(format!("vm::{}", machine.name), why));
    }
    Ok(report)
}

/// Boots one machine; skipped by name where none can be made.
fn boot(machine: Machine, llmtap: &Path) -> Result<Report> {
    let name = format!("vm::{}", machine.name);
    let checks = CHECKS.iter().chain(&CALLS).chain(&CLIENTS);
    if let Some(why) = hindrance() {
        let mut report = Report::default();
        for check in checks {
            report.add(Report::skip(format!("{name}::{check}"), why));
        }
        return Ok(report);
    }
    install::programs(&[
        machine.emulator(),
        ("busybox", "busybox-static"),
        ("strip", "binutils"),
    ])?;
    let kernel = machine.kernel()?;
    let disk = disk::pack(machine, &kernel, llmtap)?;
    let (mut calls, mut without) = (CALLS.to_vec(), Report::default());
    if !kernel.has_tls() {
        calls.retain(|call| *call != TLS_OF_KERNEL);
        let why = "this kernel has no TLS";
        without = Report::skip(format!("{name}::{TLS_OF_KERNEL}"), why);
    }
    let said = format!(
        "machine={} calls={} clients={}",
        machine.name,
        calls.join(","),
        CLIENTS.join(",")
    );
    let start = || machine.command(&kernel.image, &disk, &said);
    let mut report = shell::step(&format!("boot {}", machine.name), || watch(&name, start))?;
    let (seen, all) = (seen(&report), checks.count() - without.skipped.len());
    if seen < all && report.failed.is_empty() {
        report
            .failed
            .push(format!("{name}: ended after {seen} of {all} checks"));
    }
    report.add(without);
    Ok(report)
}

/// What a machine says of its checks.
fn watch(name: &str, start: impl Fn() -> Command) -> Result<Report> {
    let report = libtest::run(name, &mut start())?;
    if seen(&report) > 0 {
        return Ok(report);
    }
    // Emulated, newer kernels die now and then before they run anything of ours.
    println!("    {name}: it did not come as far as the first check; once more");
    libtest::run(name, &mut start())
}

fn seen(report: &Report) -> usize {
    report.passed + report.failed.len()
}

fn hindrance() -> Option<&'static str> {
    if Arch::HOST != Arch::X86_64 {
        return Some("needs x86-64");
    }
    if !shell::is_root() {
        return Some("needs root");
    }
    (!shell::has("apt-get")).then_some("needs Debian's packages")
}
