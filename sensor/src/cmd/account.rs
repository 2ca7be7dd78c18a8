//! What finished calls cost, worked out between the pipeline and what prints.
//!
//! In: steps, and files of prices. Out: the same steps, with costs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use llmtap::enrich::cost::{Prices, Table};

use super::pipeline::Step;

/// What every command that prints calls understands of costs.
#[derive(Clone, Debug, Args)]
pub struct Accounting {
    /// Prices of models, before the built-in ones: a file of ours or of LiteLLM's; may be
    /// repeated
    #[arg(long, value_name = "FILE")]
    prices: Vec<PathBuf>,
}

/// Gives finished calls their cost.
#[derive(Debug)]
pub struct Accountant {
    prices: Prices,
}

impl Accounting {
    /// Reads the files.
    pub fn accountant(&self) -> anyhow::Result<Accountant> {
        let tables: anyhow::Result<Vec<Table>> = self.prices.iter().map(|p| table(p)).collect();
        Ok(Accountant {
            prices: Prices::with(tables?),
        })
    }
}

fn table(path: &Path) -> anyhow::Result<Table> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Table::parse(&text).with_context(|| path.display().to_string())
}

impl Accountant {
    pub fn take(&mut self, mut step: Step, out: &mut dyn FnMut(Step)) {
        if let Step::Finished(call) = &mut step {
            call.price(&self.prices);
        }
        out(step);
    }
}
