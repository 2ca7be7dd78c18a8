//! `llmtap record`: the traffic of calls, kept in a file.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use clap::Args;
use llmtap::capture::Writer;
use llmtap::engine::{Engine, Options, Output};
use llmtap::event::Event;

use super::live::Live;
use super::source::{Drained, Source};
use super::stop_on_signals;
use super::tail::render::count;
use hold::Hold;

mod hold;

const EXAMPLES: &str = "\
Examples:
  llmtap record traffic.jsonl.zst              until Ctrl-C
  llmtap record --pid 4242 traffic.jsonl.gz    of one process

Credentials in HTTP/1 heads are masked before they are written; HTTP/2, where they \
cannot be, is left out. Prompts and replies are in the file as they are.";

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
    /// Take events from a capture file, not from this host
    #[arg(long, value_name = "FILE", hide = true)]
    replay: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.replay {
        Some(file) => record(&mut super::capture::Capture::open(file)?, arguments),
        None => {
            let mut options = llmtap::probe::Options::default();
            if !arguments.pid.is_empty() {
                options.pids = llmtap::probe::Pids::Only(arguments.pid.clone());
            }
            record(&mut Live::start(&options)?, arguments)
        }
    }
}

fn record(source: &mut dyn Source, arguments: &Arguments) -> anyhow::Result<()> {
    let stop = stop_on_signals().context("cannot handle signals")?;
    let path = arguments.file.display();
    let writer = Writer::create(&arguments.file, source.clock(), source.host())
        .with_context(|| format!("cannot create {path}"))?;
    let mut recorder = Recorder::new(writer, arguments.all);
    let outcome = loop {
        // What came before the signal is still taken.
        let is_last = stop.load(Ordering::Relaxed);
        let drained = source.drain(&mut |event| recorder.take(&event));
        recorder
            .flush(source)
            .with_context(|| format!("cannot write {path}"))?;
        if let Some(line) = source.ready() {
            eprintln!("llmtap: {line}");
        }
        match drained {
            Err(error) => break Err(error),
            Ok(_) if is_last => break Ok(()),
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
    writer: Writer,
    engine: Engine,
    hold: Hold,
    /// Writes what has no calls, too.
    all: bool,
    verdicts: Vec<Output>,
    failed: Option<anyhow::Error>,
}

impl Recorder {
    fn new(writer: Writer, all: bool) -> Self {
        Self {
            writer,
            engine: Engine::new(Options::default()),
            hold: Hold::default(),
            all,
            verdicts: Vec::new(),
            failed: None,
        }
    }

    /// A failure is kept for the next [`flush`](Self::flush).
    fn take(&mut self, event: &Event<'_>) {
        if self.all {
            if let Err(error) = self.writer.write(event) {
                self.failed.get_or_insert(error.into());
            }
        } else {
            self.hold.push(event);
        }
        let verdicts = &mut self.verdicts;
        let keep = |output| {
            if matches!(output, Output::Verdict { .. }) {
                verdicts.push(output);
            }
        };
        self.engine.feed(event.clone(), &mut { keep });
    }

    fn flush(&mut self, source: &mut dyn Source) -> anyhow::Result<()> {
        for output in self.verdicts.drain(..) {
            if let Output::Verdict {
                connection,
                verdict,
            } = output
            {
                self.hold.decide(connection, verdict);
                if !self.all {
                    source.verdict(connection, verdict);
                }
            }
        }
        if let Some(now) = source.now() {
            self.engine.advance(now, &mut |_| {});
        }
        let Self { hold, writer, .. } = self;
        hold.release(&mut |event| Ok(writer.write(event)?))?;
        self.failed.take().map_or(Ok(()), Err)
    }

    fn finish(mut self, source: &dyn Source) -> anyhow::Result<String> {
        let Self { hold, writer, .. } = &mut self;
        hold.finish(&mut |event| Ok(writer.write(event)?))?;
        let counters = self.engine.counters();
        let summary = format!(
            "{} in {} of traffic; {} of other traffic dropped, {} left out that could not be \
             masked, {} lost",
            count(counters.calls, "call"),
            count(self.writer.written_bytes(), "byte"),
            count(self.hold.dropped_bytes(), "byte"),
            count(self.writer.left_out(), "byte"),
            count(counters.lost_bytes.max(source.lost_bytes()), "byte"),
        );
        self.writer.finish()?;
        Ok(summary)
    }
}
