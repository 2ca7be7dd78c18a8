//! `llmtap tail`: calls as they happen.

use std::path::PathBuf;

use clap::Args;

use super::account::Accounting;
use super::capture::Capture;
use super::config::schema::Kubernetes;
use super::live::Live;
use super::{Format, Printing, Releasing};
use filter::Filter;
use watch::Watch;

pub mod filter;
mod jsonl;
mod output;
mod pairs;
pub mod render;
#[cfg(test)]
mod samples;
mod summary;
mod text;
pub mod watch;

const EXAMPLES: &str = "\
Examples:
  llmtap tail                                  every call of this host
  llmtap tail --follow-text --comm python3     with the replies, as they stream
  llmtap tail --errors --slower-than 10s       what went wrong and took long
  llmtap tail --format jsonl --content off     for a program to read";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Print the text of replies as it streams
    #[arg(long)]
    follow_text: bool,
    /// Keep at most so many MiB of one request or response; of longer ones head and tail
    #[arg(long, value_name = "MIB", default_value_t = 16)]
    max_body: u16,
    #[command(flatten)]
    releasing: Releasing,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    accounting: Accounting,
    /// Take events from a capture file, not from this host
    #[arg(long, value_name = "FILE", hide = true)]
    replay: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let watch = Watch {
        format: arguments.printing.format.unwrap_or(Format::Text),
        policy: arguments.printing.policy(),
        filter: arguments.filter.clone(),
        follow_text: arguments.follow_text,
        served: arguments.printing.served,
        summary: true,
        limits: llmtap::engine::Limits {
            body: usize::from(arguments.max_body.max(1)) << 20,
            ..llmtap::engine::Limits::default()
        },
    };
    let accountant = arguments.accounting.accountant()?;
    match &arguments.replay {
        Some(file) => watch::run(&mut Capture::open(file)?, &watch, accountant),
        None => {
            let mut live = Live::start(&arguments.probes(), &Kubernetes::default())?;
            watch::run(&mut live, &watch, accountant)
        }
    }
}

impl Arguments {
    fn probes(&self) -> llmtap::probe::Options {
        let mut options = llmtap::probe::Options {
            turn_limit: u64::from(self.max_body.max(1)) << 20,
            release_idle: self.releasing.after(),
            ..llmtap::probe::Options::default()
        };
        if let Some(pids) = self.filter.pids() {
            options.pids = llmtap::probe::Pids::Only(pids.to_vec());
        }
        options
    }
}
