//! `llmtap run`: calls to collectors and files, until somebody stops it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use llmtap::engine::{Limits, Options};
use llmtap::enrich::{EnrichedCall, EnrichedRequest};
use llmtap::export::Outgoing;
use llmtap::export::metrics::Bounds;
use llmtap::export::retries::Retries;
use llmtap::export::semconv;
use llmtap::probe;
use llmtap::redact::Selection;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::account::{Accountant, Accounting};
use super::capture::Capture;
use super::config::Origin;
use super::config::schema::Config;
use super::live::Live;
use super::pipeline::{Pipeline, Step};
use super::source::{Drained, Source};
use exporters::Exporters;
use state::State;

mod destination;
mod exporters;
mod selection;
mod state;

const EXAMPLES: &str = "\
Examples:
  llmtap run --otlp-endpoint http://collector:4317
  llmtap run --prometheus 127.0.0.1:9464 --file-path /var/log/llmtap/calls.jsonl
  llmtap run --config /etc/llmtap/config.yaml

Each key of the configuration is a flag and a variable: otlp.batch_size is \
--otlp-batch-size and LLMTAP_OTLP_BATCH_SIZE; `llmtap config` prints them. SIGHUP reads \
the configuration anew. No prompt and no reply leaves unless `content` says so.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    origin: Origin,
    /// Take events from a capture file, not from this host
    #[arg(long, value_name = "FILE", hide = true)]
    replay: Option<PathBuf>,
}

/// How long what waits is still sent before a change.
const CHANGE: Duration = Duration::from_secs(1);
/// Between two looks at what waits and what was lost.
const LOOK: Duration = Duration::from_secs(1);

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = arguments.origin.load()?;
    let signals = Signals::handle().context("cannot handle signals")?;
    let service = Service::start(arguments.origin.clone(), config)?;
    match &arguments.replay {
        Some(file) => service.run(&mut Capture::open(file)?, &signals),
        None => {
            let mut live = Live::start(&probes(&service.config), &service.config.kubernetes)?;
            service.run(&mut live, &signals)
        }
    }
}

fn probes(config: &Config) -> probe::Options {
    let mut options = probe::Options {
        turn_limit: u64::from(config.max_body_mib.max(1)) << 20,
        release_idle: Some(config.release_idle.0).filter(|after| !after.is_zero()),
        ..probe::Options::default()
    };
    if !config.pids.is_empty() {
        options.pids = probe::Pids::Only(config.pids.clone());
    }
    options
}

/// What was asked for from outside.
struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn handle() -> std::io::Result<Self> {
        let signals = Self {
            stop: Arc::default(),
            reload: Arc::default(),
        };
        for signal in [SIGINT, SIGTERM] {
            // A second one ends the process at once.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signals.stop))?;
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        flag::register(SIGHUP, Arc::clone(&signals.reload))?;
        Ok(signals)
    }
}

/// The daemon.
struct Service {
    origin: Origin,
    config: Config,
    accountant: Accountant,
    desk: Desk,
}

/// Takes finished calls, and sees to it that they leave as they should.
struct Desk {
    selection: Selection,
    retries: Retries,
    whole: Whole,
    /// `None` while they are replaced.
    exporters: Option<Exporters>,
    state: Arc<State>,
    /// What brings calls can wait.
    patient: bool,
}

impl Service {
    fn start(origin: Origin, config: Config) -> anyhow::Result<Self> {
        let state = Arc::new(State::new(bounds(&config)));
        Ok(Self {
            accountant: accountant(&config)?,
            desk: Desk {
                selection: selection::of(&config)?,
                retries: Retries::default(),
                whole: Whole::default(),
                exporters: Some(Exporters::start(&config, &state)?),
                state,
                patient: false,
            },
            origin,
            config,
        })
    }

