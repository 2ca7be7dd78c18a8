//! Body of the fuzz target of the engine as a whole.
//!
//! In: bytes that a fuzzer made up, read as a script of events on a few connections: an
//! order, a size of two bytes, as many bytes of payload, and so on. Out: nothing, or a
//! panic where a law is broken: the same events give the same calls, also where they are
//! cut; memory is bounded; nothing is kept of what is over.

use std::collections::{BTreeMap, BTreeSet};

use super::{Counters, Engine, Limits, Options, Output};
use crate::event::{ConnectionId, Direction, Event, EventKind, Missing, Origin, Role};
use crate::http::{self, Detection};
use crate::llm::Call;
use crate::stream::Segment;
use crate::time::Timestamp;

/// Small, so that a short script reaches them.
const LIMITS: Limits = Limits {
    body: 8 << 10,
    connections: 3,
    exchanges: 8,
    connection: 64 << 20,
    idle: std::time::Duration::from_micros(100),
};

/// Bytes that an engine with these limits may take at most: three connections, each with
/// eight exchanges, whose decoders may have windows of a few megabytes.
pub const MOST: usize = 128 << 20;

/// Bytes that may be left when all connections are over: tables of the engine itself.
pub const REST: usize = 16 << 10;

/// `live`: the bytes that this thread has allocated, 0 where that is not counted. Each
/// finished call goes to `finished`.
pub fn engine(script: &[u8], live: fn() -> usize, finished: &mut dyn FnMut(Call)) {
    let mut calls = Calls::default();
    run(script, None, &mut |output| calls.take(output), &mut |_| {});
    let mut cut_calls = Calls::default();
    let mut watch = Watch::default();
    let keep = &mut |output| cut_calls.take(output);
    let counters = run(script, Some(&mut watch), keep, &mut |_| {});
    // How much came out before a coding broke is up to its decoder.
    watch.is_unsure |= counters.content.undecodable > 0 || counters.content.inflated > 0;
    if !watch.is_unsure {
        let [whole, cut] = [&calls, &cut_calls].map(|calls| format!("{calls:#?}"));
        assert_eq!(whole, cut, "a cut changed what came out");
    }
    let before = live();
    run(script, None, &mut |_| {}, &mut |is_over| {
        let held = live().saturating_sub(before);
        assert!(
            held <= if is_over { REST } else { MOST },
            "{held} bytes held"
        );
    });
    calls.0.into_iter().for_each(finished);
}

#[derive(Debug, Default)]
struct Calls(Vec<Call>);

impl Calls {
    fn take(&mut self, output: Output) {
        if let Output::Finished(call) = output {
            self.0.push(*call);
        }
    }
}

/// Plays a script. With a watch, data is cut into single bytes. `check` is asked after
/// each event, and once more when all is over.
fn run(
    script: &[u8],
    mut watch: Option<&mut Watch>,
    out: &mut dyn FnMut(Output),
    check: &mut dyn FnMut(bool),
) -> Counters {
    let mut engine = Engine::new(Options {
        llm: crate::llm::Options { content: true },
        follow_text: true,
        limits: LIMITS,
    });
    play(script, &mut |step| {
        match (step, &mut watch) {
            (Step::Event(event), None) => engine.feed(event, out),
            (Step::Event(event), Some(watch)) => {
                watch.cut(&event, &mut |event| engine.feed(event, out));
            }
            (Step::Silence(now), watch) => {
                engine.advance(now, out);
                if let Some(watch) = watch {
                    watch.connections.clear();
                    watch.pipes.clear();
                }
            }
        }
        assert!(engine.connections() <= LIMITS.connections);
        check(false);
    });
    engine.finish(out);
    assert_eq!(engine.connections(), 0, "a connection outlived the end");
    check(true);
    engine.counters()
}

enum Step<'a> {
    Event(Event<'a>),
    Silence(Timestamp),
}

