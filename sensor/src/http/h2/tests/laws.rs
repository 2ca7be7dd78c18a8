//! What holds for any traffic.

use super::*;
use crate::http::testing::{Body, Dice, Exchange, Log};

/// Connections that show most of what there is.
fn connections() -> Vec<Traffic> {
    let mut all = vec![simple(), busy(0), busy(1), busy(2)];
    let mut holes = busy(3);
    holes.0.insert(
        20,
        (Direction::Read, Chunk::Hole(Missing { lost: 3, cut: 0 })),
    );
    holes.0.insert(
        26,
        (
            Direction::Write,
            Chunk::Hole(Missing {
                lost: 70_000,
                cut: 9,
            }),
        ),
    );
    all.push(holes);
    // Joined amid frames, in both directions.
    let mut late = busy(4);
    late.0.drain(..12);
    for direction in [Direction::Write, Direction::Read] {
        let first = late.0.iter_mut().find(|(d, _)| *d == direction);
        if let Some((_, Chunk::Bytes(bytes))) = first {
            bytes.remove(0);
        }
    }
    all.push(late);
    all
}

/// Six exchanges whose frames go through each other, with fields that the dynamic
/// tables hold and drop again.
fn busy(seed: u64) -> Traffic {
    let mut dice = Dice(seed * 77 + 5);
    let mut traffic = Traffic::new();
    let mut queues: Vec<Vec<(Direction, Vec<u8>)>> = Vec::new();
    traffic.write(&frame(
        SETTINGS,
        0,
        0,
        &[0, 1, 0, 0, 16, 0, 0, 5, 0, 1, 0, 0],
    ));
    // Header blocks go in the order of their encoding: requests first, then responses.
    for n in 0..6u32 {
        let stream = 1 + 2 * n;
        let block = Encoder::default()
            .indexed(3)
            .indexed(7)
            .literal_only(4, &format!("/v1/{n}"));
        let mut block = block
            .literal_only(1, "h")
            .inserted("x-request", &n.to_string());
        if n > 1 {
            block = block
                .indexed(62)
                .indexed(63 + dice.below(2))
                .inserted("x-large", &"v".repeat(1500));
        }
        traffic.write(&frame(HEADERS, END_HEADERS, stream, &block.0));
        let mut queue = Vec::new();
        for _ in 0..dice.below(4) {
            let payload = vec![b'a' + n as u8; 1 + dice.below(900)];
            queue.push((Direction::Write, frame(DATA, 0, stream, &payload)));
        }
        queue.push((Direction::Write, frame(DATA, END_STREAM, stream, b"")));
        for _ in 0..dice.below(6) {
            let text = format!("data: {{\"n\":{n},\"x\":{}}}\n\n", dice.below(1000));
            queue.push((Direction::Read, frame(DATA, 0, stream, text.as_bytes())));
        }
        queue.push((
            Direction::Read,
            frame(DATA, END_STREAM, stream, b"data: [DONE]\n\n"),
        ));
        queue.reverse();
        queues.push(queue);
    }
    for n in 0..6u32 {
        let mut block = ok()
            .inserted(31, "text/event-stream")
            .inserted("x-id", &n.to_string());
        if n > 0 {
            block = block.indexed(64);
        }
        let (head, tail) = block.0.split_at(3);
        let mut bytes = frame(HEADERS, 0, 1 + 2 * n, head);
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1 + 2 * n, tail));
        traffic.read(&bytes);
    }
    while queues.iter().any(|queue| !queue.is_empty()) {
        let queue = dice.below(6);
        if let Some((direction, bytes)) = queues[queue].pop() {
            traffic.0.push((direction, Chunk::Bytes(bytes)));
        }
    }
    traffic
}

#[test]
fn the_connections_are_worth_it() {
    let log = busy(0).log();
    assert_eq!(log.0.len(), 6);
    for (id, exchange) in &log.0 {
        assert!(exchange.over, "{id}");
        assert_eq!(exchange.response_end.unwrap().1, End::Complete);
        assert_eq!(exchange.request_end.unwrap().1, End::Complete);
        assert!(!exchange.request.as_ref().unwrap().partial);
        assert!(
            exchange
                .response_body
                .bytes()
                .ends_with(b"data: [DONE]\n\n")
        );
    }
    let (_, head) = log.0[&11].response.as_ref().unwrap();
    assert_eq!(head.fields.iter().count(), 3);
}

#[test]
fn cuts_change_nothing() {
    for (n, traffic) in connections().iter().enumerate() {
        let whole = traffic.log();
        let single = traffic.feed(&mut H2::new(None), |bytes| bytes.chunks(1).collect());
        assert_eq!(whole, single, "connection {n}, byte by byte");
        for seed in 1..25 {
            assert_eq!(
                whole,
                traffic.log_cut(Dice(seed)),
                "connection {n}, cut {seed}"
            );
        }
    }
}

/// Asserts that `less` says nothing that `full` does not say.
pub fn assert_only_less(less: &Log, full: &Log, what: &str) {
    for (id, exchange) in &less.0 {
        let whole = full
            .0
            .get(id)
            .unwrap_or_else(|| panic!("{what}: exchange {id} is new"));
        assert_exchange_only_less(exchange, whole, &format!("{what}, exchange {id}"));
    }
}

