//! Body of the fuzz target of this room.
//!
//! In: bytes that a fuzzer made up: a size, then pieces of that size, the lowest bit of whose
//! first byte says which way they go and the next one whether some are missing before them.
//! Out: nothing, or a panic where a law is broken: cuts change nothing, memory is bounded,
//! and a hole takes lines away and adds none.

use super::{Connection, Heard};
use crate::event::{Direction, Missing};
use crate::stream::Segment;
use crate::time::Timestamp;

/// Small, so that short input reaches it.
const LIMIT: usize = 64;

#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    lines: Vec<(Direction, Timestamp, Vec<u8>)>,
    lost: u64,
    cut: u64,
}

pub fn lines(script: &[u8]) {
    let Some((size, script)) = script.split_first() else {
        return;
    };
    let pieces: Vec<_> = script.chunks(usize::from(*size).max(1)).collect();
    let whole = play(&pieces, usize::MAX, true);
    assert_eq!(whole, play(&pieces, 1, true), "a cut changed what was said");
    let complete = play(&pieces, usize::MAX, false);
    let mut rest = complete.lines.iter();
    for line in &whole.lines {
        assert!(rest.any(|other| other == line), "a hole made a line");
    }
}

/// `holes`: whether there are some; without them nothing is missing either.
fn play(pieces: &[&[u8]], cut: usize, holes: bool) -> Said {
    let mut connection = Connection::new(LIMIT);
    let mut said = Said::default();
    for (at, piece) in (0..).zip(pieces) {
        let at = Timestamp::from_nanos(at);
        let order = piece.first().copied().unwrap_or_default();
        let direction = match order & 1 {
            0 => Direction::Write,
            _ => Direction::Read,
        };
        let mut take = |heard: Heard<'_>| match heard {
            Heard::Line { began, bytes } => said.lines.push((direction, began, bytes.to_vec())),
            Heard::Missing(missing) => {
                said.lost = said.lost.saturating_add(missing.lost);
                said.cut = said.cut.saturating_add(missing.cut);
            }
        };
        if holes && order & 2 != 0 {
            let missing = Missing { lost: 1, cut: 0 };
            connection.feed(direction, at, Segment::Gap(missing), &mut take);
        }
        for bytes in piece.chunks(cut) {
            connection.feed(direction, at, Segment::Data(bytes), &mut take);
        }
        assert!(connection.held_bytes() <= 4 * LIMIT, "memory is bounded");
    }
    said
}
