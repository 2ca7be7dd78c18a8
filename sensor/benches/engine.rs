//! What the engine costs: `engine CAPTURE…`, each a capture file, held in memory.
//!
//! Its time is held against that of `serde_json` parsing the same messages into nothing:
//! what it costs to read the JSON of the calls, found in the same traffic beforehand.
//! Each capture is taken apart by how the responses of a connection are cut, so that
//! streams of events do not hide behind documents; and by whether contents are coded, as
//! the parser gets its messages decoded. `bare` is the ratio where content is not kept.
//!
//! Times are those of the thread, as other work may run beside it. To count instructions,
//! `--once` does all but once, and
//! `valgrind --tool=callgrind --toggle-collect='engine::engine' … --once --case TEXT`
//! counts the engine's of the cases with TEXT in their name (`engine::bare`: without
//! content, `engine::parse`: the parser's).

#[path = "../tests/support/allocator.rs"]
mod allocator;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use llmtap::capture::Reader;
use llmtap::content::{Content, Kind, Limits, Message};
use llmtap::engine::{Engine, Options, Output};
use llmtap::event::{ConnectionId, Direction, Event, EventKind, Missing};
use llmtap::http::{Connection, ExchangeEvent, ExchangeId, Fields, Step};
use llmtap::stream::Segment;
use llmtap::time::Timestamp;
use serde::de::IgnoredAny;

/// Runs of each measurement; the fastest counts, as nothing makes one too fast.
const RUNS: usize = 15;

/// An event that owns its bytes.
enum Kept {
    Data(Direction, Missing, Vec<u8>),
    Other(EventKind<'static>),
}

type Trace = Vec<(ConnectionId, Timestamp, Kept)>;

/// Connections whose responses are cut alike, and the messages of their calls.
#[derive(Default)]
struct Case {
    trace: Trace,
    messages: Vec<Vec<u8>>,
}

fn main() -> ExitCode {
    let (mut files, mut runs, mut only) = (Vec::new(), RUNS, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo adds a flag of its own.
            "--bench" => {}
            "--once" => runs = 1,
            "--case" => only = arguments.next().unwrap_or_default(),
            _ => files.push(argument),
        }
    }
    if files.is_empty() {
        eprintln!(
            "usage: engine [--once] [--case TEXT] CAPTURE…; `cargo xtask bench engine` makes some"
        );
        return ExitCode::from(2);
    }
    println!(
        "{:28} {:>6} {:>8} {:>7} {:>8} {:>8} {:>6} {:>6} {:>12} {:>15}",
        "case",
        "calls",
        "messages",
        "MB",
        "MB/s",
        "serde",
        "ratio",
        "bare",
        "allocs/call",
        "allocs/message"
    );
    for file in &files {
        let name = Path::new(file).file_stem().unwrap_or_default();
        let name = name.to_string_lossy();
        for (kind, case) in cases(load(Path::new(file))) {
            let name = format!("{name} {kind}");
            if name.contains(&only) {
                measure(&name, &case, runs);
            }
        }
    }
    ExitCode::SUCCESS
}

fn measure(name: &str, case: &Case, runs: usize) {
    let [mut taken, mut without, mut parsing] = [Duration::MAX; 3];
    let (mut calls, mut allocations) = (0, 0.0);
    // In turns, so that all meet the same noise.
    for _ in 0..runs {
        let events = events(&case.trace);
        taken = taken.min(timed(|| {
            let before = allocator::allocations();
            calls = black_box(engine(events));
            allocations = (allocator::allocations() - before) as f64;
        }));
        let events = self::events(&case.trace);
        without = without.min(timed(|| {
            black_box(bare(events));
        }));
        parsing = parsing.min(timed(|| parse(&case.messages)));
    }
    let bytes: usize = case.trace.iter().map(|(_, _, kept)| kept.len()).sum();
    let (megabytes, messages) = (bytes as f64 / 1e6, case.messages.len());
    println!(
        "{name:28} {calls:>6} {messages:>8} {megabytes:>7.2} {:>8.0} {:>8.0} {:>6.2} {:>6.2} {:>12.1} {:>15.2}",
        megabytes / taken.as_secs_f64(),
        megabytes / parsing.as_secs_f64(),
        taken.as_secs_f64() / parsing.as_secs_f64(),
        without.as_secs_f64() / parsing.as_secs_f64(),
        allocations / calls.max(1) as f64,
        allocations / messages.max(1) as f64,
    );
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = thread_time();
    work();
    thread_time() - begun
}

/// How long this thread was at work. Not by way of `rustix`, which asks the vDSO and finds
/// none under valgrind.
#[allow(unsafe_code, reason = "the library has no such clock")]
fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it fills what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What is no JSON costs its parser time as well.
#[inline(never)]
fn parse(messages: &[Vec<u8>]) {
    for message in messages {
        let _ = black_box(serde_json::from_slice::<IgnoredAny>(message));
    }
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

/// As a source gives them: what an engine takes over is made for it.
fn events(trace: &Trace) -> Vec<Event<'_>> {
    let each = trace.iter().map(|(connection, at, kept)| Event {
        connection: *connection,
        at: *at,
        kind: kept.event(),
    });
    each.collect()
}

/// Feeds all of it; gives the number of calls.
#[inline(never)]
fn engine(events: Vec<Event<'_>>) -> u64 {
    run(events, true, &mut |_| {})
}

/// The same where content is not kept.
#[inline(never)]
fn bare(events: Vec<Event<'_>>) -> u64 {
    run(events, false, &mut |_| {})
}

