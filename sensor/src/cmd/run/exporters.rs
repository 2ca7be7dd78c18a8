//! The ways out, as they are configured: queues, threads, and the network.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use llmtap::export::Outgoing;
use llmtap::export::file::{JsonLines, Lines, Rotating};
use llmtap::export::metrics::series::since_then;
use llmtap::export::otlp::client::Accepted;
use llmtap::export::otlp::measure::{self, Period};
use llmtap::export::otlp::{Batching, Client, Destination, Encoder, Lane, Outlet, Tally};
use llmtap::export::semconv::Conventions;
use llmtap::export::serve::{self, Told as _};
use llmtap::export::spool::{Disk, Memory, Spool};
use llmtap::export::worker::{Bounds, Worker};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::destination;
use super::state::{Exported, State, Ways, unix_nanos};
use crate::cmd::config::schema::{Config, ContentPlace, Names, Signal, Temporality};

/// Everything that takes records, running.
#[derive(Debug)]
pub struct Exporters {
    workers: Vec<Worker>,
    lanes: Vec<Arc<Lane>>,
    /// What becomes of metrics, which wait nowhere.
    metrics: Option<Arc<Tally>>,
    /// Sends what the lanes hold.
    senders: Vec<JoinHandle<()>>,
    /// Ends the export of metrics.
    closing: Arc<Notify>,
    runtime: Runtime,
    state: Arc<State>,
}

impl Exporters {
    pub fn start(config: &Config, state: &Arc<State>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(2)
            .thread_name("llmtap-net")
            .enable_all()
            .build()
            .context("cannot start the thread for the network")?;
        let mut exporters = Self {
            workers: Vec::new(),
            lanes: Vec::new(),
            metrics: None,
            senders: Vec::new(),
            closing: Arc::new(Notify::new()),
            runtime,
            state: Arc::clone(state),
        };
        exporters.start_file(config)?;
        exporters.start_otlp(config)?;
        exporters.start_metrics(config)?;
        exporters.start_serving(config)?;
        state.set_ways_out(Ways {
            workers: exporters.workers.iter().map(Worker::gauge).collect(),
            lanes: exporters.lanes.clone(),
            metrics: exporters.metrics.clone(),
        });
        if exporters.workers.is_empty()
            && exporters.senders.is_empty()
            && config.prometheus.is_none()
        {
            bail!(
                "nothing is configured to go anywhere: set otlp.endpoint, prometheus or file.path (see `llmtap run --help`)"
            );
        }
        Ok(exporters)
    }

    /// Hands over a record. `patient`: waits for room.
    pub fn take(&self, record: &Arc<Outgoing>, patient: bool) {
        for worker in &self.workers {
            match patient {
                true => worker.push_patiently(record),
                false => worker.push(record),
            }
        }
    }

    fn start_file(&mut self, config: &Config) -> anyhow::Result<()> {
        let Some(path) = &config.file.path else {
            return Ok(());
        };
        let lines = match path.as_os_str() == "-" {
            true => Lines::Stdout,
            false => {
                let max_bytes = config.file.max_mib.saturating_mul(1 << 20);
                let file = Rotating::open(path, max_bytes, config.file.keep);
                Lines::File(file.with_context(|| format!("cannot write {}", path.display()))?)
            }
        };
        let conventions = conventions(config.semconv);
        let sink = JsonLines { lines, conventions };
        self.workers
            .push(Worker::start("file", bounds(config), sink)?);
        Ok(())
    }

    fn start_otlp(&mut self, config: &Config) -> anyhow::Result<()> {
        let traces = self.lane(config, Signal::Traces)?;
        let logs = self.lane(config, Signal::Logs)?;
        if traces.is_none() && logs.is_none() {
            return Ok(());
        }
        let place = config.otlp.content;
        let sink = Outlet {
            encoder: Encoder {
                conventions: conventions(config.semconv),
                content_on_spans: place != ContentPlace::Events,
                resource: config.resource.clone().into_iter().collect(),
            },
            content_on_events: place != ContentPlace::Spans,
            traces,
            logs,
        };
        self.workers
            .push(Worker::start("otlp", bounds(config), sink)?);
        Ok(())
    }

    /// A lane for `signal`, and who sends what is in it.
    fn lane(&mut self, config: &Config, signal: Signal) -> anyhow::Result<Option<Arc<Lane>>> {
        let Some(destination) = destination::of(&config.otlp, signal)? else {
            return Ok(None);
        };
        let name = destination::name(signal);
        let client = client(destination)?;
        let lane = Arc::new(Lane::new(name, spool(config, name)?));
        let batching = Batching {
            messages: config.otlp.batch_size.get(),
            delay: config.otlp.batch_delay.0,
        };
        let sending = Arc::clone(&lane).run(client, batching);
        self.senders.push(self.runtime.spawn(sending));
        self.lanes.push(Arc::clone(&lane));
        Ok(Some(lane))
    }

    fn start_metrics(&mut self, config: &Config) -> anyhow::Result<()> {
        let Some(destination) = destination::of(&config.otlp, Signal::Metrics)? else {
            return Ok(());
        };
        let tally = Arc::new(Tally::default());
        self.metrics = Some(Arc::clone(&tally));
        let measuring = Measuring {
            tally,
            client: client(destination)?,
            interval: config.otlp.metrics_interval.0.max(Duration::from_secs(1)),
            own: own_resource(config),
            is_delta: config.otlp.temporality == Temporality::Delta,
            closing: Arc::clone(&self.closing),
            state: Arc::clone(&self.state),
        };
        self.senders.push(self.runtime.spawn(measuring.run()));
        Ok(())
    }

