//! Measurements. Numbers hold for the machine they are taken on; ratios travel better.

use std::fs;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::{bench_analysis, bench_probes, build, install, shell};

/// Captures of recorded traffic: their name, the scenario of the conformance check that
/// frames them, and what the id, URL or family of a recording must contain.
const CAPTURES: [(&str, &str, Option<&str>); 5] = [
    ("http1", "h1", None),
    ("http1-coded", "h1-recompressed", None),
    ("http2", "h2", None),
    ("event-stream", "h1", Some("converse-stream")),
    ("anthropic", "h1", Some("anthropic")),
];

#[derive(clap::Subcommand)]
pub enum Bench {
    /// What probes cost a process, against bare and empty probes, and what they capture
    Probes(bench_probes::Options),
    /// What the engine costs: MB/s and allocations a call, against parsing JSON alone
    Engine,
    /// How long it takes to look at large executables, and with how much memory; it fails
    /// above 2 s for 200 MB, or 300 MiB
    Analysis,
    /// What is lost while a collector is down under 200 calls a second, and llmtap is killed
    /// now and then: nothing, or it fails
    Outage {
        /// How long it is down
        #[arg(long, default_value_t = 10)]
        minutes: u32,
    },
}

pub fn run(bench: &Bench) -> Result<ExitCode> {
    match bench {
        Bench::Probes(options) => bench_probes::run(options)?,
        Bench::Engine => engine()?,
        Bench::Analysis => bench_analysis::run()?,
        Bench::Outage { minutes } => outage(*minutes)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn outage(minutes: u32) -> Result<()> {
    shell::run(
        shell::cargo()
            .args(["test", "--locked", "--package", "llmtap", "--test", "run"])
            .args(["--", "--ignored", "--nocapture", "a_long_outage"])
            .env("OUTAGE_MINUTES", minutes.to_string()),
    )
}

fn engine() -> Result<()> {
    let check = shell::root().join("../shared/conformance/check.py");
    ensure!(
        check.exists(),
        "recorded traffic is needed: ../shared beside this checkout"
    );
    let (llmtap, python) = (build::sensor()?, install::python("conformance")?);
    let mut files = Vec::new();
    for (name, scenario, only) in CAPTURES {
        let home = shell::target("bench").join(name);
        let file = shell::target("bench").join(format!("{name}.jsonl"));
        if !file.exists() {
            fs::create_dir_all(&home)?;
            let mut command = shell::command(&python);
            command.arg(&check).arg("--llmtap").arg(&llmtap);
            command.args(["--floor", "0", "--scenario", scenario, "--keep"]);
            command.arg(&home);
            if let Some(text) = only {
                command.args(["--only", text]);
            }
            shell::step(&format!("frame recorded traffic: {name}"), || {
                shell::run(&mut command)
            })?;
            fs::rename(home.join(format!("{scenario}.capture.jsonl")), &file)?;
        }
        files.push(file);
    }
    shell::run(
        shell::cargo()
            .args(["bench", "--package", "llmtap", "--bench", "engine", "--"])
            .args(files),
    )
}
