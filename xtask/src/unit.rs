//! The tests that need nothing, and those beside them that need something of the host.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::report::Report;
use crate::{libtest, shell};

/// A test that a plain `cargo test` leaves out.
struct OfTheHost {
    name: &'static str,
    /// What it needs that is not here.
    lack: fn() -> Option<&'static str>,
}

const OF_THE_HOST: &[OfTheHost] = &[
    OfTheHost {
        name: "the_owner_has_a_name_or_a_number",
        lack: || (!shell::is_root()).then_some("needs root"),
    },
    OfTheHost {
        name: "a_process_in_a_group_of_a_runtime",
        lack: || (!has_groups()).then_some("needs control groups that can be written"),
    },
    OfTheHost {
        name: "systemd_takes_the_unit",
        lack: || (!has_systemd()).then_some("needs systemd-analyze"),
    },
    OfTheHost {
        name: "a_crash_leaves_no_dump",
        lack: || (!has_dumps()).then_some("needs a host that keeps core dumps in files"),
    },
];

/// Runs those whose names have the text `filter`.
pub fn run(filter: Option<&str>) -> Result<Report> {
    let mut everywhere = tests(&[
        "--workspace",
        "--exclude",
        "llmtap-ebpf",
        "--exclude",
        "llmtap-e2e",
    ]);
    everywhere.args(["--no-fail-fast", "--"]).args(filter);
    let mut here = tests(&[
        "--package",
        "llmtap",
        "--lib",
        "--test",
        "deploy",
        "--test",
        "run",
    ]);
    here.args(["--no-fail-fast", "--", "--ignored"]);
    let mut lacking = Report::default();
    let mut is_any = false;
    for test in OF_THE_HOST {
        everywhere.args(["--skip", test.name]);
        if !filter.is_none_or(|text| test.name.contains(text)) {
            continue;
        }
        match (test.lack)() {
            Some(why) => lacking.add(Report::skip(test.name, why)),
            None => {
                is_any = true;
                here.arg(test.name);
            }
        }
    }
    let mut report = libtest::run("unit", &mut everywhere)?;
    if is_any {
        report.add(libtest::run("unit", &mut here)?);
    }
    report.add(lacking);
    Ok(report)
}

fn tests(of: &[&str]) -> Command {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--locked"]).args(of);
    cargo
}

fn has_systemd() -> bool {
    Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Whether a program that crashes leaves its memory in a file beside it.
fn has_dumps() -> bool {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    !pattern.starts_with(['|', '/', '@'])
}

/// Whether some hierarchy takes a new group.
pub fn has_groups() -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_taken = |place: &Path| {
        let group = place.join(format!("llmtap-probe-{}", std::process::id()));
        let made = fs::create_dir(&group).is_ok();
        let usable = made && group.join("cgroup.procs").exists();
        // Only what was made here goes.
        made && fs::remove_dir(&group).is_ok() && usable
    };
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next(), words.next());
        kind.is_some_and(|kind| kind.starts_with("cgroup"))
            && place.is_some_and(|place| is_taken(Path::new(place)))
    })
}
