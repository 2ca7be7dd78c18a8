//! Calls as JSON lines.

use llmtap::export::jsonl;
use llmtap::redact::Policy;

use super::filter::Filter;
use super::summary::Summary;
use super::watch::Printer;
use crate::cmd::pipeline::Step;

/// Prints one object for each finished call; a call with both ends here gives two.
#[derive(Debug)]
pub struct JsonLines {
    policy: Policy,
    filter: Filter,
    summary: Summary,
}

impl JsonLines {
    pub fn new(policy: Policy, filter: Filter) -> Self {
        Self {
            policy,
            filter,
            summary: Summary::default(),
        }
    }
}

impl Printer for JsonLines {
    fn step(&mut self, step: Step, out: &mut String) -> anyhow::Result<()> {
        if let Step::Finished(call) = step {
            let record = self.policy.apply(call);
            if self.filter.fits(&record) {
                self.summary.add(&record);
                out.push_str(&jsonl::line(&record)?);
                out.push('\n');
            }
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        self.summary
    }
}
