//! Keeps events back until it is known whether their connection carries calls.
//!
//! In: events in the order of time, and verdicts on connections. Out: the events of
//! connections with calls, in the same order. So what has nothing to do with a model
//! never gets into a file.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use llmtap::event::{ConnectionId, Direction, Event, EventKind, Missing, Origin, Verdict};
use llmtap::time::Timestamp;

/// What a verdict may take; then the connection is taken for one without calls.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that are held at most, with the same consequence.
const MAX_BYTES: usize = 64 << 20;

/// Connections known at most; beyond it those without calls are forgotten.
const MAX_CONNECTIONS: usize = 1 << 17;

/// An event that owns its bytes.
#[derive(Debug)]
struct Held {
    connection: ConnectionId,
    at: Timestamp,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Open(Box<Origin>),
    Data {
        direction: Direction,
        missing: Missing,
        bytes: Vec<u8>,
    },
    Close,
}

#[derive(Debug)]
struct Connection {
    verdict: Verdict,
    /// Nothing more comes that could change the verdict.
    is_closed: bool,
    /// Facts that were not written yet.
    origin: Option<Box<Origin>>,
    is_written: bool,
    /// Bytes dropped since the last that were written.
    dropped_write: u64,
    dropped_read: u64,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            verdict: Verdict::Undecided,
            is_closed: false,
            origin: None,
            is_written: false,
            dropped_write: 0,
            dropped_read: 0,
        }
    }
}

