//! `llmtap record`: the traffic of calls, kept in a file.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use llmtap::capture::Writer;
use llmtap::engine::{Engine, Options, Output};
use llmtap::event::{ConnectionId, Event, Verdict};

use super::config::schema::Kubernetes;
use super::live::Live;
use super::source::{Drained, Source};
use super::tail::render::count;
use super::{Releasing, stop_on_signals};
use file::File;
use hold::Hold;

mod file;
mod hold;

const EXAMPLES: &str = "\
Examples:
  llmtap record traffic.jsonl.zst              until Ctrl-C
  llmtap record --pid 4242 traffic.jsonl.gz    of one process
  llmtap record --content redacted t.jsonl     without what people and models wrote

Credentials are masked before anything is written. HTTP/2, whose heads cannot be masked \
in place, is written as HTTP/1.1, each exchange on a connection of its own.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Where to: JSON Lines, compressed where the name ends in .gz or .zst
    file: PathBuf,
    /// Only this process; may be repeated
    #[arg(long)]
    pid: Vec<u32>,
    /// Also traffic that is no call to a model
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    releasing: Releasing,
    /// How much of prompts and replies is written
    #[arg(long, value_enum, default_value_t = Content::Full)]
    content: Content,
    /// Take events from a capture file, not from this host
    #[arg(long, value_name = "FILE", hide = true)]
    replay: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Content {
    /// Their shape: every text replaced by asterisks; models, names and numbers stay
    Redacted,
    /// All of it
    Full,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.replay {
        Some(file) => record(&mut super::capture::Capture::open(file)?, arguments),
        None => {
            let mut options = llmtap::probe::Options {
                // All is wanted of whom no call is known, too.
                release_idle: arguments.releasing.after().filter(|_| !arguments.all),
                ..llmtap::probe::Options::default()
            };
            if !arguments.pid.is_empty() {
                options.pids = llmtap::probe::Pids::Only(arguments.pid.clone());
            }
            record(
                &mut Live::start(&options, &Kubernetes::default())?,
                arguments,
            )
        }
    }
}

fn record(source: &mut dyn Source, arguments: &Arguments) -> anyhow::Result<()> {
    let stop = stop_on_signals().context("cannot handle signals")?;
    let path = arguments.file.display();
    let writer = Writer::create(&arguments.file, source.clock(), source.host())
        .with_context(|| format!("cannot create {path}"))?;
    let file = File::new(writer, arguments.content == Content::Redacted);
    let mut recorder = Recorder::new(file, arguments.all);
    let outcome = loop {
        if stop.load(Ordering::Relaxed) {
            // What came before the signal is still taken.
            source.stop();
        }
        let drained = source.drain(&mut |event| recorder.take(&event));
        recorder
            .flush(source)
            .with_context(|| format!("cannot write {path}"))?;
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
    let summary = recorder
        .finish(source)
        .with_context(|| format!("cannot write {path}"))?;
    eprintln!("llmtap: {summary}");
    outcome
}

/// Events on their way to the file.
struct Recorder {
    file: File,
    engine: Engine,
    hold: Hold,
    /// Writes what has no calls, too.
    all: bool,
    verdicts: Vec<(ConnectionId, Verdict)>,
}

impl Recorder {
    fn new(file: File, all: bool) -> Self {
        Self {
            file,
            engine: Engine::new(Options::default()),
            hold: Hold::default(),
            all,
            verdicts: Vec::new(),
        }
    }

    fn take(&mut self, event: &Event<'_>) {
        if self.all {
            self.file.write(event);
        } else {
            self.hold.push(event);
        }
        let verdicts = &mut self.verdicts;
        self.engine.feed(event.clone(), &mut |output| {
            if let Output::Verdict {
                connection,
                verdict,
            } = output
            {
                verdicts.push((connection, verdict));
            }
        });
    }

    fn flush(&mut self, source: &mut dyn Source) -> io::Result<()> {
        for (connection, verdict) in self.verdicts.drain(..) {
            self.hold.decide(connection, verdict);
            if !self.all {
                source.verdict(connection, verdict);
            }
        }
        if let Some(now) = source.now() {
            self.engine.advance(now, &mut |_| {});
        }
        let Self { hold, file, .. } = self;
        hold.release(&mut |event| file.write(event));
        file.failure()
    }

    fn finish(mut self, source: &dyn Source) -> io::Result<String> {
        let Self { hold, file, .. } = &mut self;
        hold.finish(&mut |event| file.write(event));
        file.failure()?;
        let counters = self.engine.counters();
        let summary = format!(
            "{} in {} of traffic; {} of other traffic dropped, {} left out that could not be \
             masked, {} lost",
            count(counters.calls, "call"),
            count(self.file.written_bytes(), "byte"),
            count(self.hold.dropped_bytes(), "byte"),
            count(self.file.left_out(), "byte"),
            count(counters.lost_bytes.max(source.lost_bytes()), "byte"),
        );
        self.file.finish()?;
        Ok(summary)
    }
}
