//! What is known of each process that uses TLS: one entry for each of its files that
//! hold it.
//!
//! In: findings of files, and what a sensor has seen through them. Out: [`Row`]s. Must
//! not know: how they are printed.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use llmtap::discover::language;
use llmtap::discover::maps;
use llmtap::discover::process::{FileFacts, Outcome, tls_files};
use llmtap::discover::{Cache, Exit, Finding, FoundBy, HookPlan, SiteCost};
use llmtap::event::Origin;
use llmtap::probe::{Covered, Judgement, Seen};
use serde::Serialize;

use crate::cmd::live::Live;

/// One file of one process that holds TLS, or could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub pid: u32,
    pub comm: String,
    /// `python`, `node`, …; `None`: machine code, as far as is known.
    pub runtime: Option<&'static str>,
    pub state: State,
    /// Calls that began while it was looked at.
    pub calls: u64,
    pub connections: u64,
    /// Of plaintext, that came while it was looked at.
    pub bytes: u64,
    #[serde(flatten)]
    pub image: Image,
}

impl Row {
    /// Whether nothing encrypts what the process says.
    pub fn is_plain(&self) -> bool {
        self.image.library.as_deref() == Some(PLAIN)
    }
}

/// How far a process can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its plaintext was seen.
    Verified,
    /// There are probes, and nothing came through them that tells.
    Attached,
    /// It is busy and made no calls, so that its probes were taken away for the time being.
    Released,
    /// There were probes, and what came through them was not what should.
    Withdrawn,
    /// There should be probes, and the kernel would not have them.
    Failed,
    /// It would get probes from a sensor that runs.
    Known,
    /// It cannot be seen.
    Unsupported,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    pub file: String,
    /// As a capture spells it: `openssl`, `boringssl`, `go`, …
    pub library: Option<String>,
    pub version: Option<String>,
    pub found_by: Option<FoundBy>,
    /// `None`: its traffic cannot be seen; `reason` says why.
    pub hook: Option<Hook>,
    /// Why not all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How the places were found, one sentence each.
    pub facts: Vec<String>,
}

/// Where the traffic of a library is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    pub sites: usize,
    /// Sites where the kernel single-steps, which costs some ten times more.
    pub slow_sites: usize,
}

/// How many calls began, by process and library.
#[derive(Clone, Debug, Default)]
pub struct Calls(HashMap<(u32, Box<str>), u64>);

impl Calls {
    pub fn began(&mut self, origin: &Origin) {
        if let (Some(pid), Some(library)) = (origin.pid, &origin.tls) {
            *self.0.entry((pid, library.as_ref().into())).or_default() += 1;
        }
    }

    /// Those that no row took.
    pub fn left(&self) -> u64 {
        self.0.values().sum()
    }

    fn has(&self, pid: u32, library: &str) -> bool {
        self.0.contains_key(&(pid, library.into()))
    }

    fn take(&mut self, pid: u32, library: &str) -> u64 {
        self.0.remove(&(pid, library.into())).unwrap_or(0)
    }
}

/// All processes that hold TLS, by number, as a sensor sees them.
pub fn with_sensor(live: &Live, calls: &mut Calls) -> Vec<Row> {
    let mut rows = Vec::new();
    for pid in pids() {
        // One that is gone by now uses no TLS any more.
        let mut covered = live.covered(pid).unwrap_or_default();
        // The calls count for the file through which something came.
        covered.sort_by_key(|file| std::cmp::Reverse(file.seen.bytes));
        rows.extend(covered.into_iter().map(|file| live_row(pid, file, calls)));
        rows.extend(plain_row(pid, calls));
    }
    rows
}

/// The same where none can run.
pub fn without_sensor() -> Vec<Row> {
    let mut cache = Cache::in_memory();
    pids()
        .into_iter()
        .flat_map(|pid| {
            let files = tls_files(pid, &mut cache).unwrap_or_default();
            files.into_iter().map(move |facts| row(pid, facts))
        })
        .collect()
}

fn pids() -> Vec<u32> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .collect();
    pids.sort_unstable();
    pids
}

