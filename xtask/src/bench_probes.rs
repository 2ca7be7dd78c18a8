//! What probes cost a process that speaks TLS, and how much of it they catch.
//!
//! A TLS echo between two processes, pinned to one CPU, runs in three states in turn:
//! bare; with empty probes at libssl's public functions (what any tracer must at least
//! cost); with llmtap; and, where it makes no calls, when llmtap has released it. The
//! captured share is measured apart, without a pause between messages.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{build, install, shell};

#[derive(clap::Args)]
pub struct Options {
    /// Rounds, each of all states; medians are printed
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The CPU that the traffic is pinned to; everything else gets the others
    #[arg(long, default_value_t = 1)]
    cpu: usize,
}

/// What flows: calls, HTTP that is none, and bytes that are no HTTP.
const KINDS: [&str; 3] = ["llm", "http", "binary"];

/// Bytes of a message, and round trips in one run.
const SIZES: [(usize, usize); 4] = [(64, 8000), (1024, 8000), (16 << 10, 4000), (1 << 20, 60)];

/// The same for the captured share.
const FLOODS: [(usize, usize); 3] = [(1024, 20_000), (16 << 10, 4000), (1 << 20, 100)];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Bare,
    Empty,
    Llmtap,
    Released,
}

const STATES: [State; 4] = [State::Bare, State::Empty, State::Llmtap, State::Released];

impl State {
    /// Who makes calls is not released.
    fn can_be(self, kind: usize) -> bool {
        self != Self::Released || KINDS[kind] != "llm"
    }
}

/// What `tls echo` prints.
#[derive(Deserialize)]
struct Echo {
    /// Of one round trip.
    ns: f64,
    /// Bytes in both directions.
    sent: u64,
}

pub fn run(options: &Options) -> Result<()> {
    ensure!(shell::is_root(), "probes need root");
    let bench = Bench {
        llmtap: build::sensor()?,
        tls: install::tls_program()?,
        empty: install::empty_probes()?,
        cpu: options.cpu,
    };
    bench.costs(options.rounds)?;
    bench.shares()
}

struct Bench {
    llmtap: PathBuf,
    tls: PathBuf,
    empty: PathBuf,
    cpu: usize,
}

