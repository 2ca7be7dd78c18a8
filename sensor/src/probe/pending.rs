//! Connections that may turn out to be part of others: their records wait until that is
//! told, which takes no longer than from encrypting a record to sending it.
//!
//! In: records. Out: records, of the connection that they belong to. Must not know: what
//! becomes of them.

use std::collections::{HashMap, VecDeque};

use llmtap_common::conn::stream;
use llmtap_common::record::{Header, Joining, Opening, WRITE};

use super::record::Record;

/// How long a connection waits, by the time of its first record, in nanoseconds.
const PATIENCE: u64 = 50_000_000;
/// Connections that wait at once, and bytes of each.
const MAX_WAITING: usize = 1 << 10;
const MAX_BYTES: usize = 1 << 20;

/// A record that need not wait any more.
#[derive(Debug)]
pub enum Released {
    Open(Header, Opening),
    Data(Header, Vec<u8>),
}

#[derive(Debug)]
struct Waiting {
    opening: (Header, Opening),
    data: Vec<(Header, Vec<u8>)>,
    bytes: usize,
}

/// Those that wait, by the kernel's id.
#[derive(Debug, Default)]
pub struct Pending {
    waiting: HashMap<u64, Waiting>,
    released: VecDeque<Released>,
}

impl Pending {
    /// Whether this is a record that waits. Records that need not wait any more because of
    /// it come out of [`Self::next`] before it, if it does not wait itself.
    pub fn takes(&mut self, header: &Header, record: &Record<'_>) -> bool {
        match record {
            Record::Open(opening) if is_loose(opening) => self.begin(header, opening),
            _ if self.waiting.is_empty() => false,
            Record::Data(bytes) => self.wait(header, bytes),
            Record::Join(joining) => self.join(header.connection, joining),
            Record::Open(_) | Record::Close(_) => {
                self.release(header.connection);
                false
            }
            Record::ServerName(_) => false,
        }
    }

    /// The next record that need not wait any more.
    pub fn next(&mut self) -> Option<Released> {
        self.released.pop_front()
    }

    /// Lets go what has waited for too long at `now`, or all of it.
    pub fn hurry(&mut self, now: u64, all: bool) {
        let late = |waiting: &Waiting| all || now.saturating_sub(waiting.opening.0.at) > PATIENCE;
        let due: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| late(waiting))
            .map(|(id, _)| *id)
            .collect();
        due.into_iter().for_each(|id| self.release(id));
    }

    fn begin(&mut self, header: &Header, opening: &Opening) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        let waiting = Waiting {
            opening: (*header, *opening),
            data: Vec::new(),
            bytes: 0,
        };
        self.waiting.insert(header.connection, waiting);
        true
    }

    fn wait(&mut self, header: &Header, bytes: &[u8]) -> bool {
        let Some(waiting) = self.waiting.get_mut(&header.connection) else {
            return false;
        };
        waiting.bytes = waiting.bytes.saturating_add(bytes.len());
        waiting.data.push((*header, bytes.to_vec()));
        if waiting.bytes > MAX_BYTES {
            self.release(header.connection);
        }
        true
    }

    /// What waited goes on as part of another connection, behind what that one had.
    fn join(&mut self, id: u64, joining: &Joining) -> bool {
        let Some(waiting) = self.waiting.remove(&id) else {
            return false;
        };
        for (mut header, bytes) in waiting.data {
            let sides = |[write, read]: [u64; 2]| match header.direction {
                WRITE => (write, read),
                _ => (read, write),
            };
            let (position, opposite) = sides(joining.position);
            let (cut, opposite_cut) = sides(joining.cut);
            header.connection = joining.into;
            header.position = header.position.saturating_add(position);
            header.cut = header.cut.saturating_add(cut);
            header.opposite = header.opposite.saturating_add(opposite);
            header.opposite_cut = header.opposite_cut.saturating_add(opposite_cut);
            self.released.push_back(Released::Data(header, bytes));
        }
        true
    }

    fn release(&mut self, id: u64) {
        let Some(Waiting { opening, data, .. }) = self.waiting.remove(&id) else {
            return;
        };
        self.released
            .push_back(Released::Open(opening.0, opening.1));
        let data = data.into_iter();
        self.released
            .extend(data.map(|(header, bytes)| Released::Data(header, bytes)));
    }
}

