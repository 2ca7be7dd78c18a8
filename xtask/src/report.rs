//! What passed, failed and was skipped.

use std::fmt;

/// Results of tests; what did not pass is known by name.
#[derive(Debug, Default)]
pub struct Report {
    pub passed: usize,
    pub failed: Vec<String>,
    pub skipped: Vec<Skipped>,
}

/// A test that could not run here.
#[derive(Debug)]
pub struct Skipped {
    pub name: String,
    pub why: String,
}

impl Report {
    /// One check that passed.
    pub fn pass() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    pub fn skip(name: impl Into<String>, why: impl Into<String>) -> Self {
        let mut report = Self::default();
        report.skipped.push(Skipped {
            name: name.into(),
            why: why.into(),
        });
        report
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }
}

/// The names, then the counts alone on the last line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Skipped { name, why } in &self.skipped {
            writeln!(f, "skipped: {name} ({why})")?;
        }
        for name in &self.failed {
            writeln!(f, "failed: {name}")?;
        }
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        write!(
            f,
            "\n{} passed, {failed} failed, {skipped} skipped",
            self.passed
        )
    }
}
