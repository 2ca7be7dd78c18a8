//! What each process was seen to move, and through the hooks of which file.
//!
//! In: records. Out: a [`Seen`] for each process and file; entries of [`Tally`]s. Must not
//! know: what a payload means beyond what it looks like.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::tally::{self, Judgement, Look, Tally};

/// Connections remembered; beyond, all are forgotten, and are not counted any more.
const MAX_CONNECTIONS: usize = 1 << 17;

/// What came of one process by way of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub connections: u64,
    /// Of plaintext, as far as it was delivered.
    pub bytes: u64,
    /// How often bytes were moved over connections that are over.
    pub moves: u64,
}

/// A process, and the address of the tally of a file.
type Place = (u32, usize);

#[derive(Debug)]
struct Through {
    place: Place,
    tally: Arc<Tally>,
    /// Something came, so that what comes next is no beginning.
    began: bool,
}

#[derive(Debug, Default)]
pub struct Witness {
    /// By the kernel's id.
    connections: HashMap<u64, Through>,
    /// With the tally, so that its address stays its own.
    seen: BTreeMap<Place, (Seen, Arc<Tally>)>,
}

impl Witness {
    /// It became known that a connection is one of `pid`, through the file of `tally`.
    pub fn open(&mut self, connection: u64, pid: u32, tally: &Arc<Tally>) {
        if self.connections.contains_key(&connection) {
            return;
        }
        if self.connections.len() >= MAX_CONNECTIONS {
            self.connections.clear();
        }
        let through = Through {
            place: place(pid, tally),
            tally: Arc::clone(tally),
            began: false,
        };
        let (seen, _) = self.entry(&through);
        seen.connections = seen.connections.saturating_add(1);
        self.connections.insert(connection, through);
    }

    pub fn data(&mut self, connection: u64, payload: &[u8]) {
        let Some(through) = self.connections.get_mut(&connection) else {
            return;
        };
        let began = std::mem::replace(&mut through.began, true);
        if through.tally.judgement() != Judgement::Verified {
            match tally::look(payload) {
                Look::Plain => through.tally.plain(),
                Look::Encrypted if !began => through.tally.encrypted(),
                Look::Encrypted | Look::Other => {}
            }
        }
        if let Some((seen, _)) = self.seen.get_mut(&through.place) {
            seen.bytes = seen.bytes.saturating_add(payload.len() as u64);
        }
    }

    /// A connection is over, over which bytes were moved so many times.
    pub fn close(&mut self, connection: u64, moves: u64) {
        if let Some(through) = self.connections.remove(&connection)
            && let Some((seen, _)) = self.seen.get_mut(&through.place)
        {
            seen.moves = seen.moves.saturating_add(moves);
        }
    }

    /// How often each process moved bytes over connections that are over.
    pub fn moves(&self) -> HashMap<u32, u64> {
        let mut moves = HashMap::new();
        for ((pid, _), (seen, _)) in &self.seen {
            let sum: &mut u64 = moves.entry(*pid).or_default();
            *sum = sum.saturating_add(seen.moves);
        }
        moves
    }

    /// Most processes that end never used TLS: they cost one look.
    pub fn exited(&mut self, pid: u32) {
        let places = (pid, usize::MIN)..=(pid, usize::MAX);
        let gone: Vec<Place> = self.seen.range(places).map(|(place, _)| *place).collect();
        if gone.is_empty() {
            return;
        }
        for place in gone {
            self.seen.remove(&place);
        }
        self.connections.retain(|_, through| through.place.0 != pid);
    }

    pub fn seen(&self, pid: u32, tally: &Arc<Tally>) -> Seen {
        let seen = self.seen.get(&place(pid, tally));
        seen.map(|(seen, _)| *seen).unwrap_or_default()
    }

    fn entry(&mut self, through: &Through) -> &mut (Seen, Arc<Tally>) {
        let new = || (Seen::default(), Arc::clone(&through.tally));
        self.seen.entry(through.place).or_insert_with(new)
    }
}

fn place(pid: u32, tally: &Arc<Tally>) -> Place {
    (pid, Arc::as_ptr(tally).addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] = &[0x17, 3, 3, 0, 60, 1, 2, 3];

    #[test]
    fn what_is_seen_counts_for_its_process_and_file() {
        let (one, other) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
        let mut witness = Witness::default();
        witness.open(1, 40, &one);
        witness.open(1, 40, &one);
        witness.open(2, 41, &one);
        witness.data(1, b"GET / HTTP/1.1\r\n");
        witness.data(1, &[0; 4]);
        witness.data(9, b"of nobody");
        let seen = |connections, bytes| Seen {
            connections,
            bytes,
            moves: 0,
        };
        assert_eq!(witness.seen(40, &one), seen(1, 20));
        assert_eq!(witness.seen(41, &one), seen(1, 0));
        assert_eq!(witness.seen(40, &other), seen(0, 0));
        assert_eq!(one.judgement(), Judgement::Verified);
        assert_eq!(other.judgement(), Judgement::Open);
        witness.exited(40);
        assert_eq!(witness.seen(40, &one), seen(0, 0));
        witness.data(1, b"more");
        assert_eq!(witness.seen(41, &one), seen(1, 0));
    }

    #[test]
    fn moves_add_up_over_connections_that_are_over() {
        let (one, other) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
        let mut witness = Witness::default();
        witness.open(1, 40, &one);
        witness.open(2, 40, &other);
        witness.open(3, 41, &one);
        witness.close(1, 5);
        witness.close(2, 6);
        witness.close(2, 6);
        assert_eq!(witness.moves(), HashMap::from([(40, 11), (41, 0)]));
    }

    #[test]
    fn ciphertext_counts_once_a_connection_and_only_at_its_beginning() {
        let tally = Arc::new(Tally::default());
        let mut witness = Witness::default();
        witness.open(1, 40, &tally);
        (0..100).for_each(|_| witness.data(1, RECORD));
        // A tunnel: something else came before.
        for connection in 100..200 {
            witness.open(connection, 40, &tally);
            witness.data(connection, &[0, 1, 2]);
            witness.data(connection, RECORD);
        }
        assert_eq!(tally.judgement(), Judgement::Open);
        for connection in 2..20 {
            witness.open(connection, 40, &tally);
            witness.data(connection, RECORD);
        }
        assert!(matches!(tally.judgement(), Judgement::Refuted(_)));
    }
}
