//! `llmtap replay`: the calls in a capture file.

use std::path::PathBuf;

use clap::Args;

use super::account::Accounting;
use super::capture::Capture;
use super::tail::filter::Filter;
use super::tail::watch::{self, Watch};
use super::{Format, Printing};

const EXAMPLES: &str = "\
Examples:
  llmtap replay traffic.jsonl.zst | jq .attributes
  llmtap replay --format text --content off traffic.jsonl";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A capture: JSON Lines, plain, gzip or zstd
    file: PathBuf,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    accounting: Accounting,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let accountant = arguments.accounting.accountant()?;
    let mut source = Capture::open(&arguments.file)?;
    let watch = Watch {
        format: arguments.printing.format.unwrap_or(Format::Jsonl),
        policy: arguments.printing.policy(),
        filter: Filter::default(),
        follow_text: false,
        served: arguments.printing.served,
        summary: false,
        limits: llmtap::engine::Limits::default(),
    };
    watch::run(&mut source, &watch, accountant)
}
