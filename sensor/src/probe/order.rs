//! Puts events in the order of time.
//!
//! In: events, as they come. Out: the same, each a little after its time. Must not know: what
//! they mean.
//!
//! What a process writes has the time at which it called, and is told when the call has
//! returned. In between the process may have lost its processor, if only to the one that it
//! wrote to: then what the reader read, and even what it answered, is told first. Of one
//! connection the order stays as it came, which is that of its bytes.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::event::{ConnectionId, Direction, Event, EventKind, Missing, Origin};
use crate::time::Timestamp;

/// How far behind its time an event comes: longer than a thread that could run mostly waits
/// for a processor.
pub const HOLD: Duration = Duration::from_millis(20);
/// Bytes that wait; beyond, the oldest go although it is not their time.
const MAX_BYTES: usize = 64 << 20;

/// Events that wait for others which are older.
#[derive(Debug, Default)]
pub struct Order {
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// When the last event of each connection is due, where that still matters.
    latest: HashMap<ConnectionId, Timestamp>,
    /// Events so far.
    count: u64,
    /// Payload that waits.
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    /// Its time, or that of one which it must not come before.
    due: Timestamp,
    /// As it came.
    number: u64,
    connection: ConnectionId,
    at: Timestamp,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Open(Box<Origin>),
    Data(Direction, Missing, Box<[u8]>),
    Close,
}

impl Order {
    pub fn take(&mut self, event: Event<'_>) {
        let kind = match event.kind {
            EventKind::Open(origin) => Kind::Open(origin),
            EventKind::Data {
                direction,
                missing,
                bytes,
            } => Kind::Data(direction, missing, bytes.into()),
            EventKind::Close => Kind::Close,
        };
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(kind.len());
        let due = self.due(event.connection, event.at);
        self.waiting.push(Reverse(Waiting {
            due,
            number: self.count,
            connection: event.connection,
            at: event.at,
            kind,
        }));
    }

    /// Hands on what is due at `now`.
    pub fn release(&mut self, now: Timestamp, each: &mut dyn FnMut(Event<'_>)) {
        while let Some(Reverse(next)) = self.waiting.peek()
            && (now.since(next.due) >= HOLD || self.bytes > MAX_BYTES)
        {
            self.hand_on(each);
        }
    }

    /// Hands on all of it.
    pub fn finish(&mut self, each: &mut dyn FnMut(Event<'_>)) {
        while !self.waiting.is_empty() {
            self.hand_on(each);
        }
    }

    fn hand_on(&mut self, each: &mut dyn FnMut(Event<'_>)) {
        let Some(Reverse(next)) = self.waiting.pop() else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(next.kind.len());
        let Waiting {
            connection,
            at,
            kind,
            ..
        } = next;
        let kind = match kind {
            Kind::Open(origin) => EventKind::Open(origin),
            Kind::Data(direction, missing, ref bytes) => EventKind::Data {
                direction,
                missing,
                bytes,
            },
            Kind::Close => EventKind::Close,
        };
        each(Event {
            connection,
            at,
            kind,
        });
    }

    /// Not before what came of the same connection.
    fn due(&mut self, connection: ConnectionId, at: Timestamp) -> Timestamp {
        let waiting = self.waiting.len();
        if self.latest.len() > waiting.saturating_mul(2).saturating_add(1024) {
            // Whoever has nothing that waits may begin anew.
            match self.waiting.peek() {
                Some(Reverse(next)) => self.latest.retain(|_, due| *due >= next.due),
                None => self.latest.clear(),
            }
        }
        let latest = self.latest.entry(connection).or_insert(at);
        *latest = at.max(*latest);
        *latest
    }
}

impl Kind {
    /// Bytes of payload.
    fn len(&self) -> usize {
        match self {
            Self::Data(_, _, bytes) => bytes.len(),
            Self::Open(_) | Self::Close => 0,
        }
    }
}

/// What comes first is less.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(connection: u64, at: u64, bytes: &[u8]) -> Event<'_> {
        Event {
            connection: ConnectionId(connection),
            at: Timestamp::from_nanos(at),
            kind: EventKind::Data {
                direction: Direction::Write,
                missing: Missing::NONE,
                bytes,
            },
        }
    }

    /// The texts that are due when `HOLD` is over for what happened at `at`.
    fn due(order: &mut Order, at: u64) -> String {
        let mut told = String::new();
        let hold = u64::try_from(HOLD.as_nanos()).expect("short");
        order.release(Timestamp::from_nanos(at + hold), &mut |event| {
            told.push_str(text(&event))
        });
        told
    }

    fn text<'a>(event: &Event<'a>) -> &'a str {
        match event.kind {
            EventKind::Data { bytes, .. } => std::str::from_utf8(bytes).expect("text"),
            _ => "+",
        }
    }

    #[test]
    fn what_comes_late_is_put_in_its_place() {
        let mut order = Order::default();
        for (connection, at, text) in [(1, 5, b"c"), (2, 3, b"b"), (3, 2, b"a")] {
            order.take(data(connection, at, text));
        }
        assert_eq!(due(&mut order, 1), "");
        assert_eq!(due(&mut order, 3), "ab");
        order.take(data(4, 4, b"d"));
        let mut told = String::new();
        order.finish(&mut |event| {
            assert_eq!(event.at.as_nanos(), 4 + u64::from(event.connection.0 == 1));
            told.push_str(text(&event));
        });
        assert_eq!(told, "dc");
        assert_eq!(order.bytes, 0);
    }

    #[test]
    fn of_one_connection_the_order_stays() {
        let mut order = Order::default();
        for (connection, at, text) in [(1, 9, b"b"), (1, 3, b"c"), (2, 4, b"a")] {
            order.take(data(connection, at, text));
        }
        order.take(Event {
            kind: EventKind::Close,
            ..data(1, 2, b"")
        });
        assert_eq!(due(&mut order, 8), "a");
        assert_eq!(due(&mut order, 9), "bc+");
        // What is over holds up nobody.
        order.take(data(1, 1, b"d"));
        assert_eq!(due(&mut order, 9), "d");
    }

    #[test]
    fn what_is_too_much_goes_before_its_time() {
        let mut order = Order::default();
        let bytes = vec![b'x'; MAX_BYTES / 2];
        for (connection, at) in [(1, 7), (2, 5), (3, 6)] {
            order.take(data(connection, at, &bytes));
        }
        let mut told = vec![];
        order.release(Timestamp::default(), &mut |event| {
            told.push(event.connection.0)
        });
        assert_eq!(told, [2], "the oldest, and no more than needed");
        assert_eq!(order.bytes, 2 * bytes.len());
    }

    #[test]
    fn what_is_remembered_of_connections_is_bounded() {
        let mut order = Order::default();
        for at in 0..5_000 {
            order.take(data(at, at, b"x"));
            assert_eq!(due(&mut order, at), "x");
        }
        assert!(order.latest.len() < 2_000, "{}", order.latest.len());
    }
}
