//! Scores `llmtap replay` against recorded traffic, where the recordings are at hand.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::report::Report;
use crate::{install, shell};

/// What each scenario must reach, in percent.
const FLOORS: [(&str, f64); 9] = [
    ("h1", 99.5),
    ("h1-recompressed", 99.5),
    ("h1-keepalive", 99.5),
    ("h1-midstream", 99.5),
    ("h1-gap", 99.5),
    ("h2", 99.5),
    ("h2-recompressed", 99.5),
    ("h2-midstream", 90.0),
    // One of 23 recordings closes before the reply that it is to contain.
    ("websocket", 95.6),
];

/// Runs the scenarios with `llmtap`; each is a test of its own.
pub fn run(llmtap: &Path) -> Result<Report> {
    let check = shell::root().join("../shared/conformance/check.py");
    if !check.exists() {
        return Ok(every_scenario(|report, name| {
            let skipped = Report::skip(name, "no ../shared/conformance beside this checkout");
            report.add(skipped);
        }));
    }
    let mut child = shell::command(install::python("conformance")?)
        .arg(&check)
        .arg("--llmtap")
        .arg(llmtap)
        // The floors are ours.
        .args(["--floor", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the conformance check")?;
    let stdout = child.stdout.take().expect("invariant: stdout is piped");
    let mut scores = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        scores.extend(score(&line));
    }
    let status = child.wait()?;
    println!("    the check ended with {status}");
    Ok(judge(&scores))
}

/// `(scenario, percent)` of a line such as `h1  2011/2031  99.02 %  stray 0  …`.
fn score(line: &str) -> Option<(String, f64)> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let (good, total) = words.next()?.split_once('/')?;
    let (good, total): (f64, f64) = (good.parse().ok()?, total.parse().ok()?);
    (total > 0.0).then(|| (name.to_owned(), 100.0 * good / total))
}

/// A scenario that gave no score has failed.
fn judge(scores: &[(String, f64)]) -> Report {
    let mut report = Report::default();
    for (name, floor) in FLOORS {
        let reached = scores.iter().find(|(n, _)| n == name).map(|(_, p)| *p);
        match reached {
            Some(percent) if percent >= floor => report.passed += 1,
            Some(percent) => report.failed.push(format!(
                "conformance/{name}: {percent:.2} %, at least {floor} % wanted"
            )),
            None => report.failed.push(format!("conformance/{name}: no score")),
        }
    }
    report
}

fn every_scenario(mut each: impl FnMut(&mut Report, String)) -> Report {
    let mut report = Report::default();
    for (name, _) in FLOORS {
        each(&mut report, format!("conformance/{name}"));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_scores_and_no_other() {
        let line = "h1-gap             990/1000   99.00 %   stray    0      12.0 MB in   0.4 s";
        assert_eq!(score(line), Some(("h1-gap".into(), 99.0)));
        assert_eq!(score("      3 differ in gen_ai.response.id"), None);
        assert_eq!(score("h2   0/0   0.00 %"), None);
    }

    #[test]
    fn a_scenario_without_a_score_fails() {
        let report = judge(&[("h1".into(), 1099.5)]);
        assert_eq!(report.passed, 1);
        assert_eq!(report.failed.len(), FLOORS.len() - 1);
    }
}
