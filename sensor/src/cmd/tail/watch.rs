//! The loop of `tail` and `replay`: from a source to standard output, until the
//! source ends or somebody stops it.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use llmtap::engine::{Limits, Options};
use llmtap::redact::{Content, Policy};

use super::filter::Filter;
use super::jsonl::JsonLines;
use super::output::{Output, Slow};
use super::render::Look;
use super::summary::Summary;
use super::text::Text;
use crate::cmd::account::Accountant;
use crate::cmd::pipeline::{Pipeline, Step};
use crate::cmd::source::{Drained, Source};
use crate::cmd::{Format, no_colour, stop_on_signals};

/// What to print, and how.
#[derive(Debug)]
pub struct Watch {
    pub format: Format,
    pub policy: Policy,
    pub filter: Filter,
    pub follow_text: bool,
    /// Print the requests that processes served when they made calls, too.
    pub served: bool,
    /// Say at the end what was seen in all.
    pub summary: bool,
    pub limits: Limits,
}

/// Turns steps into text.
pub trait Printer {
    fn step(&mut self, step: Step, out: &mut String) -> anyhow::Result<()>;

    /// What was printed so far.
    fn summary(&self) -> Summary;
}

/// Runs until the source ends, a signal comes or nobody reads the output any more.
pub fn run(source: &mut dyn Source, watch: &Watch, accountant: Accountant) -> anyhow::Result<()> {
    let stop = stop_on_signals().context("cannot handle signals")?;
    let mut pipeline = Pipeline::new(watch.engine_options(&accountant), source);
    // Time passes only where traffic is live; a file waits.
    let patient = source.now().is_none();
    let slow = if patient { Slow::Wait } else { Slow::Drop };
    let mut press = Press {
        printer: watch.printer(),
        text: String::new(),
        output: Output::new(slow, io::stdout()).context("cannot start the thread that prints")?,
        failed: None,
    };

    let outcome = loop {
        if stop.load(Ordering::Relaxed) {
            // What came before the signal is still taken.
            source.stop();
        }
        let drained = pipeline.pump(source, &mut |step| {
            accountant.take(step, patient, &mut |step| press.take(step));
        });
        accountant.poll(&mut |step| press.take(step));
        press.flush()?;
        if let Some(line) = source.ready() {
            eprintln!("llmtap: {line}");
        }
        for line in source.remarks() {
            eprintln!("llmtap: {line}");
        }
        match drained {
            Err(error) => break Err(error),
            Ok(Drained::End) => break Ok(()),
            Ok(Drained::More) => {}
            Ok(Drained::Idle) => source.wait()?,
        }
    };
    pipeline.finish(&mut |step| accountant.take(step, true, &mut |step| press.take(step)));
    accountant.finish(&mut |step| press.take(step));
    press.flush()?;
    let mut summary = press.printer.summary();
    summary.unprinted_lines = press.output.finish()?;
    if watch.summary {
        summary.lost_bytes = pipeline.lost_bytes().max(source.lost_bytes());
        eprintln!("llmtap: {summary}");
    }
    outcome
}

impl Watch {
    fn engine_options(&self, accountant: &Accountant) -> Options {
        let content = self.policy.content != Content::Off;
        Options {
            llm: llmtap::llm::Options {
                content: content || accountant.needs_content(),
            },
            follow_text: self.follow_text && content,
            limits: self.limits,
        }
    }

    fn printer(&self) -> Box<dyn Printer> {
        let (policy, filter) = (self.policy, self.filter.clone());
        match self.format {
            Format::Jsonl => Box::new(JsonLines::new(policy, filter, self.served)),
            Format::Text => Box::new(Text::new(policy, filter, Look::of_stdout())),
        }
    }
}

/// What prints steps, and where to.
struct Press {
    printer: Box<dyn Printer>,
    text: String,
    output: Output,
    failed: Option<anyhow::Error>,
}

/// Text that is handed over without waiting for the end of its batch, in bytes.
const BATCH: usize = 64 << 10;

impl Press {
    /// A failure is kept for the next [`flush`](Self::flush).
    fn take(&mut self, step: Step) {
        if self.failed.is_some() {
            return;
        }
        let mut done = self.printer.step(step, &mut self.text);
        if done.is_ok() && self.text.len() > BATCH {
            done = self.output.print(&mut self.text).map_err(Into::into);
        }
        self.failed = done.err();
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(self.output.print(&mut self.text)?),
        }
    }
}

impl Look {
    fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            colour: terminal && !no_colour(),
            width: terminal
                .then(terminal_size::terminal_size)
                .flatten()
                .map(|(width, _)| usize::from(width.0)),
            zone: jiff::tz::TimeZone::system(),
        }
    }
}
