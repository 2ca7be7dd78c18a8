//! Connections by the kernel's id: what was delivered of each, so that what is missing shows.
//!
//! In: records. Out: events. Must not know: HTTP; where records come from.

use std::collections::HashMap;

use llmtap_common::conn::Key;
use llmtap_common::record::{Closing, Header, WRITE};

use crate::event::{ConnectionId, Direction, Event, EventKind, Missing, Origin};
use crate::time::Timestamp;

/// Connections remembered; twice what the kernel half keeps.
const MAX_CONNECTIONS: usize = 1 << 17;

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    /// Unknown where the record that opened it was lost.
    key: Option<Key>,
    write: Progress,
    read: Progress,
    last: Timestamp,
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
    /// Facts became known. `origin` is what can be told now.
    pub fn open(
        &mut self,
        header: &Header,
        key: Key,
        origin: Origin,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        let connection = self.entry(header, sink);
        connection.key = Some(key);
        let id = connection.id;
        sink(event(id, header.at, EventKind::Open(Box::new(origin))));
    }

    /// Facts became known about a connection that may have been announced before.
    pub fn update(&mut self, header: &Header, origin: Origin, sink: &mut dyn FnMut(Event<'_>)) {
        let id = self.entry(header, sink).id;
        sink(event(id, header.at, EventKind::Open(Box::new(origin))));
    }

    pub fn data(&mut self, header: &Header, bytes: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let connection = self.entry(header, sink);
        let id = connection.id;
        let (direction, progress) = connection.side(header.direction);
        let missing = progress.advance(header.position, header.cut, bytes.len() as u64);
        self.lost = self.lost.saturating_add(missing.lost);
        let kind = EventKind::Data {
            direction,
            missing,
            bytes,
        };
        sink(event(id, header.at, kind));
    }

    pub fn close(&mut self, header: &Header, end: &Closing, sink: &mut dyn FnMut(Event<'_>)) {
        self.settle(header.connection, end, header.at, sink);
        self.end(header.connection, header.at, sink);
    }

    /// Tells what is missing at the end of both directions.
    pub fn settle(&mut self, kernel: u64, end: &Closing, at: u64, sink: &mut dyn FnMut(Event<'_>)) {
        let Some(connection) = self.by_kernel.get_mut(&kernel) else {
            return;
        };
        let id = connection.id;
        for (side, (position, cut)) in (0u8..).zip(end.position.into_iter().zip(end.cut)) {
            let (direction, progress) = connection.side(side);
            let missing = progress.advance(position, cut, 0);
            self.lost = self.lost.saturating_add(missing.lost);
            if !missing.is_none() {
                let kind = EventKind::Data {
                    direction,
                    missing,
                    bytes: &[],
                };
                sink(event(id, at, kind));
            }
        }
    }

    fn end(&mut self, kernel: u64, at: u64, sink: &mut dyn FnMut(Event<'_>)) {
        if let Some(connection) = self.by_kernel.remove(&kernel) {
            self.by_id.remove(&connection.id);
            sink(event(connection.id, at, EventKind::Close));
        }
    }

    /// The process is gone, and with it all that it had open.
    pub fn exit(&mut self, pid: u32, at: u64, sink: &mut dyn FnMut(Event<'_>)) {
        let pid = u64::from(pid);
        let of_process = |c: &Connection| c.key.is_some_and(|key| key.pid == pid);
        let gone: Vec<u64> = self.ids_where(of_process);
        for kernel in gone {
            self.end(kernel, at, sink);
        }
    }

    fn ids_where(&self, keep: impl Fn(&Connection) -> bool) -> Vec<u64> {
        let found = self.by_kernel.iter().filter(|(_, c)| keep(c));
        found.map(|(kernel, _)| *kernel).collect()
    }

    pub fn kernel_id(&self, id: ConnectionId) -> Option<u64> {
        self.by_id.get(&id).copied()
    }

    pub fn len(&self) -> usize {
        self.by_kernel.len()
    }

    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn entry(&mut self, header: &Header, sink: &mut dyn FnMut(Event<'_>)) -> &mut Connection {
        if self.by_kernel.len() >= MAX_CONNECTIONS
            && !self.by_kernel.contains_key(&header.connection)
        {
            self.drop_oldest(header.at, sink);
        }
        let connection = self.by_kernel.entry(header.connection).or_insert_with(|| {
            self.next = self.next.saturating_add(1);
            let id = ConnectionId(self.next);
            self.by_id.insert(id, header.connection);
            Connection {
                id,
                key: None,
                write: Progress::default(),
                read: Progress::default(),
                last: Timestamp::default(),
            }
        });
        connection.last = Timestamp::from_nanos(header.at);
        connection
    }

    /// Half of them, so that the cost of choosing is spread over many.
    fn drop_oldest(&mut self, at: u64, sink: &mut dyn FnMut(Event<'_>)) {
        let mut ages: Vec<Timestamp> = self.by_kernel.values().map(|c| c.last).collect();
        let middle = ages.len() / 2;
        let (_, median, _) = ages.select_nth_unstable(middle);
        let median = *median;
        for kernel in self.ids_where(|c| c.last <= median) {
            self.end(kernel, at, sink);
        }
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
    use llmtap_common::record::READ;

    fn header(connection: u64, direction: u8, position: u64, cut: u64) -> Header {
        Header {
            connection,
            at: 5,
            position,
            cut,
            length: 0,
            kind: 0,
            direction,
            reserved: 0,
        }
    }

    fn missing(events: &[String]) -> String {
        events.join(" ")
    }

    /// Each event in a few words.
    fn log(events: &mut Vec<String>) -> impl FnMut(Event<'_>) + '_ {
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
        };
        connections.close(&header(9, 0, 0, 0), &end, &mut sink);
        drop(sink);
        assert_eq!(
            missing(&events),
            "1:Write+3-0/0 1:Write+0-10/0 1:Read+0-0/6 1:close"
        );
        assert_eq!(connections.len(), 0);
    }

    #[test]
    fn a_process_takes_its_connections_along() {
        let mut connections = Connections::default();
        let mut events = vec![];
        let mut sink = log(&mut events);
        let key = |pid| Key { pid, object: 1 };
        connections.open(&header(1, 0, 0, 0), key(40), Origin::default(), &mut sink);
        connections.open(&header(2, 0, 0, 0), key(41), Origin::default(), &mut sink);
        connections.exit(41, 6, &mut sink);
        drop(sink);
        assert_eq!(missing(&events), "1:open 2:open 2:close");
        assert_eq!(connections.kernel_id(ConnectionId(1)), Some(1));
        assert_eq!(connections.kernel_id(ConnectionId(2)), None);
    }

    #[test]
    fn the_number_of_connections_is_bounded() {
        let mut connections = Connections::default();
        let mut closed = 0;
        let mut sink =
            |event: Event<'_>| closed += u64::from(matches!(event.kind, EventKind::Close));
        for n in 0..MAX_CONNECTIONS as u64 + 10 {
            let mut header = header(n, WRITE, 0, 0);
            header.at = n;
            connections.data(&header, b"a", &mut sink);
        }
        assert!(connections.len() <= MAX_CONNECTIONS);
        assert!(
            connections.kernel_id(ConnectionId(1)).is_none(),
            "the oldest went"
        );
        assert!(closed > 0);
    }
}
