//! Connections by the kernel's id: what was delivered of each, so that what is missing shows.
//!
//! In: records. Out: events. Must not know: HTTP; where records come from.

use std::collections::HashMap;

use llmtap_common::conn::Key;
use llmtap_common::record::{Closing, Header, READ, WRITE};

use crate::event::{ConnectionId, Direction, Event, EventKind, Missing, Origin};
use crate::time::Timestamp;

/// Connections remembered; twice what the kernel half keeps.
const MAX_CONNECTIONS: usize = 1 << 17;

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    /// Process and key in the kernel half; unknown where the record that opened it was lost.
    owner: Option<(u32, Key)>,
    write: Progress,
    read: Progress,
    /// What its events were last told to be moved by, or for; 0 is unknown.
    mover: Mover,
    /// The program is of Go, and its goroutines can be told apart.
    has_goroutines: bool,
    /// Time of its last record.
    last: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mover {
    Thread(u32),
    Goroutine(u32),
}

/// How far one direction has been accounted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    position: u64,
    cut: u64,
}

impl Progress {
    /// What is missing before `position`, of which `cut` bytes in all were left out.
    fn advance(&mut self, position: u64, cut: u64, length: u64) -> Missing {
        let missing = position.saturating_sub(self.position);
        let cut_here = cut.saturating_sub(self.cut).min(missing);
        *self = Self {
            position: position.saturating_add(length).max(self.position),
            cut: cut.max(self.cut),
        };
        Missing {
            lost: missing.saturating_sub(cut_here),
            cut: cut_here,
        }
    }
}

/// All connections that live, or whose end was not seen.
#[derive(Debug, Default)]
pub struct Connections {
    by_kernel: HashMap<u64, Connection>,
    by_id: HashMap<ConnectionId, u64>,
    next: u64,
    /// Bytes lost in all.
    lost: u64,
}

impl Connections {
    /// Facts became known about a connection of `owner`.
    pub fn open(
        &mut self,
        header: &Header,
        owner: (u32, Key),
        origin: Origin,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        let connection = self.entry(header);
        connection.owner = Some(owner);
        connection.mover = Mover::Thread(origin.tid.unwrap_or(0));
        self.update(header, origin, sink);
    }

    /// Goroutines move its bytes, and are told.
    pub fn has_goroutines(&mut self, header: &Header) {
        self.entry(header).has_goroutines = true;
    }

