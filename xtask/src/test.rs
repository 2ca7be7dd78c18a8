//! `cargo xtask test`: every check and test, in one command.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::report::Report;
use crate::{build, builds, check, conformance, e2e, fuzz, shell, unit, vm};

#[derive(clap::Args)]
pub struct Options {
    /// Run this step alone (`unit`, `e2e`, …), or of it the tests whose names have a
    /// text (`e2e/curl`)
    #[arg(long, value_name = "STEP[/TEXT]")]
    only: Vec<String>,
    /// Also run what needs large downloads (step `agents`)
    #[arg(long)]
    agents: bool,
    /// Also send to receivers, and ask a cluster, that are large downloads (step `receivers`)
    #[arg(long)]
    receivers: bool,
}

/// One step of the test command.
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(filter: Option<&str>) -> Result<Report>,
}

/// Steps that are run on demand only.
const AGENTS: &str = "agents";
const RECEIVERS: &str = "receivers";

/// What is quick to fail comes first.
const STEPS: &[Step] = &[
    Step {
        name: "format",
        what: "cargo fmt --check",
        run: |_| format(),
    },
    Step {
        name: "layers",
        what: "which room imports which",
        run: |_| check::layers(),
    },
    Step {
        name: "clippy",
        what: "clippy on everything, warnings are errors",
        run: |_| clippy(),
    },
    Step {
        name: "clippy-ebpf",
        what: "the same on the kernel half",
        run: |_| clippy_ebpf(),
    },
    Step {
        name: "unit",
        what: "unit and corpus tests",
        run: unit::run,
    },
    Step {
        name: "fuzz",
        what: "made-up bytes, ten seconds for each target",
        run: fuzz::briefly,
    },
    Step {
        name: "conformance",
        what: "replay of recorded traffic",
        run: |_| conformance::run(&build::sensor()?),
    },
    Step {
        name: "builds",
        what: "probe sites in real builds of libssl and Node",
        run: builds::run,
    },
    Step {
        name: "probe",
        what: "live probes, byte by byte",
        run: e2e::probes,
    },
    Step {
        name: "e2e",
        what: "real clients and real probes",
        run: |filter| e2e::run(&build::sensor()?, filter),
    },
    Step {
        name: AGENTS,
        what: "agents and runtimes of some hundred megabytes",
        run: agents,
    },
    Step {
        name: RECEIVERS,
        what: "receivers of some hundred megabytes, a real cluster",
        run: |filter| e2e::receivers(&build::sensor()?, filter),
    },
    Step {
        name: "vm",
        what: "the oldest kernel, in a virtual machine",
        run: |_| vm::oldest(),
    },
];

pub fn run(options: &Options) -> Result<ExitCode> {
    let begun = Instant::now();
    let mut total = Report::default();
    for step in STEPS {
        let Some(filter) = options.chosen(step.name) else {
            continue;
        };
        println!("\n==> {}: {}", step.name, step.what);
        let begun = Instant::now();
        let report = (step.run)(filter).unwrap_or_else(|error| Report {
            failed: vec![format!("{}: {error:#}", step.name)],
            ..Report::default()
        });
        println!(
            "    {}: {} passed, {} failed, {} skipped in {}",
            step.name,
            report.passed,
            report.failed.len(),
            report.skipped.len(),
            shell::seconds(begun.elapsed())
        );
        total.add(report);
    }
    println!("\n==> all of it took {}", shell::seconds(begun.elapsed()));
    println!("{total}");
    Ok(if total.failed.is_empty() && total.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn agents(filter: Option<&str>) -> Result<Report> {
    let mut report = e2e::agents(&build::sensor()?, filter)?;
    if filter.is_none() {
        report.add(builds::agents()?);
    }
    Ok(report)
}

impl Options {
    /// Whether the step is to run, and the filter for its tests.
    fn chosen(&self, step: &str) -> Option<Option<&str>> {
        if self.only.is_empty() {
            let is_wanted = match step {
                AGENTS => self.agents,
                RECEIVERS => self.receivers,
                _ => true,
            };
            return is_wanted.then_some(None);
        }
        self.only
            .iter()
            .find_map(|only| match only.split_once('/') {
                Some((name, text)) if name == step => Some(Some(text)),
                None if only == step => Some(None),
                _ => None,
            })
    }
}

fn format() -> Result<Report> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    Ok(Report::pass())
}

fn clippy() -> Result<Report> {
    shell::run(
        shell::cargo()
            .args(["clippy", "--workspace", "--exclude", "llmtap-ebpf"])
            .args([
                "--all-targets",
                "--locked",
                "--quiet",
                "--",
                "--deny",
                "warnings",
            ]),
    )?;
    Ok(Report::pass())
}

fn clippy_ebpf() -> Result<Report> {
    Ok(match build::lint_ebpf()? {
        Some(()) => Report::pass(),
        None => Report::skip("clippy-ebpf", "its toolchain has no clippy"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chooses_steps_and_filters_their_tests() {
        let options = Options {
            only: vec!["format".into(), "e2e/curl".into()],
            agents: false,
            receivers: false,
        };
        assert_eq!(options.chosen("format"), Some(None));
        assert_eq!(options.chosen("e2e"), Some(Some("curl")));
        assert_eq!(options.chosen("unit"), None);
        let all = |agents| Options {
            only: vec![],
            agents,
            receivers: false,
        };
        assert_eq!(all(false).chosen("unit"), Some(None));
        assert_eq!(all(false).chosen(AGENTS), None);
        assert_eq!(all(true).chosen(AGENTS), Some(None));
        assert_eq!(all(true).chosen(RECEIVERS), None);
    }
}