/// Whether it is a connection of one stream so far, of which nobody knows the socket.
fn is_loose(opening: &Opening) -> bool {
    opening.key.pid & (stream::WRITE | stream::READ) != 0 && opening.socket.family == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmtap_common::conn::{Key, Socket};
    use llmtap_common::record::{Closing, READ};

    const AT: u64 = 1_000_000_000;

    fn header(connection: u64, direction: u8, position: u64) -> Header {
        Header {
            connection,
            at: AT,
            position,
            cut: 0,
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

    fn opening(bit: u64, family: u16) -> Opening {
        Opening {
            key: Key {
                pid: 40 | bit,
                object: 1,
            },
            instruction: 0,
            pid: 40,
            tid: 40,
            comm: [0; 16],
            socket: Socket {
                family,
                ..Socket::default()
            },
        }
    }

    fn takes_data(pending: &mut Pending, header: Header) -> bool {
        pending.takes(&header, &Record::Data(b"abc"))
    }

    /// What is released, in a few words.
    fn released(pending: &mut Pending) -> String {
        let mut all = vec![];
        while let Some(record) = pending.next() {
            all.push(match record {
                Released::Open(header, _) => format!("open {}", header.connection),
                Released::Data(header, bytes) => format!(
                    "{}:{}@{}+{}",
                    header.connection,
                    header.direction,
                    header.position,
                    bytes.len()
                ),
            });
        }
        all.join(" ")
    }

    /// One that waits with two records.
    fn waiting() -> Pending {
        let mut pending = Pending::default();
        let loose = Record::Open(opening(stream::WRITE, 0));
        assert!(pending.takes(&header(7, WRITE, 0), &loose));
        assert!(takes_data(&mut pending, header(7, WRITE, 0)));
        assert!(takes_data(&mut pending, header(7, WRITE, 3)));
        assert_eq!(released(&mut pending), "");
        pending
    }

    #[test]
    fn what_has_a_socket_or_an_object_does_not_wait() {
        let mut pending = Pending::default();
        for opening in [opening(0, 0), opening(stream::READ, 2)] {
            assert!(!pending.takes(&header(7, WRITE, 0), &Record::Open(opening)));
            assert!(!takes_data(&mut pending, header(7, WRITE, 0)));
        }
    }

    #[test]
    fn once_its_socket_is_known_it_goes_on_alone() {
        let mut pending = waiting();
        assert!(
            !takes_data(&mut pending, header(8, WRITE, 0)),
            "another one"
        );
        let found = Record::Open(opening(stream::WRITE, 2));
        assert!(!pending.takes(&header(7, WRITE, 0), &found));
        assert_eq!(released(&mut pending), "open 7 7:0@0+3 7:0@3+3");
        assert!(!takes_data(&mut pending, header(7, WRITE, 6)));
    }

    #[test]
    fn it_goes_on_behind_what_it_joins() {
        let mut pending = waiting();
        let joining = Joining {
            into: 9,
            position: [100, 5],
            cut: [0, 1],
        };
        assert!(pending.takes(&header(7, WRITE, 0), &Record::Join(joining)));
        let told = match pending.released.front() {
            Some(Released::Data(header, _)) => (header.opposite, header.opposite_cut),
            other => panic!("{other:?}"),
        };
        assert_eq!(told, (5, 1));
        assert_eq!(released(&mut pending), "9:0@100+3 9:0@103+3");
        // The next one waits for nothing.
        assert!(!pending.takes(&header(7, READ, 0), &Record::Join(joining)));
    }

    #[test]
    fn it_does_not_wait_for_long_nor_with_much() {
        let mut pending = waiting();
        pending.hurry(AT + PATIENCE, false);
        assert_eq!(released(&mut pending), "");
        pending.hurry(AT + PATIENCE + 1, false);
        assert_eq!(released(&mut pending), "open 7 7:0@0+3 7:0@3+3");
        let mut pending = waiting();
        pending.hurry(AT, true);
        assert_ne!(released(&mut pending), "");
        let mut pending = waiting();
        let much = vec![0; MAX_BYTES];
        assert!(pending.takes(&header(7, WRITE, 6), &Record::Data(&much)));
        assert!(released(&mut pending).ends_with(&format!("7:0@6+{MAX_BYTES}")));
    }

    #[test]
    fn its_end_ends_the_waiting() {
        let mut pending = waiting();
        let end = Closing {
            position: [6, 0],
            cut: [0; 2],
            refused: 0,
            unreadable: 0,
            calls: 0,
        };
        assert!(!pending.takes(&header(7, WRITE, 0), &Record::Close(end)));
        assert_eq!(released(&mut pending), "open 7 7:0@0+3 7:0@3+3");
    }
}