impl Connection {
    fn dropped(&mut self, direction: Direction) -> &mut u64 {
        match direction {
            Direction::Write => &mut self.dropped_write,
            Direction::Read => &mut self.dropped_read,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Hold {
    queue: VecDeque<Held>,
    bytes: usize,
    newest: Timestamp,
    connections: HashMap<ConnectionId, Connection>,
    dropped: u64,
}

/// Takes events that are let go.
pub type Sink<'a> = &'a mut dyn FnMut(&Event<'_>);

impl Hold {
    pub fn push(&mut self, event: &Event<'_>) {
        let id = event.connection;
        if self.connections.len() > MAX_CONNECTIONS {
            self.connections.retain(|_, c| c.verdict == Verdict::Wanted);
        }
        let connection = self.connections.entry(id).or_default();
        let kind = match &event.kind {
            EventKind::Open(origin) => Kind::Open(origin.clone()),
            EventKind::Data {
                direction,
                missing,
                bytes,
            } => {
                self.bytes += bytes.len();
                Kind::Data {
                    direction: *direction,
                    missing: *missing,
                    bytes: bytes.to_vec(),
                }
            }
            EventKind::Close => {
                connection.is_closed = true;
                Kind::Close
            }
        };
        self.newest = self.newest.max(event.at);
        self.queue.push_back(Held {
            connection: id,
            at: event.at,
            kind,
        });
    }

    pub fn decide(&mut self, connection: ConnectionId, verdict: Verdict) {
        self.connections.entry(connection).or_default().verdict = verdict;
    }

    /// Lets go of what is decided, up to the first event that is not.
    pub fn release(&mut self, sink: Sink<'_>) {
        while let Some(held) = self.queue.front() {
            let connection = self.connections.get(&held.connection);
            let undecided =
                connection.is_none_or(|c| c.verdict == Verdict::Undecided && !c.is_closed);
            let age = self.newest.since(held.at);
            if undecided && age < PATIENCE && self.bytes <= MAX_BYTES {
                break;
            }
            self.pop(sink);
        }
    }

    /// Lets go of the rest; what is not decided by now is dropped.
    pub fn finish(&mut self, sink: Sink<'_>) {
        while !self.queue.is_empty() {
            self.pop(sink);
        }
    }

    /// Bytes of connections without calls.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped
    }

    fn pop(&mut self, sink: Sink<'_>) {
        let Some(held) = self.queue.pop_front() else {
            return;
        };
        let connection = self.connections.entry(held.connection).or_default();
        let is_wanted = connection.verdict == Verdict::Wanted;
        let event = |kind| Event {
            connection: held.connection,
            at: held.at,
            kind,
        };
        match held.kind {
            Kind::Open(origin) if is_wanted => sink(&event(EventKind::Open(origin))),
            Kind::Open(origin) => match &mut connection.origin {
                Some(known) => known.update(*origin),
                none => *none = Some(origin),
            },
            Kind::Data {
                direction,
                missing,
                bytes,
            } => {
                self.bytes -= bytes.len();
                if !is_wanted {
                    let len = bytes.len() as u64;
                    self.dropped += len;
                    *connection.dropped(direction) += len + missing.total();
                    return;
                }
                if let Some(origin) = connection.origin.take() {
                    sink(&event(EventKind::Open(origin)));
                }
                connection.is_written = true;
                let cut = std::mem::take(connection.dropped(direction));
                let missing = missing.and(Missing { lost: 0, cut });
                sink(&event(EventKind::Data {
                    direction,
                    missing,
                    bytes: &bytes,
                }));
            }
            Kind::Close => {
                let was_written = connection.is_written;
                self.connections.remove(&held.connection);
                if was_written {
                    sink(&event(EventKind::Close));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(connection: u64, at: u64, kind: EventKind<'_>) -> Event<'_> {
        Event {
            connection: ConnectionId(connection),
            at: Timestamp::from_nanos(at),
            kind,
        }
    }

    fn data(connection: u64, at: u64, bytes: &[u8]) -> Event<'_> {
        let kind = EventKind::Data {
            direction: Direction::Write,
            missing: Missing::NONE,
            bytes,
        };
        event(connection, at, kind)
    }

    /// Connection, time, and what is missing before its bytes.
    fn released(hold: &mut Hold, at_end: bool) -> Vec<(u64, u64, u64)> {
        let mut out = Vec::new();
        let mut sink = |event: &Event<'_>| {
            let cut = match &event.kind {
                EventKind::Data { missing, .. } => missing.cut,
                EventKind::Open(_) | EventKind::Close => 0,
            };
            out.push((event.connection.0, event.at.as_nanos(), cut));
        };
        match at_end {
            true => hold.finish(&mut sink),
            false => hold.release(&mut sink),
        }
        out
    }

    #[test]
    fn order_is_kept_and_the_undecided_hold_up_the_rest() {
        let mut hold = Hold::default();
        hold.push(&data(1, 1, b"a"));
        hold.push(&data(2, 2, b"b"));
        hold.push(&data(1, 3, b"c"));
        hold.decide(ConnectionId(2), Verdict::Wanted);
        assert_eq!(released(&mut hold, false), []);
        hold.decide(ConnectionId(1), Verdict::Wanted);
        assert_eq!(
            released(&mut hold, false),
            [(1, 1, 0), (2, 2, 0), (1, 3, 0)]
        );
        assert_eq!((hold.bytes, hold.dropped_bytes()), (0, 0));
    }

    #[test]
    fn what_has_no_calls_is_dropped_and_counted() {
        let mut hold = Hold::default();
        let origin = Box::new(Origin::default());
        hold.push(&event(1, 1, EventKind::Open(origin)));
        hold.push(&data(1, 2, b"four"));
        hold.decide(ConnectionId(1), Verdict::HeadsOnly);
        assert_eq!(released(&mut hold, false), []);
        assert_eq!(hold.dropped_bytes(), 4);
        // A call after all: its facts come first, and what was dropped is missing.
        hold.push(&data(1, 3, b"x"));
        hold.decide(ConnectionId(1), Verdict::Wanted);
        hold.push(&event(1, 4, EventKind::Close));
        assert_eq!(
            released(&mut hold, false),
            [(1, 3, 0), (1, 3, 4), (1, 4, 0)]
        );
        assert!(hold.connections.is_empty());
    }

    #[test]
    fn patience_ends_with_time_and_with_the_connection() {
        let mut hold = Hold::default();
        hold.push(&data(1, 1, b"a"));
        hold.push(&event(1, 2, EventKind::Close));
        hold.push(&data(2, 3, b"b"));
        hold.push(&data(3, 4, b"c"));
        hold.decide(ConnectionId(3), Verdict::Wanted);
        assert_eq!(released(&mut hold, false), []);
        assert_eq!(hold.dropped_bytes(), 1);
        hold.push(&data(3, 4 + 60_000_000_000, b"d"));
        assert_eq!(released(&mut hold, false).len(), 2);
        assert_eq!(hold.dropped_bytes(), 2);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut hold = Hold::default();
        let chunk = vec![0; 1 << 20];
        for at in 0..100 {
            hold.push(&data(1, at, &chunk));
            released(&mut hold, false);
        }
        assert!(hold.bytes <= MAX_BYTES);
        hold.push(&data(2, 100, b"a"));
        hold.decide(ConnectionId(2), Verdict::Wanted);
        assert_eq!(released(&mut hold, true), [(2, 100, 0)]);
    }
}
