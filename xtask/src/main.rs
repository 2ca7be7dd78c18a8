//! Builds, checks and tests llmtap. In: a subcommand. Out: built files, a verdict.
//!
//! Every subcommand says what each of its steps does and how long it took.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod arch;
mod bench;
mod bench_analysis;
mod bench_probes;
mod build;
mod builds;
mod check;
mod conformance;
mod e2e;
mod fuzz;
mod install;
mod libtest;
mod picture;
mod prices;
mod report;
mod runtimes;
mod setup;
mod shell;
mod tail;
mod test;
mod unit;
mod vm;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, checks and tests llmtap")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build target/release/llmtap with its eBPF object inside
    Build(build::Options),
    /// Build if needed, then start the live tail; arguments after `--` go to it
    Tail {
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run every check and test, installing what they need
    Test(test::Options),
    /// Load, attach, capture and unload on other kernels, in virtual machines
    Vm(vm::Options),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Feed made-up bytes to everything that reads foreign ones
    Fuzz(fuzz::Options),
    /// Draw the picture of the tail in README
    Picture,
    /// Derive the embedded table of prices from PyPI's genai-prices
    Prices(prices::Options),
    /// Check which room imports which, and the length of files
    Check,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Build(options) => build::sensor_with(options).map(|_| ExitCode::SUCCESS),
        Task::Tail { arguments } => tail::run(&arguments),
        Task::Test(options) => test::run(&options),
        Task::Vm(options) => vm::run(&options),
        Task::Bench(bench) => bench::run(&bench),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Picture => picture::run(),
        Task::Prices(options) => prices::run(&options),
        Task::Check => check::run(),
    }
}
