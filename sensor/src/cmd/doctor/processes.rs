//! Processes that use TLS, and how each can be seen.
//!
//! In: what discovery finds in the files of every process. Out: one entry for each
//! process and file.

use std::fs;

use llmtap::discover::process::{FileFacts, Outcome, tls_files};
use llmtap::discover::{Cache, Exit, Finding, HookPlan, SiteCost};
use serde::Serialize;

/// One file of one process that holds TLS, or could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    pub pid: u32,
    pub comm: String,
    #[serde(flatten)]
    pub image: Image,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    pub file: String,
    /// As a capture spells it: `openssl`, `boringssl`, `go`, …
    pub library: Option<String>,
    pub version: Option<String>,
    /// `None`: its traffic cannot be seen; `facts` say why.
    pub hook: Option<Hook>,
    /// One sentence each.
    pub facts: Vec<String>,
}

/// Where the traffic of a library is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    pub sites: usize,
    /// Sites where the kernel single-steps, which costs some ten times more.
    pub slow_sites: usize,
}

/// All processes that hold TLS, by number.
pub fn all() -> Vec<Process> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .collect();
    pids.sort_unstable();
    let mut cache = Cache::in_memory();
    pids.into_iter()
        .flat_map(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            // One that is gone by now uses no TLS any more.
            let files = tls_files(pid, &mut cache).unwrap_or_default();
            files
                .into_iter()
                .map(|facts| Process {
                    pid,
                    comm: comm.trim_end().to_owned(),
                    image: image(facts),
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

fn image(facts: FileFacts) -> Image {
    let path = facts.file.path.to_string_lossy();
    let deleted = if facts.file.deleted { " (deleted)" } else { "" };
    let blank = Image {
        file: format!("{path}{deleted}"),
        library: None,
        version: None,
        hook: None,
        facts: Vec::new(),
    };
    match facts.outcome {
        Outcome::Found(Finding::Hooks(plan)) => Image {
            library: Some(plan.library.to_string()),
            version: plan.version.as_deref().map(str::to_owned),
            hook: Some(hook(&plan)),
            facts: plan.evidence,
            ..blank
        },
        Outcome::Found(Finding::Unsupported(found)) => Image {
            library: Some(found.library.into_owned()),
            facts: vec![found.reason.into_owned()],
            ..blank
        },
        Outcome::Failed(error) => Image {
            facts: vec![error.to_string()],
            ..blank
        },
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
