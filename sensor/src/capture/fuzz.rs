//! Bodies of the fuzz targets of this room.
//!
//! In: bytes that a fuzzer made up. Out: nothing, or a panic where a law is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use super::mask::Masks;
use super::{Bodies, Reader, Reframer};
use crate::event::{ConnectionId, Direction, Event, EventKind, Missing, Origin};
use crate::http;
use crate::stream::Segment;
use crate::time::Timestamp;

/// A capture file: it is read to its end, or to its first error.
pub fn reader(file: &[u8]) {
    let Ok(mut reader) = Reader::new(Cursor::new(file.to_vec())) else {
        return;
    };
    while let Ok(Some(event)) = reader.next() {
        std::hint::black_box(event);
    }
}

/// A stream of lines, its hole where the first two bytes say. Bytes are masked and never
/// moved, and no cut shows what is masked in the whole. It may hide more: an authority whose
/// end isn't there yet, or a piece behind a hole too short to tell how the stream goes on.
pub fn mask(script: &[u8]) {
    let Some((&[high, low], stream)) = script.split_first_chunk() else {
        return;
    };
    let hole = usize::from(u16::from_be_bytes([high, low]));
    let [whole, cut] = [usize::MAX, 1].map(|most| {
        let mut masks = Masks::default();
        let mut masked = Vec::new();
        let (head, tail) = stream.split_at_checked(hole).unwrap_or((stream, &[]));
        let mut missing = Missing::NONE;
        for part in [head, tail] {
            for piece in part.chunks(most) {
                let mut piece = piece.to_vec();
                masks.mask(ConnectionId(1), Direction::Write, missing, &mut piece)?;
                missing = Missing::NONE;
                masked.extend(piece);
            }
            missing = Missing { lost: 1, cut: 0 };
        }
        Some(masked)
    });
    let (Some(whole), Some(cut)) = (whole, cut) else {
        return;
    };
    assert_eq!((whole.len(), cut.len()), (stream.len(), stream.len()));
    for ((whole, cut), byte) in whole.into_iter().zip(cut).zip(stream) {
        assert!(whole == *byte || whole == b'*');
        assert!(whole == cut || cut == b'*', "a cut showed what is masked");
    }
}

/// Traffic of a few connections: an order, a size, as many bytes, and so on. What is
/// written anew is HTTP/1.1 that can be read, or messages over pipes, one a line.
pub fn reframe(script: &[u8]) {
    for bodies in [Bodies::AsTheyAre, Bodies::Hidden] {
        let mut written = Written::default();
        let mut reframer = Reframer::new(bodies);
        events(script, &mut |event| {
            reframer.feed(event, &mut |event| written.take(event));
        });
        written.check();
    }
}

/// Plays a script.
fn events(mut script: &[u8], feed: &mut dyn FnMut(&Event<'_>)) {
    let mut nanos = 0_u64;
    while let Some((&[order, low, high], rest)) = script.split_first_chunk() {
        nanos = nanos.saturating_add(1);
        let size = usize::from(u16::from_le_bytes([low, high]));
        let (bytes, rest) = match order & 7 {
            0..=4 => rest.split_at_checked(size).unwrap_or((rest, &[])),
            _ => (&[][..], rest),
        };
        script = rest;
        let direction = if order & 8 == 0 {
            Direction::Write
        } else {
            Direction::Read
        };
        let missing = Missing {
            lost: if order & 7 == 4 { u64::from(order) } else { 0 },
            cut: 0,
        };
        let kind = match order & 7 {
            5 => EventKind::Open(Box::new(Origin {
                pipe: (order & 8 != 0).then_some(7),
                ..Origin::default()
            })),
            6 => EventKind::Close,
            _ => EventKind::Data {
                direction,
                missing,
                bytes,
            },
        };
        feed(&Event {
            connection: ConnectionId(u64::from(order >> 6)),
            at: Timestamp::from_nanos(nanos),
            kind,
        });
    }
}

/// Connections that were made up, as another observer sees them.
#[derive(Default)]
struct Written {
    http: BTreeMap<ConnectionId, (http::Connection, bool)>,
    pipes: BTreeSet<ConnectionId>,
}

impl Written {
    fn take(&mut self, event: &Event<'_>) {
        match &event.kind {
            EventKind::Open(origin) if origin.pipe.is_some() => {
                self.pipes.insert(event.connection);
            }
            EventKind::Data { bytes, .. } if self.pipes.contains(&event.connection) => {
                assert_eq!(memchr::memchr(b'\n', bytes), bytes.len().checked_sub(1));
                return;
            }
            _ => {}
        }
        let (http, has_holes) = self.http.entry(event.connection).or_default();
        if let EventKind::Data {
            direction,
            missing,
            bytes,
        } = &event.kind
        {
            if !missing.is_none() {
                *has_holes = true;
                http.feed(*direction, event.at, Segment::Gap(*missing), &mut |_| {});
            }
            http.feed(*direction, event.at, Segment::Data(bytes), &mut |_| {});
        }
    }

    fn check(&self) {
        for (http, has_holes) in self.http.values() {
            let faults = http.faults();
            let sound = faults.refused_heads == 0 && faults.lost_framing == 0;
            assert!(sound || *has_holes, "{faults:?}");
        }
    }
}
