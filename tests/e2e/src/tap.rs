//! A running `llmtap`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::{Call, PATIENCE};

/// `llmtap`, started and ready.
#[derive(Debug)]
pub struct Tap {
    child: Child,
    heard: Arc<Heard>,
}

/// What it has said so far.
#[derive(Debug, Default)]
struct Heard {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    output: Vec<String>,
    /// The lines of `output` that are calls.
    calls: Vec<Call>,
    errors: Vec<String>,
    /// How many of the two streams have ended.
    ended: u8,
}

/// All that it said, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub calls: Vec<Call>,
    pub output: String,
    pub errors: String,
    pub status: ExitStatus,
}

impl Tap {
    /// Starts the live tail with everything in its output, and waits until it is ready.
    pub fn tail(arguments: &[&str]) -> Self {
        let mut all = vec!["tail", "--format", "jsonl", "--content", "full"];
        all.extend(arguments);
        Self::start(&all)
    }

    /// Starts `llmtap record` into a file, and waits until it is ready.
    pub fn record(file: &Path, arguments: &[&str]) -> Self {
        let mut all = vec!["record"];
        all.extend(arguments);
        all.push(file.to_str().expect("invariant: our own path"));
        Self::start(&all)
    }

    /// Starts `llmtap` with `arguments`, and waits until it is ready.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(crate::scene::variable("LLMTAP"));
        command.args(arguments);
        Self::of(command)
    }

    /// Starts `llmtap` by `command`, and waits until it is ready.
    pub fn of(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("llmtap can be started");
        let heard = Arc::new(Heard::default());
        listen(child.stdout.take(), &heard, |lines, line| {
            lines
                .calls
                .extend(serde_json::from_str(&line).ok().map(Call));
            lines.output.push(line);
        });
        listen(child.stderr.take(), &heard, |lines, line| {
            lines.errors.push(line)
        });
        let tap = Self { child, heard };
        drop(tap.wait("ready", |lines| {
            lines.errors.iter().any(|line| line.contains("ready"))
        }));
        tap
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until at least `count` calls that are `wanted` were printed; gives them.
    pub fn calls(&self, count: usize, wanted: impl Fn(&Call) -> bool) -> Vec<Call> {
        let lines = self.wait(&format!("{count} calls"), |lines| {
            lines.calls.iter().filter(|call| wanted(call)).count() >= count
        });
        assert_eq!(lines.calls.len(), lines.output.len(), "each line is JSON");
        let calls = lines.calls.iter();
        calls.filter(|call| wanted(call)).cloned().collect()
    }

    /// Waits until at least `count` lines that are `wanted` were printed.
    pub fn lines(&self, count: usize, wanted: impl Fn(&str) -> bool) {
        drop(self.wait(&format!("{count} lines"), |lines| {
            lines.output.iter().filter(|line| wanted(line)).count() >= count
        }));
    }

    /// Waits until it has said so on its standard error.
    pub fn says(&self, text: &str) {
        drop(self.wait(text, |lines| {
            lines.errors.iter().any(|line| line.contains(text))
        }));
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(mut self) -> Ended {
        crate::traces::signal(self.child.id(), "INT");
        drop(self.wait("the end", |lines| lines.ended == 2));
        let status = self.child.wait().expect("invariant: our own child");
        let lines = self.heard.lines();
        Ended {
            calls: lines.calls.clone(),
            output: lines.output.join("\n"),
            errors: lines.errors.join("\n"),
            status,
        }
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("invariant: our own child");
        self.child.wait().expect("invariant: our own child");
    }

    fn wait(&self, what: &str, done: impl Fn(&Lines) -> bool) -> MutexGuard<'_, Lines> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.heard.lines();
        while !done(&lines) {
            let left = deadline.saturating_duration_since(Instant::now());
            // A stream that has ended says no more.
            if left.is_zero() || lines.ended == 2 {
                panic!(
                    "waited in vain for {what}; output:\n{}\nerrors:\n{}",
                    abridged(&lines.output),
                    abridged(&lines.errors)
                );
            }
            lines = self
                .heard
                .more
                .wait_timeout(lines, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        lines
    }
}

/// No sensor outlives its test.
impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Heard {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(
    stream: Option<impl Read + Send + 'static>,
    heard: &Arc<Heard>,
    take: fn(&mut Lines, String),
) {
    let stream = BufReader::new(stream.expect("invariant: piped"));
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        for line in stream.lines() {
            let Ok(line) = line else { break };
            take(&mut heard.lines(), line);
            heard.more.notify_all();
        }
        heard.lines().ended += 1;
        heard.more.notify_all();
    });
}

/// Lines as a person can read them when a test fails.
fn abridged(lines: &[String]) -> String {
    let from = lines.len().saturating_sub(20);
    lines[from..]
        .iter()
        .map(|line| line.chars().take(600).collect::<String>())
        .collect::<Vec<_>>()
        .join("\n")
}
