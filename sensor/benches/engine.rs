//! What the engine costs: `engine CAPTURE…`, each a capture file, held in memory.
//!
//! Its time is held against that of `serde_json` parsing the same messages into
//! nothing, found in the same traffic beforehand: what reading the JSON alone costs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llmtap::capture::Reader;
use llmtap::content::{Content, Limits};
use llmtap::engine::{Engine, Options, Output};
use llmtap::event::{ConnectionId, Direction, Event, EventKind, Missing};
use llmtap::http::{Connection, ExchangeEvent, ExchangeId, Step};
use llmtap::stream::Segment;
use llmtap::time::Timestamp;
use serde::de::IgnoredAny;

/// Runs of each measurement; the median counts.
const RUNS: usize = 9;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[allow(unsafe_code, reason = "an allocator can only be made so")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as our caller promised for `layout`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `pointer` came from `alloc` above, with this `layout`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An event that owns its bytes.
enum Kept {
    Data(Direction, Missing, Vec<u8>),
    Other(EventKind<'static>),
}

type Trace = Vec<(ConnectionId, Timestamp, Kept)>;

fn main() -> ExitCode {
    // Cargo adds a flag of its own.
    let files: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if files.is_empty() {
        eprintln!("usage: engine CAPTURE…; `cargo xtask bench engine` makes some");
        return ExitCode::from(2);
    }
    println!(
        "{:24} {:>7} {:>7} {:>9} {:>9} {:>9} {:>7} {:>12}",
        "capture", "calls", "MB", "engine", "MB/s", "serde", "ratio", "allocs/call"
    );
    for file in &files {
        measure(Path::new(file));
    }
    ExitCode::SUCCESS
}

fn measure(file: &Path) {
    let trace = load(file);
    let bytes: usize = trace.iter().map(|(_, _, kept)| kept.len()).sum();
    let messages = messages(&trace);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let calls = engine(&trace);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let engine = median(|| {
        black_box(engine(&trace));
    });
    let serde = median(|| {
        for message in &messages {
            // What is no JSON costs its parser time as well.
            let _ = black_box(serde_json::from_slice::<IgnoredAny>(message));
        }
    });
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    println!(
        "{name:24} {calls:>7} {:>7.1} {:>6.1} ms {:>9.0} {:>6.1} ms {:>7.2} {:>12.0}",
        bytes as f64 / 1e6,
        engine.as_secs_f64() * 1e3,
        bytes as f64 / 1e6 / engine.as_secs_f64(),
        serde.as_secs_f64() * 1e3,
        engine.as_secs_f64() / serde.as_secs_f64(),
        allocations as f64 / calls.max(1) as f64,
    );
}

fn median(work: impl Fn()) -> Duration {
    let mut taken: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    taken.sort();
    taken[RUNS / 2]
}

impl Kept {
    fn len(&self) -> usize {
        match self {
            Self::Data(_, _, bytes) => bytes.len(),
            Self::Other(_) => 0,
        }
    }

    fn event(&self) -> EventKind<'_> {
        match self {
            Self::Data(direction, missing, bytes) => EventKind::Data {
                direction: *direction,
                missing: *missing,
                bytes,
            },
            Self::Other(kind) => kind.clone(),
        }
    }
}

fn load(file: &Path) -> Trace {
    let mut reader = Reader::open(file).expect("a capture file");
    let mut trace = Trace::new();
    while let Some(event) = reader.next().expect("a capture file") {
        let kept = match event.kind {
            EventKind::Data {
                direction,
                missing,
                bytes,
            } => Kept::Data(direction, missing, bytes.to_vec()),
            EventKind::Open(origin) => Kept::Other(EventKind::Open(origin)),
            EventKind::Close => Kept::Other(EventKind::Close),
        };
        trace.push((event.connection, event.at, kept));
    }
    trace
}

/// Feeds all of it; gives the number of calls.
fn engine(trace: &Trace) -> u64 {
    let mut engine = Engine::new(Options {
        llm: llmtap::llm::Options { content: true },
        ..Options::default()
    });
    let mut calls = 0;
    let mut out = |output: Output| {
        calls += u64::from(matches!(black_box(output), Output::Finished(_)));
    };
    for (connection, at, kept) in trace {
        let event = Event {
            connection: *connection,
            at: *at,
            kind: kept.event(),
        };
        engine.feed(event, &mut out);
    }
    engine.finish(&mut out);
    calls
}

/// Bodies under way.
#[derive(Default)]
struct Bodies {
    open: HashMap<(ExchangeId, bool), Content>,
    messages: Vec<Vec<u8>>,
}

impl Bodies {
    fn step(&mut self, event: ExchangeEvent<'_>) {
        let Self { open, messages } = self;
        let mut keep = |message: llmtap::content::Message<'_>| messages.push(message.data.to_vec());
        match event.step {
            Step::Request { head, .. } => {
                let coding = head.fields.first("content-encoding");
                let content = Content::whole(coding, Limits::default());
                open.insert((event.exchange, true), content);
            }
            Step::Response(head) => {
                let (kind, coding) = ("content-type", "content-encoding");
                let (kind, coding) = (head.fields.first(kind), head.fields.first(coding));
                let content = Content::stream(kind, coding, Limits::default());
                open.insert((event.exchange, false), content);
            }
            Step::RequestBody(segment) => {
                if let Some(content) = open.get_mut(&(event.exchange, true)) {
                    content.feed(event.at, segment, &mut keep);
                }
            }
            Step::ResponseBody(segment) => {
                if let Some(content) = open.get_mut(&(event.exchange, false)) {
                    content.feed(event.at, segment, &mut keep);
                }
            }
            Step::RequestEnd(_) => {
                if let Some(mut content) = open.remove(&(event.exchange, true)) {
                    content.finish(event.at, true, &mut keep);
                    messages.extend(content.body().map(|body| body.head.to_vec()));
                }
            }
            Step::ResponseEnd(_) => {
                if let Some(mut content) = open.remove(&(event.exchange, false)) {
                    content.finish(event.at, true, &mut keep);
                }
            }
            _ => {}
        }
    }
}

/// The JSON that the engine has to read: bodies of requests, and units of responses.
fn messages(trace: &Trace) -> Vec<Vec<u8>> {
    let mut connections = HashMap::<ConnectionId, (Connection, Bodies)>::new();
    for (id, at, kept) in trace {
        let Kept::Data(direction, missing, bytes) = kept else {
            continue;
        };
        let (connection, bodies) = connections
            .entry(*id)
            .or_insert_with(|| (Connection::new(), Bodies::default()));
        if !missing.is_none() {
            let gap = Segment::Gap(*missing);
            connection.feed(*direction, *at, gap, &mut |event| bodies.step(event));
        }
        let data = Segment::Data(bytes);
        connection.feed(*direction, *at, data, &mut |event| bodies.step(event));
    }
    let all = connections.into_values().map(|(_, bodies)| bodies.messages);
    all.flatten()
        .filter(|message| !message.is_empty())
        .collect()
}