fn live_row(pid: u32, covered: Covered, calls: &mut Calls) -> Row {
    let Seen {
        connections, bytes, ..
    } = covered.seen;
    let judgement = covered.judgement();
    let Covered {
        facts,
        image,
        is_released,
        ..
    } = covered;
    let mut row = row(pid, facts);
    row.connections = connections;
    row.bytes = bytes;
    if let Some(library) = &row.image.library {
        row.calls = calls.take(pid, library);
    }
    let Some(image) = image.filter(|_| row.state == State::Known) else {
        return row;
    };
    (row.state, row.image.reason) = if let Some(why) = image.withdrawn {
        (State::Withdrawn, Some(why.to_string()))
    } else if let Some(failure) = image.failures.first() {
        (State::Failed, Some(failure.to_string()))
    } else if is_released {
        (State::Released, None)
    } else if bytes > 0 && judgement == Judgement::Verified {
        (State::Verified, None)
    } else {
        (State::Attached, None)
    };
    row
}

/// How an event spells that nothing is encrypted.
const PLAIN: &str = "none";

/// A process that made calls over plain sockets.
fn plain_row(pid: u32, calls: &mut Calls) -> Option<Row> {
    let comm = comm(pid).filter(|_| calls.has(pid, PLAIN))?;
    Some(Row {
        pid,
        comm,
        runtime: runtime(pid, None),
        state: State::Verified,
        calls: calls.take(pid, PLAIN),
        connections: 0,
        bytes: 0,
        image: Image {
            library: Some(PLAIN.to_owned()),
            ..blank(String::new())
        },
    })
}

/// What the files alone tell.
fn row(pid: u32, facts: FileFacts) -> Row {
    let (state, image) = image(facts);
    Row {
        pid,
        comm: comm(pid).unwrap_or_default(),
        runtime: runtime(pid, image.library.as_deref()),
        state,
        calls: 0,
        connections: 0,
        bytes: 0,
        image,
    }
}

fn comm(pid: u32) -> Option<String> {
    let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(comm.trim_ascii_end()).into_owned())
}

fn runtime(pid: u32, library: Option<&str>) -> Option<&'static str> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let mapped = maps::mapped_files(pid).unwrap_or_default();
    let mapped = mapped.iter().map(|file| file.path.as_path());
    language::runtime(exe.as_deref().map(Path::new), mapped, library)
}

const fn blank(file: String) -> Image {
    Image {
        file,
        library: None,
        version: None,
        found_by: None,
        hook: None,
        reason: None,
        facts: Vec::new(),
    }
}

fn image(facts: FileFacts) -> (State, Image) {
    let path = facts.file.path.to_string_lossy();
    let deleted = if facts.file.deleted { " (deleted)" } else { "" };
    let blank = blank(format!("{path}{deleted}"));
    match facts.outcome {
        Outcome::Found(Finding::Hooks(plan)) => {
            let image = Image {
                library: Some(plan.library.to_string()),
                version: plan.version.as_deref().map(str::to_owned),
                found_by: Some(plan.found_by),
                hook: Some(hook(&plan)),
                facts: plan.evidence,
                ..blank
            };
            (State::Known, image)
        }
        Outcome::Found(Finding::Unsupported(found)) => {
            let image = Image {
                library: Some(found.library.into_owned()),
                reason: Some(found.reason.into_owned()),
                ..blank
            };
            (State::Unsupported, image)
        }
        Outcome::Failed(error) => {
            let image = Image {
                reason: Some(error.to_string()),
                ..blank
            };
            (State::Unsupported, image)
        }
    }
}

fn hook(plan: &HookPlan) -> Hook {
    let sites = plan.hooks.iter().flat_map(|hook| {
        let exits = match &hook.exit {
            Some(Exit::Sites(sites)) => sites.as_slice(),
            Some(Exit::Return) | None => &[],
        };
        std::iter::once(&hook.entry).chain(exits)
    });
    let slow = |site: &&llmtap::discover::Site| site.cost == SiteCost::Stepped;
    Hook {
        sites: sites.clone().count(),
        slow_sites: sites.filter(slow).count(),
    }
}