    fn run(mut self, source: &mut dyn Source, signals: &Signals) -> anyhow::Result<()> {
        self.desk.patient = source.now().is_none();
        let mut pipeline = Pipeline::new(self.options(), source);
        pipeline.name_services(selection::services(&self.config));
        let mut looked = None::<Instant>;
        let outcome = loop {
            if signals.stop.load(Ordering::Relaxed) {
                // What came before the signal is still taken.
                source.stop();
            }
            if signals.reload.swap(false, Ordering::Relaxed) {
                self.reload();
                pipeline.set_options(self.options());
                pipeline.name_services(selection::services(&self.config));
            }
            let (accountant, desk) = (&self.accountant, &mut self.desk);
            let patient = desk.patient;
            let drained = pipeline.pump(source, &mut |step| {
                accountant.take(step, patient, &mut |step| desk.take(step));
            });
            accountant.poll(&mut |step| desk.take(step));
            desk.state.turn();
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                desk.state.observe(&pipeline, source);
                looked = Some(Instant::now());
            }
            if let Some(line) = source.ready() {
                eprintln!("llmtap: {line}");
                desk.state.set_ready();
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
        self.finish(&mut pipeline, source);
        outcome
    }

    fn finish(self, pipeline: &mut Pipeline, source: &dyn Source) {
        let Self {
            accountant,
            mut desk,
            config,
            ..
        } = self;
        pipeline.finish(&mut |step| accountant.take(step, true, &mut |step| desk.take(step)));
        accountant.finish(&mut |step| desk.take(step));
        desk.state.observe(pipeline, source);
        if let Some(exporters) = desk.exporters {
            exporters.finish(config.otlp.closing.0);
        }
    }

    fn options(&self) -> Options {
        Options {
            llm: llmtap::llm::Options {
                content: self.desk.selection.needs_content() || self.accountant.needs_content(),
            },
            follow_text: false,
            limits: Limits {
                body: usize::from(self.config.max_body_mib.max(1)) << 20,
                ..Limits::default()
            },
        }
    }

    /// Reads the configuration anew. What is wrong with it changes nothing.
    fn reload(&mut self) {
        match self.origin.load().and_then(|config| self.change_to(config)) {
            Ok(()) => eprintln!("llmtap: the configuration was read anew"),
            Err(error) => eprintln!("llmtap: the configuration stays as it was: {error:#}"),
        }
    }

    fn change_to(&mut self, config: Config) -> anyhow::Result<()> {
        let selection = selection::of(&config)?;
        let desk = &mut self.desk;
        if ways_out(&config) != ways_out(&self.config) {
            // Probes go on filling the ring while this takes a moment.
            desk.replace_exporters(&config, &self.config)?;
        }
        desk.selection = selection;
        desk.state.set_bounds(bounds(&config));
        let of_probes = |c: &Config| (c.pids.clone(), c.max_body_mib, c.release_idle);
        if of_probes(&config) != of_probes(&self.config) {
            eprintln!("llmtap: pids, max_body_mib and release_idle change at the next start only");
        }
        if config.kubernetes != self.config.kubernetes {
            eprintln!("llmtap: kubernetes changes at the next start only");
        }
        if (&config.prices, config.estimate_tokens)
            != (&self.config.prices, self.config.estimate_tokens)
        {
            eprintln!("llmtap: prices and estimate_tokens change at the next start only");
        }
        self.config = config;
        Ok(())
    }
}

/// The part of the configuration that says where calls go.
fn ways_out(config: &Config) -> Config {
    Config {
        semconv: config.semconv,
        resource: config.resource.clone(),
        service_name: config.service_name.clone(),
        prometheus: config.prometheus,
        otlp: config.otlp.clone(),
        file: config.file.clone(),
        queue: config.queue.clone(),
        spool: config.spool.clone(),
        ..Config::default()
    }
}

const fn bounds(config: &Config) -> Bounds {
    Bounds {
        values: config.metrics.label_values,
        series: config.metrics.series,
    }
}

fn accountant(config: &Config) -> anyhow::Result<Accountant> {
    Accounting::new(config.prices.clone(), config.estimate_tokens).accountant()
}

/// The last traces with a call that is kept whatever the share, so that the request
/// which it was made for is kept, too.
#[derive(Debug, Default)]
struct Whole(VecDeque<u128>);

impl Whole {
    const MOST: usize = 256;

    fn note(&mut self, trace: u128) {
        if !self.has(trace) {
            self.0.push_back(trace);
        }
        if self.0.len() > Self::MOST {
            self.0.pop_front();
        }
    }

    fn has(&self, trace: u128) -> bool {
        self.0.contains(&trace)
    }
}

impl Desk {
    fn take(&mut self, step: Step) {
        match step {
            Step::Started(call) => {
                let service = semconv::service_name(&call.origin);
                if !self.selection.drops(&call, service) {
                    self.state.metrics().started(&call.call, service);
                }
            }
            Step::Text { .. } => {}
            Step::Finished(call) => self.finished(call),
            Step::Served(request) => self.served(request),
        }
    }

    fn finished(&mut self, call: EnrichedCall) {
        self.state.metrics().ended(call.call.id);
        let origin = Arc::clone(&call.origin);
        let Some(mut record) = self.selection.apply(call, semconv::service_name(&origin)) else {
            return;
        };
        self.retries.link(&mut record);
        self.state.metrics().observe(&record);
        if record.share() >= 1.0 {
            self.whole.note(record.trace().trace);
        }
        self.send(Outgoing::Call(record));
    }

    fn served(&mut self, request: EnrichedRequest) {
        let whole = self.whole.has(request.trace.trace);
        let origin = Arc::clone(&request.origin);
        let service = semconv::service_name(&origin);
        if let Some(record) = self.selection.apply_served(request, service, whole) {
            self.send(Outgoing::Served(record));
        }
    }

    fn send(&self, record: Outgoing) {
        if let Some(exporters) = &self.exporters
            && record.is_sampled()
        {
            exporters.take(&Arc::new(record), self.patient);
        }
    }

    /// The old ones first let go of their files and ports. Where the new ones do not
    /// start, the old ones come back.
    fn replace_exporters(&mut self, new: &Config, old: &Config) -> anyhow::Result<()> {
        if let Some(exporters) = self.exporters.take() {
            exporters.finish(CHANGE);
        }
        let started = Exporters::start(new, &self.state);
        let (exporters, outcome) = match started {
            Ok(exporters) => (exporters, Ok(())),
            Err(error) => {
                let old = Exporters::start(old, &self.state);
                (
                    old.context("the old ways out cannot be opened again")?,
                    Err(error),
                )
            }
        };
        self.exporters = Some(exporters);
        outcome
    }
}
