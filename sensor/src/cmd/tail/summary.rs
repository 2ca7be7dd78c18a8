//! What was seen in all, for the last line.

use std::fmt;

use llmtap::llm::Call;

use super::render::{count, grouped};

/// Sums over the calls that were printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    calls: u64,
    failed: u64,
    input: u64,
    output: u64,
    pub lost_bytes: u64,
}

impl Summary {
    pub fn add(&mut self, call: &Call) {
        self.calls += 1;
        self.failed += u64::from(call.error.is_some());
        self.input = self.input.saturating_add(call.usage.input.unwrap_or(0));
        self.output = self.output.saturating_add(call.usage.output.unwrap_or(0));
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
            ", {} in and {} out, {} lost",
            count(self.input, "token"),
            grouped(self.output),
            count(self.lost_bytes, "byte"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::record;
    use super::*;

    #[test]
    fn sums() {
        let mut summary = Summary::default();
        summary.add(record(|_, _| {}).call());
        assert_eq!(
            summary.to_string(),
            "1 call, 1,234 tokens in and 56 out, 0 bytes lost"
        );
        let failed = record(|call, _| {
            call.usage.input = None;
            call.error = Some(llmtap::llm::call::Failure {
                kind: "429".into(),
                message: None,
            });
        });
        summary.add(failed.call());
        summary.lost_bytes = 1;
        assert_eq!(
            summary.to_string(),
            "2 calls (1 failed), 1,234 tokens in and 112 out, 1 byte lost"
        );
    }
}