/// Feeds all of it; gives the number of calls, and each to `finished`.
fn run(events: Vec<Event<'_>>, content: bool, finished: &mut dyn FnMut(&llmtap::llm::Call)) -> u64 {
    let mut engine = Engine::new(Options {
        llm: llmtap::llm::Options { content },
        ..Options::default()
    });
    let mut calls = 0;
    let mut out = |output: Output| {
        if let Output::Finished(call) = black_box(output) {
            calls += 1;
            finished(&call);
        }
    };
    for event in events {
        engine.feed(event, &mut out);
    }
    engine.finish(&mut out);
    calls
}

/// Takes a trace apart by how responses are cut; connections without a call are left out.
fn cases(trace: Trace) -> BTreeMap<String, Case> {
    let mut calls = HashSet::new();
    run(events(&trace), true, &mut |call| {
        calls.insert((call.connection, call.timing.start));
    });
    let mut connections = survey(&trace, &calls);
    let mut cases = BTreeMap::<String, Case>::new();
    for (id, (_, bodies)) in &mut connections {
        let messages = std::mem::take(&mut bodies.messages);
        if calls.iter().any(|(connection, _)| connection == id) {
            cases
                .entry(bodies.kind())
                .or_default()
                .messages
                .extend(messages);
        }
    }
    for event in trace {
        let kind = connections.get(&event.0).map(|(_, bodies)| bodies.kind());
        if let Some(case) = kind.and_then(|kind| cases.get_mut(&kind)) {
            case.trace.push(event);
        }
    }
    cases
}

/// The contents of a connection's calls: the JSON that an engine has to read.
#[derive(Default)]
struct Bodies {
    calls: HashSet<ExchangeId>,
    open: HashMap<(ExchangeId, bool), Content>,
    kinds: HashSet<&'static str>,
    coded: bool,
    messages: Vec<Vec<u8>>,
}

impl Bodies {
    fn kind(&self) -> String {
        let mut kinds = self.kinds.iter();
        let kind = match (kinds.next(), kinds.next()) {
            (None, _) => "no response",
            (Some(kind), None) => kind,
            _ => "all kinds",
        };
        format!("{}{kind}", if self.coded { "coded " } else { "" })
    }

    fn step(&mut self, event: ExchangeEvent<'_>, is_call: impl Fn(Timestamp) -> bool) {
        let (id, at) = (event.exchange, event.at);
        let coding = |fields: &Fields| fields.coding().map(String::from);
        let limits = Limits::default();
        match event.step {
            Step::Request { began, head, .. } if is_call(began) => {
                let coding = coding(&head.fields);
                self.coded |= coding.is_some();
                let request = Content::whole(coding.as_deref(), limits);
                self.calls.insert(id);
                self.open.insert((id, true), request);
            }
            Step::Response(head) if self.calls.contains(&id) => {
                let (kind, coding) = (head.fields.first("content-type"), coding(&head.fields));
                self.coded |= coding.is_some();
                let response = Content::stream(kind, coding.as_deref(), limits);
                self.open.insert((id, false), response);
            }
            Step::RequestBody(segment) => self.body((id, true), at, segment),
            Step::ResponseBody(segment) => self.body((id, false), at, segment),
            Step::RequestEnd(_) => self.end((id, true), at),
            Step::ResponseEnd(_) => self.end((id, false), at),
            _ => {}
        }
    }

    fn body(&mut self, half: (ExchangeId, bool), at: Timestamp, segment: Segment<'_>) {
        let Self { open, messages, .. } = self;
        if let Some(content) = open.get_mut(&half) {
            content.feed(at, segment, &mut |message| keep(message, messages));
        }
    }

    fn end(&mut self, half: (ExchangeId, bool), at: Timestamp) {
        let Self {
            open,
            messages,
            kinds,
            ..
        } = self;
        let Some(mut content) = open.remove(&half) else {
            return;
        };
        content.finish(at, true, &mut |message| keep(message, messages));
        messages.extend(content.body().map(|body| body.head.to_vec()));
        if !half.1 {
            kinds.insert(label(content.kind()));
        }
    }
}

fn keep(message: Message<'_>, messages: &mut Vec<Vec<u8>>) {
    messages.push(message.data.to_vec());
}

fn label(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Sse) => "sse",
        Some(Kind::EventStream) => "event-stream",
        Some(Kind::Ndjson) => "ndjson",
        Some(Kind::JsonArray) => "json array",
        Some(Kind::Grpc) => "grpc",
        Some(Kind::Whole) | None => "unary",
    }
}

/// Dissects every connection; keeps the messages of exchanges that began as `calls` did.
fn survey(
    trace: &Trace,
    calls: &HashSet<(ConnectionId, Timestamp)>,
) -> BTreeMap<ConnectionId, (Connection, Bodies)> {
    let mut connections = BTreeMap::<ConnectionId, (Connection, Bodies)>::new();
    for (id, at, kept) in trace {
        let Kept::Data(direction, missing, bytes) = kept else {
            continue;
        };
        let (connection, bodies) = connections.entry(*id).or_default();
        let is_call = |began| calls.contains(&(*id, began));
        let mut step = |event: ExchangeEvent<'_>| bodies.step(event, is_call);
        if !missing.is_none() {
            connection.feed(*direction, *at, Segment::Gap(*missing), &mut step);
        }
        connection.feed(*direction, *at, Segment::Data(bytes), &mut step);
    }
    for (connection, bodies) in connections.values_mut() {
        connection.close(Timestamp::default(), &mut |event| {
            bodies.step(event, |_| false)
        });
    }
    connections
}
