//! Every attribute that leaves has a name that a convention knows, or one of ours.
//!
//! The calls are those of `tests/corpus/llm`; the names are those that the conventions'
//! own packages have.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use llmtap::enrich::Joiner;
use llmtap::export::jsonl;
use llmtap::export::semconv::metrics::{self, Kind, Metric};
use llmtap::export::semconv::{Conventions, OPERATION_DETAILS};
use llmtap::redact::{Content, Policy};
use llmtap::time::ClockOffset;
use serde_json::Value;

use crate::support::drive::{Interaction, drive};

/// Names that are newer than the packages; see the conventions' own repository.
const NEWER: [&str; 1] = ["gen_ai.request.reasoning.level"];

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/corpus")
        .join(name)
}

fn names(list: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(corpus("conventions").join(list)).expect("a list of names");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// The names of all attributes of all cases.
fn emitted(conventions: Conventions) -> BTreeSet<String> {
    let mut emitted = BTreeSet::new();
    for entry in fs::read_dir(corpus("llm")).expect("the corpus") {
        let path = entry.expect("a file").path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        let text = fs::read_to_string(path).expect("a case");
        let case: Value = serde_json::from_str(&text).expect("JSON");
        let Some(call) = drive(&Interaction::of_case(&case), true) else {
            continue;
        };
        let mut joiner = Joiner::new(ClockOffset::default(), Some("host"));
        let policy = Policy {
            content: Content::Full,
        };
        let record = policy.apply(joiner.finished(call));
        let line = jsonl::spelled(&record, conventions).expect("serialises");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        for part in ["attributes", "resource"] {
            let attributes = line[part].as_object().expect("an object");
            emitted.extend(attributes.keys().cloned());
        }
    }
    assert!(emitted.len() > 40, "a corpus that says little");
    emitted
}

/// `llm.input_messages.0.message.role` is made of two names and a place.
fn pieces(name: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for word in name.split('.') {
        match word.parse::<usize>() {
            Ok(_) => pieces.push(String::new()),
            Err(_) => {
                let piece = pieces.last_mut().expect("invariant: never empty");
                if !piece.is_empty() {
                    piece.push('.');
                }
                piece.push_str(word);
            }
        }
    }
    pieces
}

/// Whether a piece is a name, or one of a list's item followed by one of its own.
fn is_known(piece: &str, known: &BTreeSet<String>) -> bool {
    let dots = piece.match_indices('.').map(|(at, _)| at);
    let mut halves = dots.map(|at| (&piece[..at], &piece[at + 1..]));
    known.contains(piece) || halves.any(|(a, b)| known.contains(a) && known.contains(b))
}

#[test]
fn opentelemetry_knows_every_name() {
    let known = names("opentelemetry.txt");
    let strange: Vec<String> = emitted(Conventions::Otel)
        .into_iter()
        .filter(|name| !name.starts_with("llmtap."))
        .filter(|name| !known.contains(name) && !NEWER.contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn openinference_knows_every_name_of_its_own() {
    let (known, others) = (names("openinference.txt"), names("opentelemetry.txt"));
    let strange: Vec<String> = emitted(Conventions::OpenInference)
        .into_iter()
        .filter(|name| !name.starts_with("llmtap.") && !others.contains(name))
        .filter(|name| !pieces(name).iter().all(|piece| is_known(piece, &known)))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

const SECONDS: &str = "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92";
const OF_MCP: &str = "0.01 0.02 0.05 0.1 0.2 0.5 1 2 5 10 30 60 120 300";

/// Names, units and buckets as the conventions have them.
const METRICS: [(Metric, &str, &str, &str); 9] = [
    (
        metrics::TOKEN_USAGE,
        "gen_ai.client.token.usage",
        "{token}",
        "1 4 16 64 256 1024 4096 16384 65536 262144 1048576 4194304 16777216 67108864",
    ),
    (
        metrics::OPERATION_DURATION,
        "gen_ai.client.operation.duration",
        "s",
        SECONDS,
    ),
    (
        metrics::TIME_TO_FIRST_CHUNK,
        "gen_ai.client.operation.time_to_first_chunk",
        "s",
        SECONDS,
    ),
    (
        metrics::TIME_PER_OUTPUT_CHUNK,
        "gen_ai.client.operation.time_per_output_chunk",
        "s",
        SECONDS,
    ),
    (
        metrics::SERVER_DURATION,
        "gen_ai.server.request.duration",
        "s",
        SECONDS,
    ),
    (
        metrics::SERVER_PER_TOKEN,
        "gen_ai.server.time_per_output_token",
        "s",
        "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5",
    ),
    (
        metrics::SERVER_FIRST_TOKEN,
        "gen_ai.server.time_to_first_token",
        "s",
        "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10",
    ),
    (
        metrics::MCP_CLIENT_DURATION,
        "mcp.client.operation.duration",
        "s",
        OF_MCP,
    ),
    (
        metrics::MCP_SERVER_DURATION,
        "mcp.server.operation.duration",
        "s",
        OF_MCP,
    ),
];

#[test]
fn metrics_are_those_of_the_conventions() {
    for (metric, name, unit, bounds) in METRICS {
        assert_eq!((metric.name, metric.unit), (name, unit));
        let Kind::Histogram(found) = metric.kind else {
            panic!("{name} is no histogram");
        };
        let bounds: Vec<f64> = bounds.split(' ').map(|b| b.parse().unwrap()).collect();
        assert_eq!(found, bounds, "{name}");
    }
    assert_eq!(
        OPERATION_DETAILS,
        "gen_ai.client.inference.operation.details"
    );
}
