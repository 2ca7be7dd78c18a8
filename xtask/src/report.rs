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
    /// Passed, but not the first time.
    pub unsteady: Vec<String>,
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

    /// Tests that failed were run `again`: who did not pass then has failed.
    pub fn take_again(&mut self, failed: Vec<String>, again: Self) {
        let is_whole = again.passed + again.failed.len() == failed.len();
        for name in failed {
            if is_whole && !again.failed.contains(&name) {
                self.passed += 1;
                self.unsteady.push(name);
            } else {
                self.failed.push(name);
            }
        }
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.unsteady.extend(other.unsteady);
        self.skipped.extend(other.skipped);
    }
}

/// The names, then the counts alone on the last line.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Skipped { name, why } in &self.skipped {
            writeln!(f, "skipped: {name} ({why})")?;
        }
        for name in &self.unsteady {
            writeln!(f, "unsteady: {name} (passed when it was run again)")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn again(passed: usize, failed: &[&str]) -> Report {
        let mut report = Report::default();
        let names = ["a", "b"].map(String::from);
        let failed = failed.iter().map(|name| (*name).into()).collect();
        let second = Report {
            passed,
            failed,
            ..Report::default()
        };
        report.take_again(names.into(), second);
        report
    }

    #[test]
    fn what_passes_when_run_again_is_named() {
        let report = again(1, &["b"]);
        assert_eq!((report.passed, &*report.failed), (1, &["b".to_owned()][..]));
        assert_eq!(report.unsteady, ["a"]);
        assert!(report.to_string().contains("unsteady: a"));
    }

    #[test]
    fn what_did_not_run_again_has_failed() {
        // The program died, or ran something else.
        for report in [again(0, &["e2e ended with signal 9"]), again(1, &[])] {
            assert_eq!(report.failed, ["a", "b"]);
            assert!(report.unsteady.is_empty());
        }
    }
}