fn play(mut script: &[u8], to: &mut dyn FnMut(Step<'_>)) {
    let mut nanos = 0_u64;
    while let Some((&[order, low, high], rest)) = script.split_first_chunk() {
        nanos = nanos.saturating_add(1_000);
        let size = u16::from_le_bytes([low, high]);
        let order = Order(order);
        let payload = if order.has_payload() {
            usize::from(size)
        } else {
            0
        };
        let (bytes, rest) = rest.split_at_checked(payload).unwrap_or((rest, &[]));
        script = rest;
        if order.kind() == 7 {
            nanos = nanos.saturating_add(u64::from(size));
            to(Step::Silence(Timestamp::from_nanos(nanos)));
            continue;
        }
        to(Step::Event(Event {
            connection: ConnectionId(u64::from(order.0 >> 6)),
            at: Timestamp::from_nanos(nanos),
            kind: order.event(size, bytes),
        }));
    }
}

/// One byte of a script: a kind, a direction, two bits of choice, a connection.
#[derive(Clone, Copy)]
struct Order(u8);

impl Order {
    const fn kind(self) -> u8 {
        self.0 & 7
    }

    const fn has_payload(self) -> bool {
        self.kind() < 4
    }

    fn direction(self) -> Direction {
        if self.0 & 8 == 0 {
            Direction::Write
        } else {
            Direction::Read
        }
    }

    fn event(self, size: u16, bytes: &[u8]) -> EventKind<'_> {
        let missing = match self.kind() {
            4 => Missing {
                lost: u64::from(size),
                cut: u64::from(self.0 >> 4 & 3),
            },
            _ => Missing::NONE,
        };
        match self.kind() {
            5 if self.0 & 8 != 0 => EventKind::Open(Box::new(Origin {
                pipe: Some(size.into()),
                ..Origin::default()
            })),
            5 => EventKind::Open(Box::new(Origin {
                role: [None, Some(Role::Client), Some(Role::Server)]
                    .get(usize::from(self.0 >> 4 & 3))
                    .copied()
                    .flatten(),
                peer: Some(([127, 0, 0, 1], size).into()),
                ..Origin::default()
            })),
            6 => EventKind::Close,
            _ => EventKind::Data {
                direction: self.direction(),
                missing,
                bytes,
            },
        }
    }
}

/// Cuts data into single bytes once it is known what a connection speaks: before that,
/// whole segments are looked at. Of pipes it is known.
#[derive(Default)]
struct Watch {
    connections: BTreeMap<ConnectionId, http::Connection>,
    /// Those that are pipes, which was known before the first byte.
    pipes: BTreeSet<ConnectionId>,
    /// Those of which bytes were seen since they began.
    begun: BTreeSet<ConnectionId>,
    /// Something was found out anew amid a connection, so cuts may show.
    is_unsure: bool,
}

impl Watch {
    fn cut(&mut self, event: &Event<'_>, feed: &mut dyn FnMut(Event<'_>)) {
        let EventKind::Data {
            direction,
            missing,
            bytes,
        } = event.kind
        else {
            self.turn(event);
            return feed(event.clone());
        };
        self.begun.insert(event.connection);
        let is_full = self.connections.len() >= LIMITS.connections;
        // The engine forgets some, and this does not say which.
        self.is_unsure |= is_full && !self.connections.contains_key(&event.connection);
        let http = self.connections.entry(event.connection).or_default();
        let is_pipe = self.pipes.contains(&event.connection);
        let is_known = http.detection() == Detection::Match;
        let mut each = |missing: Missing, bytes: &[u8]| {
            if !missing.is_none() {
                http.feed(direction, event.at, Segment::Gap(missing), &mut |_| {});
            }
            if !bytes.is_empty() {
                http.feed(direction, event.at, Segment::Data(bytes), &mut |_| {});
            }
            self.is_unsure |= is_known && http.detection() != Detection::Match;
            feed(Event {
                kind: EventKind::Data {
                    direction,
                    missing,
                    bytes,
                },
                ..event.clone()
            });
        };
        if !is_known && !is_pipe {
            return each(missing, bytes);
        }
        if !missing.is_none() || bytes.is_empty() {
            each(missing, &[]);
        }
        bytes.chunks(1).for_each(|piece| each(Missing::NONE, piece));
    }

    /// A connection begins, or is over.
    fn turn(&mut self, event: &Event<'_>) {
        let id = event.connection;
        match &event.kind {
            EventKind::Open(origin) if origin.pipe.is_some() && !self.begun.contains(&id) => {
                self.pipes.insert(id);
            }
            EventKind::Close => {
                self.connections.remove(&id);
                self.pipes.remove(&id);
                self.begun.remove(&id);
            }
            _ => {}
        }
    }
}
