//! Everything that reads foreign bytes, as functions that a fuzzer can call.
//!
//! In: nothing. Out: [`TARGETS`]. The bodies stand in the rooms that they test, in files
//! named `fuzz.rs`; a body returns, or panics where a law of its room is broken.

#[path = "../../../sensor/tests/support/meter.rs"]
pub mod meter;

use std::sync::LazyLock;

use llmtap::discover::fuzz::Sound;
use llmtap::enrich::Joiner;
use llmtap::enrich::cost::Prices;
use llmtap::export::jsonl;
use llmtap::redact::{Content, Policy};
use llmtap::time::ClockOffset;
use llmtap::{capture, content, discover, engine, http, jsonrpc, llm, probe, redact};

/// One function that takes any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    /// What it reads, in a few words.
    pub what: &'static str,
    /// Longest input that is worth trying.
    pub longest: usize,
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, what: &'static str, longest: usize, run: fn(&[u8])) -> Target {
    Target {
        name,
        what,
        longest,
        run,
    }
}

/// In the order of the flow.
#[rustfmt::skip]
pub const TARGETS: &[Target] = &[
    target("image", "ELF images", 64 << 10, discover::fuzz::image),
    target("damage", "real ELF images with changes", 1 << 10, damaged_image),
    target("maps", "/proc/PID/maps", 4 << 10, discover::fuzz::maps),
    target("records", "records of the ring", 4 << 10, probe::fuzz::records),
    target("reader", "capture files", 8 << 10, capture::fuzz::reader),
    target("mask", "heads whose credentials are masked", 4 << 10, capture::fuzz::mask),
    target("reframe", "traffic written anew", 8 << 10, capture::fuzz::reframe),
    target("connection", "a connection of which nothing is known", 8 << 10, http::fuzz::connection),
    target("http1", "HTTP/1 heads, bodies and chunks", 8 << 10, http::fuzz::http1),
    target("http2", "HTTP/2 frames and header blocks", 8 << 10, http::fuzz::http2),
    target("hpack", "header blocks, joined late", 4 << 10, http::fuzz::hpack),
    target("websocket", "WebSocket frames, compressed ones too", 8 << 10, http::fuzz::websocket),
    target("jsonrpc", "messages of JSON-RPC, one a line", 4 << 10, jsonrpc::fuzz::lines),
    target("sse", "server-sent events", 8 << 10, content::fuzz::sse),
    target("event-stream", "AWS event-stream", 8 << 10, content::fuzz::event_stream),
    target("ndjson", "lines of JSON", 8 << 10, content::fuzz::ndjson),
    target("json", "a document or an array of them", 8 << 10, content::fuzz::json),
    target("grpc", "length-prefixed messages", 8 << 10, content::fuzz::grpc),
    target("coded", "gzip, deflate, br, zstd", 4 << 10, content::fuzz::coded),
    target("exchange", "requests and replies of all dialects", 16 << 10, llm::fuzz::exchange),
    target("rpc", "messages of gRPC methods", 4 << 10, llm::fuzz::rpc),
    target("session", "realtime sessions", 8 << 10, llm::fuzz::session),
    target("form", "multipart requests", 4 << 10, llm::fuzz::form),
    target("engine", "events of several connections, to lines of JSON", 16 << 10, engine_to_lines),
    target("prices", "files of prices", 4 << 10, llmtap::enrich::cost::fuzz::prices),
    target("redact", "text to be masked", 4 << 10, redact::fuzz::text),
];

/// Images of this machine, from the folder that `LLMTAP_FUZZ_IMAGES` names.
static IMAGES: LazyLock<Vec<Sound>> = LazyLock::new(|| {
    let folder = std::env::var_os("LLMTAP_FUZZ_IMAGES").unwrap_or_default();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let images = files.iter().filter_map(|file| std::fs::read(file).ok());
    images.filter_map(Sound::new).collect()
});

/// One of them, which the first byte chooses, with the changes that the others say.
fn damaged_image(script: &[u8]) {
    if let Some((choice, script)) = script.split_first()
        && let Some(place) = usize::from(*choice).checked_rem(IMAGES.len())
    {
        IMAGES[place].damaged(script);
    }
}

/// The engine, and what becomes of a call behind it.
fn engine_to_lines(script: &[u8]) {
    let mut joiner = Joiner::new(ClockOffset::default(), None);
    engine::fuzz::engine(script, live_bytes, &mut |call| {
        let mut enriched = joiner.finished(call);
        enriched.price(&Prices::default());
        for content in [Content::Off, Content::Redacted, Content::Full] {
            let record = Policy { content }.apply(enriched.clone());
            let line = jsonl::line(&record).expect("a record serialises");
            assert!(!line.contains('\n'), "a line is one line");
        }
    });
}

fn live_bytes() -> usize {
    meter::live_bytes().max(0).unsigned_abs()
}

/// The target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