    fn start_serving(&self, config: &Config) -> anyhow::Result<()> {
        let Some(address) = config.prometheus else {
            return Ok(());
        };
        let listener = self
            .runtime
            .block_on(TcpListener::bind(address))
            .with_context(|| format!("cannot listen on {address}"))?;
        if let Ok(address) = listener.local_addr() {
            eprintln!("llmtap: metrics are at http://{address}/metrics");
        }
        self.runtime
            .spawn(serve::run(listener, Arc::clone(&self.state)));
        Ok(())
    }

    /// Encodes what waits, sends as much of it as can be sent within `patience`, and ends.
    /// What is left stays in the spool.
    pub fn finish(self, patience: Duration) {
        let Self {
            workers,
            lanes,
            senders,
            closing,
            runtime,
            ..
        } = self;
        // Each writes what is in its queue.
        drop(workers);
        lanes.iter().for_each(|lane| lane.close());
        closing.notify_one();
        runtime.block_on(async {
            let all = async {
                for sender in senders {
                    let _ = sender.await;
                }
            };
            let _ = tokio::time::timeout(patience, all).await;
        });
        for lane in lanes {
            let waiting = lane.status().waiting.messages;
            if waiting > 0 {
                let name = lane.name;
                eprintln!("llmtap: {name}: {waiting} could not be sent yet");
            }
        }
        // Names are looked up in threads that may hang.
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}

/// Exports metrics from time to time.
struct Measuring {
    tally: Arc<Tally>,
    client: Client,
    interval: Duration,
    own: Vec<(String, String)>,
    /// A number counts from the last export that was taken.
    is_delta: bool,
    closing: Arc<Notify>,
    state: Arc<State>,
}

impl Measuring {
    async fn run(self) {
        let mut last_unix_nanos = 0;
        let mut failed = false;
        loop {
            let closing = tokio::time::timeout(self.interval, self.closing.notified())
                .await
                .is_ok();
            let now_unix_nanos = unix_nanos();
            let before = self.state.exported().clone();
            let period = Period {
                started_unix_nanos: before.at_unix_nanos,
                is_delta: self.is_delta,
                now_unix_nanos,
                last_unix_nanos,
            };
            let families = self.state.families();
            let request = match self.is_delta {
                true => {
                    let since = since_then(&families, &before.families);
                    measure::request(&since, &self.own, period)
                }
                false => measure::request(&families, &self.own, period),
            };
            match self.client.post(request).await {
                Ok(Accepted { refused }) => {
                    self.tally.sent(1);
                    if refused > 0 && self.tally.refused(refused) {
                        eprintln!(
                            "llmtap: metrics: the collector refused {refused} points; more will only be counted"
                        );
                    }
                    (last_unix_nanos, failed) = (now_unix_nanos, false);
                    if self.is_delta {
                        *self.state.exported() = Exported {
                            families,
                            at_unix_nanos: now_unix_nanos,
                        };
                    }
                }
                Err(failure) => {
                    self.tally.failed();
                    if !std::mem::replace(&mut failed, true) {
                        eprintln!("llmtap: metrics: {failure}; the next export has them, too");
                    }
                }
            }
            if closing {
                return;
            }
        }
    }
}

fn client(destination: Destination) -> anyhow::Result<Client> {
    let uri = destination.uri.clone();
    let host = uri.host().unwrap_or_default();
    Client::new(destination).with_context(|| format!("cannot speak TLS to {host}"))
}

fn spool(config: &Config, name: &str) -> anyhow::Result<Box<dyn Spool>> {
    let limit = config.spool.max_mib.get().saturating_mul(1 << 20);
    if config.spool.directory == Path::new("") {
        return Ok(Box::new(Memory::new(limit)));
    }
    let folder = config.spool.directory.join(name);
    let disk = Disk::open(&folder, limit).with_context(|| {
        let folder = folder.display();
        format!("cannot use the spool {folder}; another place is set by spool.directory")
    })?;
    let waiting = disk.depth().messages;
    if waiting > 0 {
        eprintln!("llmtap: {name}: {waiting} from before are sent first");
    }
    Ok(Box::new(disk))
}

const fn conventions(names: Names) -> Conventions {
    match names {
        Names::Otel => Conventions::Otel,
        Names::OpenInference => Conventions::OpenInference,
        Names::Both => Conventions::Both,
    }
}

const fn bounds(config: &Config) -> Bounds {
    Bounds {
        records: config.queue.records,
        bytes: config.queue.max_mib.saturating_mul(1 << 20),
    }
}

/// llmtap as a resource.
fn own_resource(config: &Config) -> Vec<(String, String)> {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let own = [
        ("service.name", config.service_name.clone()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("host.name", host),
    ];
    let mut all: Vec<_> = own.map(|(name, value)| (name.to_owned(), value)).into();
    let more = config.resource.iter().filter(|(name, _)| own_has_not(name));
    all.extend(more.map(|(name, value)| (name.clone(), value.clone())));
    all
}

fn own_has_not(name: &str) -> bool {
    !["service.name", "service.version", "host.name"].contains(&name)
}
