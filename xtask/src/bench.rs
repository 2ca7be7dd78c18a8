//! Measurements. Numbers hold for the machine they are taken on; ratios travel better.

use std::process::ExitCode;

use anyhow::Result;

use crate::{bench_probes, shell};

#[derive(clap::Subcommand)]
pub enum Bench {
    /// What probes cost a process, against bare and empty probes, and what they capture
    Probes(bench_probes::Options),
    /// What the engine costs: MB/s and allocations a call, against parsing JSON alone
    Engine,
}

pub fn run(bench: &Bench) -> Result<ExitCode> {
    match bench {
        Bench::Probes(options) => bench_probes::run(options)?,
        Bench::Engine => {
            shell::run(shell::cargo().args(["bench", "--package", "llmtap", "--bench", "engine"]))?
        }
    }
    Ok(ExitCode::SUCCESS)
}
