//! Scores `llmtap replay` against recorded traffic, where the recordings are at hand.

use std::num::NonZero;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};

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
    let python = install::python("conformance")?;
    let jobs = thread::available_parallelism().map_or(1, NonZero::get);
    let of = ("conformance", jobs);
    Ok(Report::of_each(
        of,
        &FLOORS,
        |(name, _)| name,
        |(name, floor)| {
            let mut scenario = shell::command(&python);
            scenario.arg(&check).arg("--llmtap").arg(llmtap);
            // The floors are ours.
            scenario.args(["--floor", "0", "--scenario", name]);
            judge(name, *floor, &shell::output(&mut scenario)?)
        },
    ))
}

/// Whether a scenario reached its floor, without calls that nobody made.
fn judge(name: &str, floor: f64, told: &str) -> Result<()> {
    print!("{told}");
    let score = told.lines().find_map(|line| Score::parse(name, line));
    let score = score.context("no score")?;
    let Score { percent, stray } = score;
    ensure!(
        percent >= floor,
        "{percent:.2} %, at least {floor} % wanted"
    );
    ensure!(stray == 0, "{stray} calls that nobody made");
    Ok(())
}

#[derive(Debug, PartialEq)]
struct Score {
    percent: f64,
    stray: u64,
}

impl Score {
    /// Of a line such as `h1  2011/2031  99.02 %  stray 0  …`.
    fn parse(name: &str, line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == name)?;
        let (good, total) = words.next()?.split_once('/')?;
        let (good, total): (f64, f64) = (good.parse().ok()?, total.parse().ok()?);
        let stray = words.skip_while(|word| *word != "stray").nth(1)?;
        (total > 0.0).then_some(Self {
            percent: 100.0 * good / total,
            stray: stray.parse().ok()?,
        })
    }
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
        let line = "h1-gap             990/1000   99.00 %   stray    2      12.0 MB in   0.4 s";
        let (percent, stray) = (99.0, 2);
        assert_eq!(Score::parse("h1-gap", line), Some(Score { percent, stray }));
        assert_eq!(Score::parse("h1", line), None);
        assert_eq!(
            Score::parse("3", "      3 differ in gen_ai.response.id"),
            None
        );
        assert_eq!(Score::parse("h2", "h2   0/0   0.00 %   stray    0"), None);
    }

    #[test]
    fn a_low_score_a_stray_call_and_no_score_fail() {
        let told = |good: u32, stray: u32| format!("h1   {good}/1000   0 %   stray   {stray}");
        assert!(judge("h1", 99.5, &told(995, 0)).is_ok());
        assert!(judge("h1", 99.5, &told(994, 0)).is_err());
        assert!(judge("h1", 99.5, &told(1000, 1)).is_err());
        assert!(judge("h1", 99.5, "what").is_err());
    }
}
