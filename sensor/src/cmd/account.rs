//! What finished calls cost, worked out between the pipeline and what prints.
//!
//! In: steps, and files of prices. Out: the same steps, with costs; where tokens are
//! estimated, the end of a call comes a little later.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use llmtap::enrich::cost::{Prices, Table};
use llmtap::enrich::{EnrichedCall, tokens};

use super::estimate::Estimator;
use super::pipeline::Step;

/// What every command that prints calls understands of costs.
#[derive(Clone, Debug, Args)]
pub struct Accounting {
    /// Prices of models, before the built-in ones: a file of ours or of LiteLLM's; may be
    /// repeated
    #[arg(long, value_name = "FILE")]
    prices: Vec<PathBuf>,
    /// Count tokens ourselves where the provider does not say
    #[arg(long)]
    estimate_tokens: bool,
}

/// Gives finished calls their cost.
#[derive(Debug)]
pub struct Accountant {
    prices: Prices,
    estimator: Option<Estimator>,
}

impl Accounting {
    pub fn new(prices: Vec<PathBuf>, estimate_tokens: bool) -> Self {
        Self {
            prices,
            estimate_tokens,
        }
    }

    /// Reads the files.
    pub fn accountant(&self) -> anyhow::Result<Accountant> {
        let tables: anyhow::Result<Vec<Table>> = self.prices.iter().map(|p| table(p)).collect();
        let estimator = self.estimate_tokens.then(Estimator::start).transpose();
        Ok(Accountant {
            prices: Prices::with(tables?),
            estimator: estimator.context("cannot start the thread that counts tokens")?,
        })
    }
}

fn table(path: &Path) -> anyhow::Result<Table> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    Table::parse(&text).with_context(|| name.to_string())
}

impl Accountant {
    /// Whether texts are needed even where none is printed.
    pub fn needs_content(&self) -> bool {
        self.estimator.is_some()
    }

    /// `patient`: what brings the steps can wait for us.
    pub fn take(&self, step: Step, patient: bool, out: &mut dyn FnMut(Step)) {
        let call = match step {
            Step::Finished(call) => call,
            step => return out(step),
        };
        let call = match &self.estimator {
            Some(estimator) if tokens::can_estimate(&call.call) => estimator.offer(call, patient),
            _ => Some(call),
        };
        if let Some(call) = call {
            self.close(call, out);
        }
    }

    /// Hands on what was held back and is done.
    pub fn poll(&self, out: &mut dyn FnMut(Step)) {
        for call in self.estimator.iter().flat_map(Estimator::counted) {
            self.close(call, out);
        }
    }

    /// Hands on all that was held back.
    pub fn finish(mut self, out: &mut dyn FnMut(Step)) {
        let estimator = self.estimator.take();
        for call in estimator
            .into_iter()
            .flat_map(|mut e| e.rest().collect::<Vec<_>>())
        {
            self.close(call, out);
        }
    }

    fn close(&self, mut call: EnrichedCall, out: &mut dyn FnMut(Step)) {
        call.price(&self.prices);
        out(Step::Finished(call));
    }
}