    /// Facts became known about a connection, announced before or not.
    pub fn update(&mut self, header: &Header, origin: Origin, sink: &mut dyn FnMut(Event<'_>)) {
        let id = self.entry(header).id;
        sink(event(id, header.at, EventKind::Open(Box::new(origin))));
    }

    pub fn data(&mut self, header: &Header, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let connection = self.entry(header);
        let id = connection.id;
        if let Some(origin) = connection.taken_over(header) {
            sink(event(id, header.at, EventKind::Open(origin)));
        }
        let (opposite, progress) = connection.side(header.direction ^ 1);
        let before = progress.advance(header.opposite, header.opposite_cut, 0);
        let (direction, progress) = connection.side(header.direction);
        let missing = progress.advance(header.position, header.cut, bytes.len() as u64);
        self.tell(id, header.at, opposite, before, sink);
        self.lost = self.lost.saturating_add(missing.lost);
        let kind = EventKind::Data {
            direction,
            missing,
            bytes,
        };
        sink(event(id, header.at, kind));
    }

    /// Tells of missing bytes after which nothing came yet.
    fn tell(
        &mut self,
        id: ConnectionId,
        at: u64,
        direction: Direction,
        missing: Missing,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        if missing.is_none() {
            return;
        }
        self.lost = self.lost.saturating_add(missing.lost);
        let kind = EventKind::Data {
            direction,
            missing,
            bytes: &[],
        };
        sink(event(id, at, kind));
    }

    /// The connection is over, after all that `end` counts.
    pub fn close(&mut self, kernel: u64, end: &Closing, at: u64, sink: &mut dyn FnMut(Event<'_>)) {
        self.settle(kernel, end, at, sink);
        if let Some(connection) = self.by_kernel.remove(&kernel) {
            self.by_id.remove(&connection.id);
            sink(event(connection.id, at, EventKind::Close));
        }
    }

    /// The connection turned out to be part of another; what was told of it stays as it is.
    pub fn absorb(&mut self, kernel: u64, at: u64, sink: &mut dyn FnMut(Event<'_>)) {
        if let Some(connection) = self.by_kernel.remove(&kernel) {
            self.by_id.remove(&connection.id);
            sink(event(connection.id, at, EventKind::Close));
        }
    }

    /// Tells what is missing at the end of both directions.
    pub fn settle(&mut self, kernel: u64, end: &Closing, at: u64, sink: &mut dyn FnMut(Event<'_>)) {
        let ([write, read], [write_cut, read_cut]) = (end.position, end.cut);
        for (side, position, cut) in [(WRITE, write, write_cut), (READ, read, read_cut)] {
            let Some(connection) = self.by_kernel.get_mut(&kernel) else {
                return;
            };
            let id = connection.id;
            let (direction, progress) = connection.side(side);
            let missing = progress.advance(position, cut, 0);
            self.tell(id, at, direction, missing, sink);
        }
    }

    /// What process `pid` has open.
    pub fn of_process(&self, pid: u32) -> Vec<(u64, Key)> {
        let all = self.by_kernel.iter();
        all.filter_map(|(kernel, connection)| match connection.owner {
            Some((owner, key)) if owner == pid => Some((*kernel, key)),
            _ => None,
        })
        .collect()
    }

    pub fn kernel_id(&self, id: ConnectionId) -> Option<u64> {
        self.by_id.get(&id).copied()
    }

    /// The process of a connection, by the kernel's id.
    pub fn owner(&self, kernel: u64) -> Option<u32> {
        let (pid, _) = self.by_kernel.get(&kernel)?.owner?;
        Some(pid)
    }

    pub fn len(&self) -> usize {
        self.by_kernel.len()
    }

    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn entry(&mut self, header: &Header) -> &mut Connection {
        if self.by_kernel.len() >= MAX_CONNECTIONS
            && !self.by_kernel.contains_key(&header.connection)
        {
            self.forget_half();
        }
        let connection = self.by_kernel.entry(header.connection).or_insert_with(|| {
            self.next = self.next.saturating_add(1);
            let id = ConnectionId(self.next);
            self.by_id.insert(id, header.connection);
            Connection {
                id,
                owner: None,
                write: Progress::default(),
                read: Progress::default(),
                mover: Mover::Thread(0),
                has_goroutines: false,
                last: header.at,
            }
        });
        connection.last = header.at;
        connection
    }

    /// Those silent for longest; half, so that the cost of choosing is spread over many.
    fn forget_half(&mut self) {
        let mut times: Vec<u64> = self.by_kernel.values().map(|c| c.last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.by_kernel
            .retain(|_, connection| connection.last > median);
        self.by_id
            .retain(|_, kernel| self.by_kernel.contains_key(kernel));
    }
}

impl Connection {
    fn side(&mut self, direction: u8) -> (Direction, &mut Progress) {
        if direction == WRITE {
            (Direction::Write, &mut self.write)
        } else {
            (Direction::Read, &mut self.read)
        }
    }

    /// Says so where something else moves the bytes that follow than those before.
    fn taken_over(&mut self, header: &Header) -> Option<Box<Origin>> {
        let mover = if self.has_goroutines && header.goroutine != 0 {
            Mover::Goroutine(header.goroutine)
        } else {
            Mover::Thread(header.tid)
        };
        if header.tid == 0 || std::mem::replace(&mut self.mover, mover) == mover {
            return None;
        }
        Some(Box::new(Origin {
            tid: Some(header.tid),
            goroutine: match mover {
                Mover::Goroutine(name) => Some(name),
                Mover::Thread(_) => None,
            },
            ..Origin::default()
        }))
    }
}

fn event(connection: ConnectionId, at: u64, kind: EventKind<'_>) -> Event<'_> {
    Event {
        connection,
        at: Timestamp::from_nanos(at),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(connection: u64, direction: u8, position: u64, cut: u64) -> Header {
        Header {
            connection,
            at: 5,
            position,
            cut,
            opposite: 0,
            opposite_cut: 0,
            length: 0,
            kind: 0,
            direction,
            reserved: 0,
            tid: 0,
            goroutine: 0,
        }
    }

    fn missing(events: &[String]) -> String {
        events.join(" ")
    }

    /// Each event in a few words.
    fn log(events: &mut Vec<String>) -> impl FnMut(Event<'_>) {
        |event| {
            let id = event.connection.0;
            events.push(match event.kind {
                EventKind::Open(_) => format!("{id}:open"),
                EventKind::Close => format!("{id}:close"),
                EventKind::Data {
                    direction,
                    missing,
                    bytes,
                } => format!(
                    "{id}:{direction:?}+{}-{}/{}",
                    bytes.len(),
                    missing.lost,
                    missing.cut
                ),
            });
        }
    }

    #[test]
    fn what_was_not_delivered_is_missing_before_the_next_record() {
        let mut connections = Connections::default();
        let mut events = vec![];
        let mut sink = log(&mut events);
        connections.data(&header(9, WRITE, 0, 0), b"abc", &mut sink);
        connections.data(&header(9, WRITE, 10, 0), b"d", &mut sink);
        connections.data(&header(9, WRITE, 20, 4), b"e", &mut sink);
        connections.data(&header(9, READ, 2, 0), b"f", &mut sink);
        drop(sink);
        assert_eq!(
            missing(&events),
            "1:Write+3-0/0 1:Write+1-7/0 1:Write+1-5/4 1:Read+1-2/0"
        );
        assert_eq!(connections.lost(), 14);
    }

    #[test]
    fn the_next_turn_tells_what_is_missing_at_the_end_of_the_last() {
        let mut connections = Connections::default();
        let mut events = vec![];
        let mut sink = log(&mut events);
        connections.data(&header(9, WRITE, 0, 0), b"abc", &mut sink);
        let answer = Header {
            opposite: 10,
            opposite_cut: 5,
            ..header(9, READ, 0, 0)
        };
        connections.data(&answer, b"d", &mut sink);
        // It was told, and is not told again.
        connections.data(&header(9, WRITE, 10, 5), b"e", &mut sink);
        drop(sink);
        assert_eq!(
            missing(&events),
            "1:Write+3-0/0 1:Write+0-2/5 1:Read+1-0/0 1:Write+1-0/0"
        );
        assert_eq!(connections.lost(), 2);
    }

    #[test]
    fn a_thread_is_told_when_it_takes_over() {
        let mut connections = Connections::default();
        let mut threads = vec![];
        let mut sink = |event: Event<'_>| match event.kind {
            EventKind::Open(origin) => threads.push(origin.tid),
            EventKind::Data { .. } => threads.push(None),
            EventKind::Close => {}
        };
        let origin = Origin {
            tid: Some(4),
            ..Origin::default()
        };
        let owner = (40, Key { pid: 0, object: 9 });
        connections.open(&header(9, 0, 0, 0), owner, origin, &mut sink);
        for (position, tid) in [4, 5, 5, 0, 4].into_iter().enumerate() {
            let mut header = header(9, WRITE, position as u64, 0);
            header.tid = tid;
            connections.data(&header, b"a", &mut sink);
        }
        let told: Vec<_> = threads.into_iter().flatten().collect();
        assert_eq!(told, [4, 5, 4]);
    }

    #[test]
    fn goroutines_are_told_where_they_are_known() {
        let told = |has_goroutines: bool| {
            let mut connections = Connections::default();
            let mut told = vec![];
            let mut sink = |event: Event<'_>| {
                if let EventKind::Open(origin) = event.kind {
                    told.push(origin.goroutine);
                }
            };
            let origin = Origin {
                tid: Some(4),
                ..Origin::default()
            };
            let owner = (40, Key { pid: 0, object: 9 });
            if has_goroutines {
                connections.has_goroutines(&header(9, 0, 0, 0));
            }
            connections.open(&header(9, 0, 0, 0), owner, origin, &mut sink);
            for (position, (tid, goroutine)) in [(4, 70), (5, 70), (5, 71)].into_iter().enumerate()
            {
                let mut header = header(9, WRITE, position as u64, 0);
                (header.tid, header.goroutine) = (tid, goroutine);
                connections.data(&header, b"a", &mut sink);
            }
            told
        };
        assert_eq!(told(true), [None, Some(70), Some(71)]);
        assert_eq!(told(false), [None, None], "a thread took over");
    }

    #[test]
    fn the_end_tells_what_is_missing_there() {
        let mut connections = Connections::default();
        let mut events = vec![];
        let mut sink = log(&mut events);
        connections.data(&header(9, WRITE, 0, 0), b"abc", &mut sink);
        let end = Closing {
            position: [13, 6],
            cut: [0, 6],
            refused: 0,
            unreadable: 0,
            calls: 0,
        };
        connections.close(9, &end, 5, &mut sink);
        drop(sink);
        assert_eq!(
            missing(&events),
            "1:Write+3-0/0 1:Write+0-10/0 1:Read+0-0/6 1:close"
        );
        assert_eq!(connections.len(), 0);
    }

    #[test]
    fn connections_are_found_by_their_process() {
        let mut connections = Connections::default();
        let mut events = vec![];
        let mut sink = log(&mut events);
        let key = |object| Key { pid: 0, object };
        let origin = Origin::default;
        connections.open(&header(1, 0, 0, 0), (40, key(1)), origin(), &mut sink);
        connections.open(&header(2, 0, 0, 0), (41, key(2)), origin(), &mut sink);
        connections.data(&header(3, WRITE, 0, 0), b"a", &mut sink);
        drop(sink);
        assert_eq!(missing(&events), "1:open 2:open 3:Write+1-0/0");
        assert_eq!(connections.of_process(41), [(2, key(2))]);
        assert_eq!(connections.of_process(42), []);
    }

    #[test]
    fn the_number_of_connections_is_bounded() {
        let mut connections = Connections::default();
        for n in 0..MAX_CONNECTIONS as u64 + 10 {
            let mut header = header(n, WRITE, 0, 0);
            header.at = n;
            connections.data(&header, b"a", &mut |_| {});
        }
        assert!(connections.len() <= MAX_CONNECTIONS);
        let of = |id| connections.kernel_id(ConnectionId(id));
        assert_eq!(of(1), None, "silent for longest");
        assert_eq!(of(MAX_CONNECTIONS as u64), Some(MAX_CONNECTIONS as u64 - 1));
    }
}