/// Something that runs beside the traffic, until dropped.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    fn costs(&self, rounds: usize) -> Result<()> {
        let mut taken = BTreeMap::<(usize, usize, State), Vec<f64>>::new();
        for round in 1..=rounds {
            shell::step(&format!("round {round} of {rounds}"), || {
                for state in STATES {
                    let _beside = self.enter(state)?;
                    for (kind, size) in all().filter(|(kind, _)| state.can_be(*kind)) {
                        let (bytes, count) = SIZES[size];
                        let ns = self.echo(KINDS[kind], bytes, count, state)?.ns;
                        taken.entry((kind, size, state)).or_default().push(ns);
                    }
                }
                Ok(())
            })?;
        }
        println!(
            "\nns a round trip (medians of {rounds}); ratio: (llmtap - bare) / (empty - bare); \
             rest: released / bare"
        );
        println!(
            "{:8} {:>8} {:>10} {:>10} {:>10} {:>7} {:>10} {:>7}",
            "traffic", "bytes", "bare", "empty", "llmtap", "ratio", "released", "rest"
        );
        for (kind, size) in all() {
            let of = |state| taken.get(&(kind, size, state)).map(|ns| median(ns));
            let [bare, empty, llmtap, released] = STATES.map(of);
            let (Some(bare), Some(empty), Some(llmtap)) = (bare, empty, llmtap) else {
                bail!("a state was not measured");
            };
            let released = released.map_or_else(String::new, |released| {
                format!(" {released:>10.0} {:>7.3}", released / bare)
            });
            println!(
                "{:8} {:>8} {bare:>10.0} {empty:>10.0} {llmtap:>10.0} {:>7.2}{released}",
                KINDS[kind],
                SIZES[size].0,
                (llmtap - bare) / (empty - bare)
            );
        }
        Ok(())
    }

    /// Brings about a state; it ends with what is returned.
    fn enter(&self, state: State) -> Result<Option<Beside>> {
        let elsewhere = || {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", &self.other_cpus()]);
            command
        };
        match state {
            State::Bare => Ok(None),
            State::Empty => {
                let mut command = elsewhere();
                command
                    .arg(&self.empty)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped());
                let mut beside = Beside(command.spawn().context("cannot start empty probes")?);
                wait_for_ready(beside.0.stdout.take().context("piped")?)?;
                Ok(Some(beside))
            }
            State::Llmtap | State::Released => {
                let mut command = elsewhere();
                command.arg(&self.llmtap);
                command.args(["tail", "--format", "jsonl", "--content", "off"]);
                let after = if state == State::Released { "1s" } else { "0s" };
                command.args(["--release-idle", after]);
                command.stdout(Stdio::null());
                Ok(Some(start_sensor(&mut command)?))
            }
        }
    }

    /// Every CPU but that of the traffic, as taskset takes them.
    fn other_cpus(&self) -> String {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let others: Vec<String> = (0..all)
            .filter(|&cpu| cpu != self.cpu || all == 1)
            .map(|cpu| cpu.to_string())
            .collect();
        others.join(",")
    }

    fn echo(&self, kind: &str, bytes: usize, count: usize, state: State) -> Result<Echo> {
        let mut command = shell::command(&self.tls);
        command.args(["echo", kind]);
        command.args([bytes, count, self.cpu].map(|n| n.to_string()));
        if state == State::Released {
            command.arg("released");
        }
        let output = shell::output(&mut command)?;
        serde_json::from_str(&output).context("tls echo prints JSON")
    }

    fn shares(&self) -> Result<()> {
        println!("\ncaptured without a pause, of what was sent");
        println!(
            "{:>8} {:>8} {:>14} {:>14} {:>14} {:>9}",
            "bytes", "count", "sent", "captured", "told as lost", "share"
        );
        for (bytes, count) in FLOODS {
            let file = Path::new("/dev/shm").join(format!("llmtap-bench-{}", std::process::id()));
            let mut command = Command::new(&self.llmtap);
            command
                .args(["record", "--all"])
                .arg(&file)
                .stdout(Stdio::null());
            let mut sensor = start_sensor(&mut command)?;
            // Both processes of the echo are seen, each with all the bytes.
            let sent = 2 * self.echo("llm", bytes, count, State::Llmtap)?.sent;
            let pid = sensor.0.id().to_string();
            shell::run(shell::command("kill").args(["-INT", &pid]))?;
            sensor.0.wait()?;
            let (captured, lost) = tally(&file)?;
            std::fs::remove_file(&file)?;
            println!(
                "{bytes:>8} {count:>8} {sent:>14} {captured:>14} {lost:>14} {:>7.2} %",
                100.0 * captured as f64 / sent as f64
            );
            if captured + lost != sent {
                bail!("captured and lost bytes are not what was sent");
            }
        }
        Ok(())
    }
}

fn all() -> impl Iterator<Item = (usize, usize)> {
    (0..KINDS.len()).flat_map(|kind| (0..SIZES.len()).map(move |size| (kind, size)))
}

fn start_sensor(command: &mut Command) -> Result<Beside> {
    let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut beside = Beside(child.context("cannot start llmtap")?);
    wait_for_ready(beside.0.stderr.take().context("piped")?)?;
    Ok(beside)
}

/// Reads until a line says `ready`, and what comes after it into nothing.
fn wait_for_ready(stream: impl Read + Send + 'static) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    for line in lines.by_ref() {
        if line?.contains("ready") {
            std::thread::spawn(move || lines.count());
            return Ok(());
        }
    }
    bail!("it ended before it was ready")
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A line of a capture, as far as it counts here.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    conn: u64,
    comm: Option<&'a str>,
    tls: Option<&'a str>,
    #[serde(default)]
    len: u64,
    #[serde(default)]
    lost: u64,
}

/// Bytes captured and bytes told as lost, of the echo's connections.
fn tally(file: &Path) -> Result<(u64, u64)> {
    let mut ours = HashSet::new();
    let (mut captured, mut lost) = (0, 0);
    for line in BufReader::new(File::open(file)?).lines() {
        let line = line?;
        let line: Line<'_> = serde_json::from_str(&line).context("a line of the capture")?;
        match line.kind {
            "open" if line.comm == Some("tls") && line.tls != Some("none") => {
                ours.insert(line.conn);
            }
            "data" if ours.contains(&line.conn) => {
                captured += line.len;
                lost += line.lost;
            }
            _ => {}
        }
    }
    Ok((captured, lost))
}
