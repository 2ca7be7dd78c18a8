//! `llmtap ls`: processes that use TLS, and how far each can be seen.
//!
//! It asks no other llmtap: it runs a sensor of its own for a moment, so that what it says
//! is what it has seen itself.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use llmtap::engine::Options;

use super::config::schema::Kubernetes;
use super::live::Live;
use super::pipeline::{Pipeline, Step};
use super::source::{Drained, Source as _};
use super::tail::{filter, render};
use super::{Format, Releasing, no_colour, stop_on_signals};
use rows::{Calls, Row};

pub mod rows;
pub mod table;

const EXAMPLES: &str = "\
Examples:
  llmtap ls                       who uses TLS, and what came of it in three seconds
  llmtap ls --for 1m              in a minute, or until Ctrl-C
  llmtap ls --format jsonl | jq 'select(.state == \"unsupported\")'

States: verified (plaintext was seen), attached (nothing has come that tells), released \
(busy, and no call for --release-idle: the probes are gone until it connects to somebody \
new), withdrawn (what came was none, so that the probes are gone again), failed (the \
kernel refused them), unsupported (there is nothing to probe). The reason stands below.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// How long to watch, as 500ms, 10s or 2m
    #[arg(long = "for", value_name = "DURATION", default_value = "3s",
          value_parser = filter::duration)]
    span: Duration,
    #[command(flatten)]
    releasing: Releasing,
    /// How the processes are printed
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stop = stop_on_signals().context("cannot handle signals")?;
    let Watched { rows, .. } = watch(arguments.span, arguments.releasing.after(), &stop)?;
    let mut stdout = io::stdout().lock();
    if arguments.format == Some(Format::Jsonl) {
        for row in &rows {
            serde_json::to_writer(&mut stdout, row)?;
            writeln!(stdout)?;
        }
    } else {
        let colour = stdout.is_terminal() && !no_colour();
        write!(stdout, "{}", table::text(&rows, colour))?;
    }
    Ok(())
}

/// What a sensor has seen.
#[derive(Debug)]
pub struct Watched {
    pub rows: Vec<Row>,
    /// Whether this kernel has probes for single processes.
    pub by_process: bool,
}

/// What a sensor sees in so long, or until it is to stop.
pub fn watch(
    span: Duration,
    release_idle: Option<Duration>,
    stop: &AtomicBool,
) -> anyhow::Result<Watched> {
    let options = llmtap::probe::Options {
        release_idle,
        ..llmtap::probe::Options::default()
    };
    let mut live = Live::start(&options, &Kubernetes::default())?;
    let mut pipeline = Pipeline::new(Options::default(), &live);
    let mut calls = Calls::default();
    let until = Instant::now() + span;
    if let Some(line) = live.ready() {
        eprintln!("llmtap: {line}; watching for {}", render::span(span));
    }
    while !stop.load(Ordering::Relaxed) && Instant::now() < until {
        let drained = pipeline.pump(&mut live, &mut |step| {
            if let Step::Started(call) = step {
                calls.began(&call.origin);
            }
        })?;
        for line in live.remarks() {
            eprintln!("llmtap: {line}");
        }
        if drained == Drained::Idle {
            live.wait()?;
        }
    }
    let rows = rows::with_sensor(&live, &mut calls);
    if calls.left() > 0 {
        let calls = render::count(calls.left(), "call");
        eprintln!("llmtap: and {calls} of processes that have ended since");
    }
    Ok(Watched {
        rows,
        by_process: live.by_process(),
    })
}
