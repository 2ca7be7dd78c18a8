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
    /// Prints what was served for calls, too.
    served: bool,
    summary: Summary,
}

impl JsonLines {
    pub fn new(policy: Policy, filter: Filter, served: bool) -> Self {
        Self {
            policy,
            filter,
            served,
            summary: Summary::default(),
        }
    }
}

impl Printer for JsonLines {
    fn step(&mut self, step: Step, out: &mut String) -> anyhow::Result<()> {
        match step {
            Step::Finished(call) => {
                let record = self.policy.apply(call);
                if self.filter.fits(&record) {
                    self.summary.add(&record);
                    out.push_str(&jsonl::line(&record)?);
                    out.push('\n');
                }
            }
            Step::Served(request) if self.served => {
                let record = self.policy.apply_served(request);
                if self.filter.fits_process(record.origin()) {
                    out.push_str(&jsonl::served_line(&record)?);
                    out.push('\n');
                }
            }
            Step::Started(_) | Step::Text { .. } | Step::Served(_) => {}
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        self.summary
    }
}
