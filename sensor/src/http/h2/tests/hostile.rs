//! Traffic that means harm: memory has a bound, and nothing panics.

use super::*;
use crate::http::testing::Dice;

/// Feeds and forgets what comes out; gives the most that was held at a time.
fn held(h2: &mut H2, chunks: impl IntoIterator<Item = Vec<u8>>) -> usize {
    let mut most = 0;
    for chunk in chunks {
        let segment = Segment::Data(&chunk);
        h2.feed(Direction::Write, at(0), segment, &mut |_| {});
        most = most.max(h2.held_bytes());
    }
    most
}

fn preface() -> Vec<u8> {
    header::PREFACE.to_vec()
}

#[test]
fn endless_continuation() {
    let mut h2 = H2::new(None);
    let first = [preface(), frame(HEADERS, 0, 1, &post("/x").0)];
    let field = Encoder::default().inserted("x-endless", &"v".repeat(200)).0;
    let more = (0..20_000).map(|_| frame(CONTINUATION, 0, 1, &field));
    let most = held(&mut h2, first.into_iter().chain(more));
    assert!(most < 2 * half::LONGEST_BLOCK, "{most}");
    // What came in time is told all the same, and the connection goes on.
    let mut log = crate::http::testing::Log::default();
    let end = frame(CONTINUATION, END_HEADERS, 1, &[]);
    let next = frame(HEADERS, END_HEADERS | END_STREAM, 3, &post("/y").0);
    for bytes in [end, next] {
        h2.feed(Direction::Write, at(1), Segment::Data(&bytes), &mut |e| {
            log.add(e)
        });
    }
    let head = log.0[&1].request.as_ref().unwrap();
    assert!(head.partial);
    assert_eq!(head.path(), "/x");
    assert_eq!(log.0[&3].request.as_ref().unwrap().path(), "/y");
    assert_eq!(h2.faults().cut_blocks, 1);
}

#[test]
fn a_bomb_of_indices() {
    // A field of nearly the table's size, then as many references as a block can hold.
    let mut block = post("/x").inserted("x-bomb", &"v".repeat(4000));
    for _ in 0..200_000 {
        block = block.indexed(62);
    }
    let (first, rest) = block.0.split_at(16_000);
    let mut chunks = vec![preface(), frame(HEADERS, 0, 1, first)];
    chunks.extend(
        rest.chunks(16_000)
            .map(|part| frame(CONTINUATION, 0, 1, part)),
    );
    chunks.push(frame(CONTINUATION, END_HEADERS, 1, &[]));
    let mut h2 = H2::new(None);
    let mut size = 0;
    for chunk in chunks {
        let segment = Segment::Data(&chunk);
        h2.feed(Direction::Write, at(0), segment, &mut |event| {
            if let crate::http::Step::Request { head, .. } = event.step {
                size = head.fields.iter().map(|(n, v)| n.len() + v.len()).sum();
                assert!(head.partial);
            }
        });
    }
    assert!((200_000..300_000).contains(&size), "{size}");
    assert!(h2.held_bytes() < 64 * 1024);
}

#[test]
fn ten_thousand_streams() {
    let mut h2 = H2::new(None);
    let mut begun = 0;
    let mut over = 0;
    for n in 0..10_000u32 {
        let request = frame(HEADERS, END_HEADERS, 1 + 2 * n, &post("/x").0);
        h2.feed(
            Direction::Write,
            at(0),
            Segment::Data(&request),
            &mut |event| match event.step {
                crate::http::Step::Request { .. } => begun += 1,
                crate::http::Step::Over => over += 1,
                _ => {}
            },
        );
    }
    assert_eq!((begun, over), (10_000, 10_000 - streams::MOST));
    assert_eq!(h2.faults().evicted_streams, over as u64);
    assert!(h2.held_bytes() < 512 * 1024, "{}", h2.held_bytes());
    h2.close(at(1), &mut |event| {
        over += usize::from(matches!(event.step, crate::http::Step::Over));
    });
    assert_eq!(over, 10_000);
}

#[test]
fn streams_are_never_used_again() {
    let mut traffic = simple();
    // The log panics if anything comes for an exchange that is over.
    traffic.write(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &post("/again").0,
    ));
    traffic.read(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &ok().0));
    for _ in 0..3 {
        traffic.read(&frame(HEADERS, END_HEADERS | END_STREAM, 99, &ok().0));
    }
    traffic.write(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        99,
        &post("/again").0,
    ));
    assert_eq!(traffic.log().0.len(), 2);
}

#[test]
fn noise() {
    let mut dice = Dice(7);
    for round in 0..300 {
        let mut h2 = H2::new(None);
        for _ in 0..40 {
            let length = dice.below(300);
            let sides = [256, 12, 2][dice.below(3)];
            let mut noise: Vec<u8> = (0..length).map(|_| dice.below(sides) as u8).collect();
            if dice.below(3) == 0 {
                let kind = dice.below(11) as u8;
                let flags = dice.below(256) as u8;
                noise = frame(kind, flags, dice.below(9) as u32, &noise);
            }
            let direction = [Direction::Write, Direction::Read][dice.below(2)];
            for piece in dice.cut(&noise) {
                h2.feed(direction, at(round), Segment::Data(piece), &mut |_| {});
            }
            if dice.below(9) == 0 {
                let lost = [1, 9, 70, u64::MAX][dice.below(4)];
                let gap = Segment::Gap(Missing { lost, cut: lost });
                h2.feed(direction, at(round), gap, &mut |_| {});
            }
        }
        assert!(h2.held_bytes() < 200 * 1024);
        h2.close(at(round), &mut |_| {});
    }
}

#[test]
fn a_search_holds_little() {
    let mut h2 = H2::new(None);
    // Each of these may begin a frame of 16 KiB.
    let decoy = [0, 0x40, 0, 0, 0, 0, 0, 0, 1];
    let most = held(&mut h2, (0..5000).map(|_| [&b"?"[..], &decoy].concat()));
    assert!(most < 64 * 1024, "{most}");
    assert!(h2.write.skipped > 0);
}

#[test]
fn a_frame_longer_than_anybody_takes_is_none() {
    let mut traffic = simple();
    traffic.write(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]);
    let request = frame(HEADERS, END_HEADERS, 3, &post("/y").0);
    traffic.write(&[request, frame(DATA, END_STREAM, 3, b"x")].concat());
    let log = traffic.log();
    assert_eq!(log.0[&3].request.as_ref().unwrap().path(), "/y");
}
