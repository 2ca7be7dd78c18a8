//! What passed, failed and was skipped.

use std::fmt;
use std::sync::Mutex;
use std::thread;

use anyhow::Result;

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

    /// Runs a check for each of `items`, so many at a time; one that fails is known as
    /// `step/name`.
    pub fn of_each<T: Sync>(
        (step, jobs): (&str, usize),
        items: &[T],
        name: impl Fn(&T) -> &str + Sync,
        check: impl Fn(&T) -> Result<()> + Sync,
    ) -> Self {
        let queue = Mutex::new(items.iter());
        let report = Mutex::new(Self::default());
        thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().expect("invariant: nothing panics").next();
                        let Some(item) = next else { return };
                        let result = check(item);
                        let mut report = report.lock().expect("invariant: nothing panics");
                        match result {
                            Ok(()) => report.passed += 1,
                            Err(error) => {
                                let name = name(item);
                                report.failed.push(format!("{step}/{name}: {error:#}"));
                            }
                        }
                    }
                });
            }
        });
        report.into_inner().expect("invariant: nothing panics")
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
