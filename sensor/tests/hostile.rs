//! Traffic that means harm, through the whole engine: what a connection takes of memory
//! has a bound, which more of the same does not move.

#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/meter.rs"]
mod meter;

use hostile::{SHAPES, Shape};
use llmtap::engine::{Engine, Limits, Options};
use llmtap::event::{ConnectionId, Event, EventKind, Missing};
use llmtap::time::Timestamp;

/// What is kept of one body here: so much that a bound can be told from it.
const BODY: usize = 256 << 10;

/// What is kept of all of them together.
const CONNECTION: usize = 8 << 20;

/// What one connection may take: that, the window of br (16 MiB) or a message of a
/// WebSocket (as much, in a buffer that doubles), what is kept of a reply, and its own
/// state. What zstd takes is not Rust's; its window is limited to 8 MiB where it is made.
const MOST: isize = 64 << 20;

/// What more of the same may add: buffers that grow by doubling, and tables.
const SLACK: isize = 1 << 20;

fn engine() -> Engine {
    Engine::new(Options {
        llm: llmtap::llm::Options { content: true },
        follow_text: true,
        limits: Limits {
            body: BODY,
            connection: CONNECTION,
            ..Limits::default()
        },
    })
}

/// What a shape costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// The most bytes that were held at a time.
    peak: isize,
    /// Bytes that were allocated in all: work that is quadratic shows there, where what is
    /// held is copied for each piece that comes.
    allocated: isize,
}

fn cost((_, _, traffic): &Shape, n: usize) -> Cost {
    let mut engine = engine();
    let mut held = 0;
    let mut cost = Cost {
        peak: 0,
        allocated: 0,
    };
    traffic(n, &mut |direction, bytes| {
        let (live, allocated) = (meter::live_bytes(), meter::allocated_bytes());
        meter::reset_peak();
        let kind = EventKind::Data {
            direction,
            missing: Missing::NONE,
            bytes,
        };
        let event = Event {
            connection: ConnectionId(1),
            at: Timestamp::from_nanos(1),
            kind,
        };
        engine.feed(event, &mut drop);
        cost.peak = cost.peak.max(held + meter::peak_bytes() - live);
        cost.allocated += meter::allocated_bytes() - allocated;
        held += meter::live_bytes() - live;
    });
    engine.finish(&mut drop);
    assert_eq!(engine.connections(), 0);
    cost
}

#[test]
fn memory_has_a_bound_and_work_grows_no_faster_than_traffic() {
    let mut broken = Vec::new();
    for shape in SHAPES {
        let (name, much, _) = shape;
        let [once, twice] = [*much, 2 * much].map(|n| cost(shape, n));
        let bounded = twice.peak <= MOST && twice.peak <= once.peak + SLACK;
        let linear = twice.allocated <= once.allocated * 5 / 2 + SLACK;
        if !bounded || !linear {
            broken.push(format!("{name}: {once:?}, twice as much: {twice:?}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
