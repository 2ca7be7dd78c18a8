//! Recorded traffic, as far as it is at hand.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// Everything that seeds are made from.
pub struct Corpus {
    pub exchanges: Vec<Exchange>,
    /// Header blocks of one direction each.
    pub blocks: Vec<Vec<Vec<u8>>>,
    /// WebSocket frames: whether the process wrote them, and their bytes.
    pub sockets: Vec<Vec<(bool, Vec<u8>)>>,
}

/// A request and its response, as on the wire but for framing.
#[derive(Default)]
pub struct Exchange {
    pub url: String,
    pub request_type: String,
    pub request: Vec<u8>,
    pub status: u64,
    pub response_type: String,
    pub coding: Option<String>,
    pub response: Vec<u8>,
}

impl Corpus {
    pub fn load() -> Self {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
        let mut exchanges: Vec<Exchange> = documents(&own.join("llm")).map(of_case).collect();
        exchanges.extend(lines(&shared).filter_map(|line| of_record(&line)));
        Self {
            exchanges,
            blocks: documents(&own.join("hpack"))
                .map(|story| blocks(&story))
                .collect(),
            sockets: documents(&own.join("websocket"))
                .map(|case| frames(&case))
                .collect(),
        }
    }

    /// A dictionary for libFuzzer: names and short words of the JSON that was seen, those
    /// of many exchanges first, for the targets that read JSON.
    pub fn words(&self, target: &str) -> String {
        const OF_JSON: [&str; 5] = ["exchange", "session", "engine", "json", "ndjson"];
        if !OF_JSON.contains(&target) {
            return String::new();
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for exchange in &self.exchanges {
            let texts = [&exchange.request, &exchange.response].map(|b| std::str::from_utf8(b));
            let words = texts.iter().flatten().flat_map(|text| text.split('"'));
            let words: BTreeSet<&str> = words.filter(|word| is_word(word)).collect();
            words
                .into_iter()
                .for_each(|word| *counts.entry(word).or_default() += 1);
        }
        let mut words: Vec<_> = counts.into_iter().collect();
        words.sort_by_key(|(_, count)| Reverse(*count));
        let lines = words
            .iter()
            .take(600)
            .map(|(word, _)| format!("\"\\\"{word}\\\"\"\n"));
        lines.collect()
    }

    pub fn bodies(&self, content_type: &str) -> impl Iterator<Item = &[u8]> {
        let plain = self.exchanges.iter().filter(|e| e.coding.is_none());
        plain
            .filter(move |e| e.response_type.contains(content_type))
            .map(|e| &e.response[..])
    }
}

fn is_word(text: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (2..32).contains(&text.len()) && text.bytes().all(is_letter)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn documents(folder: &Path) -> impl Iterator<Item = Value> + use<> {
    let files = files(folder).into_iter();
    files
        .filter(|file| file.extension().is_some_and(|e| e == "json"))
        .filter_map(|file| serde_json::from_slice(&fs::read(file).ok()?).ok())
}

fn lines(folder: &Path) -> impl Iterator<Item = Value> + use<> {
    files(folder)
        .into_iter()
        .filter_map(|file| fs::File::open(file).ok())
        .flat_map(|file| BufReader::new(flate2::read::GzDecoder::new(file)).lines())
        .filter_map(|line| serde_json::from_str(&line.ok()?).ok())
}

/// A case of our own.
fn of_case(case: Value) -> Exchange {
    let (request, response) = (&case["request"], &case["response"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let stream = response["events"].as_array().map(|events| {
        let events = events.iter().map(|event| {
            let name = event["event"].as_str();
            let name = name.map_or(String::new(), |name| format!("event: {name}\n"));
            format!("{name}data: {}\n\n", as_text(&event["data"]))
        });
        events.collect::<String>()
    });
    let kind = if stream.is_some() {
        "text/event-stream"
    } else {
        "application/json"
    };
    Exchange {
        url: text(&request["url"]),
        request_type: text(&request["fields"]["content-type"]),
        request: as_text(&request["body"]).into_bytes(),
        status: response["status"].as_u64().unwrap_or(200),
        response_type: kind.to_owned(),
        coding: None,
        response: stream
            .unwrap_or_else(|| as_text(&response["body"]))
            .into_bytes(),
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        json => json.to_string(),
    }
}

/// A line of a recording.
fn of_record(record: &Value) -> Option<Exchange> {
    let bytes = |key: &str| BASE64_STANDARD.decode(record[key].as_str()?).ok();
    let field = |fields: &str, name: &str| {
        let mut pairs = record[fields].as_array()?.iter();
        let pair = pairs.find(|p| p[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)))?;
        Some(pair[1].as_str()?.to_owned())
    };
    let is_coded = record["resp_compressed"] == true;
    Some(Exchange {
        url: record["url"].as_str()?.to_owned(),
        request_type: field("req_headers", "content-type").unwrap_or_default(),
        request: bytes("req_body").unwrap_or_default(),
        status: record["status"].as_u64().unwrap_or(200),
        response_type: field("resp_headers", "content-type").unwrap_or_default(),
        coding: field("resp_headers", "content-encoding").filter(|_| is_coded),
        response: bytes("resp_body").unwrap_or_default(),
    })
}

fn blocks(story: &Value) -> Vec<Vec<u8>> {
    let cases = story["cases"].as_array().into_iter().flatten();
    cases
        .map(|case| hex(case["wire"].as_str().unwrap_or_default()))
        .collect()
}

fn frames(case: &Value) -> Vec<(bool, Vec<u8>)> {
    let chunks = case["chunks"].as_array().into_iter().flatten();
    chunks
        .map(|chunk| {
            (
                chunk[0] == "write",
                hex(chunk[1].as_str().unwrap_or_default()),
            )
        })
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default() as u8;
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| digit(&pair[0]) << 4 | digit(&pair[1]))
        .collect()
}