fn assert_exchange_only_less(less: &Exchange, full: &Exchange, what: &str) {
    if let Some(head) = &less.request {
        let whole = full.request.as_ref().unwrap();
        assert!(
            head.method.is_empty() || head.method == whole.method,
            "{what}"
        );
        assert!(
            head.target.is_none() || head.target == whole.target,
            "{what}"
        );
        assert!(
            head.authority.is_none() || head.authority == whole.authority,
            "{what}"
        );
        assert!(head.partial || head == whole, "{what}");
        assert_sublist(head.fields.iter(), whole.fields.iter(), what);
    }
    if let Some((_, head)) = &less.response {
        let (_, whole) = full.response.as_ref().unwrap();
        assert!(
            head.status.is_none() || head.status == whole.status,
            "{what}"
        );
        assert!(head.partial || head == whole, "{what}");
        assert_sublist(head.fields.iter(), whole.fields.iter(), what);
    }
    assert_body_only_less(&less.request_body, &full.request_body, what);
    assert_body_only_less(&less.response_body, &full.response_body, what);
}

fn assert_sublist<'a>(
    less: impl Iterator<Item = (&'a str, &'a str)>,
    mut full: impl Iterator<Item = (&'a str, &'a str)>,
    what: &str,
) {
    for field in less {
        assert!(full.any(|f| f == field), "{what}: {field:?} is not there");
    }
}

/// Each piece is in the whole body, in order.
fn assert_body_only_less(less: &Body, full: &Body, what: &str) {
    let full = full.bytes();
    let mut rest = &full[..];
    for piece in less.pieces.iter().flatten() {
        let at = memchr::memmem::find(rest, piece).unwrap_or_else(|| panic!("{what}: body"));
        rest = &rest[at + piece.len()..];
    }
}

#[test]
fn joined_late_nothing_is_wrong() {
    for seed in 0..4 {
        let traffic = busy(seed);
        let full = traffic.log();
        let mut known = 0;
        for start in 1..traffic.0.len() {
            let late = Traffic(traffic.0[start..].to_vec()).log();
            assert_only_less(&late, &full, &format!("seed {seed} from chunk {start}"));
            known += late.0.len();
            // Also amid a chunk of its direction.
            for skip in [1, 5, 9, 14] {
                let mut late = Traffic(traffic.0[start..].to_vec());
                if let (_, Chunk::Bytes(bytes)) = &mut late.0[0] {
                    bytes.drain(..skip.min(bytes.len()));
                }
                assert_only_less(
                    &late.log(),
                    &full,
                    &format!("seed {seed}, {start} + {skip}"),
                );
            }
        }
        assert!(known > 20);
    }
}

#[test]
fn a_hole_makes_nothing_wrong() {
    for seed in 0..4 {
        let traffic = busy(seed);
        let full = traffic.log();
        for nth in 0..traffic.0.len() {
            let what = format!("seed {seed} without {nth}");
            assert_only_less(&traffic.without(nth).log(), &full, &what);
        }
    }
}

#[test]
fn a_hole_anywhere_makes_nothing_wrong() {
    let traffic = busy(1);
    let full = traffic.log();
    let mut dice = Dice(99);
    for round in 0..300 {
        let mut holed = traffic.clone();
        let nth = dice.below(holed.0.len());
        let (direction, Chunk::Bytes(bytes)) = holed.0[nth].clone() else {
            panic!("bytes")
        };
        let from = dice.below(bytes.len());
        let to = from + 1 + dice.below(bytes.len() - from);
        let hole = Missing {
            lost: (to - from) as u64,
            cut: 0,
        };
        let pieces = [
            Chunk::Bytes(bytes[..from].to_vec()),
            Chunk::Hole(hole),
            Chunk::Bytes(bytes[to..].to_vec()),
        ];
        holed
            .0
            .splice(nth..=nth, pieces.map(|piece| (direction, piece)));
        let log = holed.log();
        assert_only_less(&log, &full, &format!("round {round}, {nth}: {from}..{to}"));
        assert_eq!(log, holed.log_cut(Dice(round + 1)), "round {round}");
    }
}

#[test]
fn other_streams_change_nothing() {
    let full = busy(2);
    let log = full.log();
    // The same header blocks, then the content of one stream after the other.
    let mut sorted = full.clone();
    let content = |chunk: &Chunk| match chunk {
        Chunk::Bytes(bytes) => (bytes[3] == DATA).then(|| bytes[8]),
        Chunk::Hole(_) => None,
    };
    sorted.0.sort_by_key(|(_, chunk)| content(chunk));
    let sorted = sorted.log();
    for (id, exchange) in &log.0 {
        let other = &sorted.0[id];
        assert_eq!(exchange.request, other.request);
        assert_eq!(exchange.request_body.pieces, other.request_body.pieces);
        assert_eq!(exchange.response_body.pieces, other.response_body.pieces);
        assert_eq!(exchange.trailers, other.trailers);
    }
}

#[test]
fn nothing_is_retained_after_the_close() {
    for traffic in connections() {
        let mut h2 = H2::new(None);
        traffic.feed(&mut h2, |bytes| vec![bytes]);
        assert_eq!(h2.held_bytes(), 0);
    }
}

#[test]
fn every_exchange_gets_over() {
    for traffic in connections() {
        let log = traffic.log();
        assert!(log.0.values().all(|exchange| exchange.over));
    }
}
