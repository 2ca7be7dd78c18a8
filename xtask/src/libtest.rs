//! Reads what a Rust test program prints.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::report::{Report, Skipped};

/// Runs test programs, passing on what they print. A program that ends badly without
/// naming a failed test counts as one failure, `name`.
pub fn run(name: &str, command: &mut Command) -> Result<Report> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let stdout = child.stdout.take().expect("invariant: stdout is piped");
    let mut report = Report::default();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("output of tests")?;
        println!("{line}");
        read(&line, &mut report);
    }
    let status = child.wait()?;
    if !status.success() && report.failed.is_empty() {
        report.failed.push(format!("{name} ended with {status}"));
    }
    Ok(report)
}

/// The same for tests that run real programs under real probes, whose timing is the host's: those
/// that failed are run once more, by themselves, and what passes then is reported as unsteady.
pub fn run_live(name: &str, command: &mut Command) -> Result<Report> {
    let mut report = run(name, command)?;
    let failed = std::mem::take(&mut report.failed);
    if failed.is_empty() {
        return Ok(report);
    }
    println!("    once more: {}", failed.join(", "));
    if !command.get_args().any(|argument| argument == "--exact") {
        command.arg("--exact");
    }
    let again = run(name, command.args(&failed))?;
    report.take_again(failed, again);
    Ok(report)
}

/// Takes account of one line.
fn read(line: &str, report: &mut Report) {
    let Some((name, outcome)) = line
        .strip_prefix("test ")
        .and_then(|rest| rest.rsplit_once(" ... "))
    else {
        return;
    };
    match outcome.trim().split_once(", ") {
        Some(("ignored", why)) => report.skipped.push(Skipped {
            name: name.into(),
            why: why.into(),
        }),
        _ if outcome.trim() == "ok" => report.passed += 1,
        _ if outcome.trim() == "FAILED" => report.failed.push(name.into()),
        _ if outcome.trim() == "ignored" => report.skipped.push(Skipped {
            name: name.into(),
            why: "marked so".into(),
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_the_word_after_the_dots() {
        let mut report = Report::default();
        for line in [
            "running 4 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test a::d ... ignored, needs root",
            "test src/lib.rs - x (line 3) ... ok",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored",
        ] {
            read(line, &mut report);
        }
        assert_eq!(report.passed, 2);
        assert_eq!(report.failed, ["a::c"]);
        assert_eq!(report.skipped.len(), 1);
        assert_eq!(report.skipped[0].why, "needs root");
    }
}
