//! What was seen in all, for the last line.

use std::fmt;

use llmtap::enrich::cost::Usd;
use llmtap::redact::Record;

use super::render::{count, dollars, grouped};

/// Sums over the calls that were printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    calls: u64,
    failed: u64,
    input: u64,
    output: u64,
    cost: Usd,
    priced: u64,
    unpriced: u64,
    pub lost_bytes: u64,
    /// For which whoever reads the output was too slow.
    pub unprinted_lines: u64,
}

impl Summary {
    pub fn add(&mut self, record: &Record) {
        let call = record.call();
        self.calls += 1;
        self.failed += u64::from(call.error.is_some());
        self.input = self.input.saturating_add(call.usage.input.unwrap_or(0));
        self.output = self.output.saturating_add(call.usage.output.unwrap_or(0));
        if let Some(cost) = record.cost() {
            self.cost = self.cost.plus(cost.total());
            self.priced += 1;
        }
        self.unpriced += u64::from(record.is_unpriced());
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&count(self.calls, "call"))?;
        if self.failed > 0 {
            write!(f, " ({} failed)", grouped(self.failed))?;
        }
        write!(
            f,
            ", {} in and {} out, cost ",
            count(self.input, "token"),
            grouped(self.output),
        )?;
        if self.priced == 0 && self.unpriced > 0 {
            f.write_str("unknown")?;
        } else {
            f.write_str(&dollars(self.cost))?;
        }
        if self.unpriced > 0 {
            write!(f, " ({} without a price)", count(self.unpriced, "call"))?;
        }
        write!(f, ", {} lost", count(self.lost_bytes, "byte"))?;
        if self.unprinted_lines > 0 {
            let lines = count(self.unprinted_lines, "line");
            write!(f, ", {lines} not printed: the reader was too slow")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::priced;
    use super::*;
    use crate::samples::record;

    #[test]
    fn sums() {
        let mut summary = Summary::default();
        assert_eq!(
            summary.to_string(),
            "0 calls, 0 tokens in and 0 out, cost $0, 0 bytes lost"
        );
        summary.add(&record(|_, _| {}));
        assert_eq!(
            summary.to_string(),
            "1 call, 1,234 tokens in and 56 out, cost unknown (1 call without a price), \
             0 bytes lost"
        );
        summary.add(&priced(1_250_000_000));
        let failed = record(|call, _| {
            call.usage = llmtap::llm::call::Usage::default();
            call.error = Some(llmtap::llm::call::Failure {
                kind: "429".into(),
                message: None,
            });
        });
        summary.add(&failed);
        summary.add(&priced(1_250_000_000));
        summary.lost_bytes = 1;
        assert_eq!(
            summary.to_string(),
            "4 calls (1 failed), 3,702 tokens in and 168 out, cost $0.0025 \
             (1 call without a price), 1 byte lost"
        );
        let late = Summary {
            unprinted_lines: 2,
            ..Summary::default()
        };
        assert_eq!(
            late.to_string(),
            "0 calls, 0 tokens in and 0 out, cost $0, 0 bytes lost, \
             2 lines not printed: the reader was too slow"
        );
    }
}
