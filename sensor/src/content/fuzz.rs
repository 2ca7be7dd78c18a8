//! Bodies of the fuzz targets of this room.
//!
//! In: bytes that a fuzzer made up. The first four say how the content is read and where
//! it has a hole, the rest is the content. Out: nothing, or a panic where a law is broken:
//! cuts change nothing, and what is given out keeps to its limits.

use super::{Content, Faults, Kind, Limits, MessageKind};
use crate::event::Missing;
use crate::stream::Segment;
use crate::time::Timestamp;

pub fn sse(script: &[u8]) {
    holds_however_cut(Some("text/event-stream"), None, script);
}

pub fn event_stream(script: &[u8]) {
    holds_however_cut(Some("application/vnd.amazon.eventstream"), None, script);
}

pub fn ndjson(script: &[u8]) {
    holds_however_cut(Some("application/x-ndjson"), None, script);
}

/// Also the elements of an array, and what has no type to go by.
pub fn json(script: &[u8]) {
    holds_however_cut(Some("application/json"), None, script);
}

pub fn grpc(script: &[u8]) {
    holds_however_cut(Some("application/grpc"), None, script);
}

/// Content with a coding, which the script names.
pub fn coded(script: &[u8]) {
    const CODINGS: [&str; 8] = [
        "gzip",
        "deflate",
        "br",
        "zstd",
        "gzip, br",
        "zstd, gzip",
        "identity",
        "x-unknown",
    ];
    let Some((&[choice], script)) = script.split_first_chunk() else {
        return;
    };
    let coding = CODINGS.get(usize::from(choice & 7)).copied();
    let kind = (choice & 8 != 0).then_some("text/event-stream");
    holds_however_cut(kind, coding, script);
}

const SMALL: Limits = Limits {
    whole: 300,
    tail: 100,
    message: 200,
    decoded: 3000,
};

/// All that comes of one content.
#[derive(Debug, PartialEq)]
struct Seen {
    units: Vec<(MessageKind, Option<String>, Vec<u8>)>,
    body: Option<(Vec<u8>, Vec<u8>)>,
    kind: Option<Kind>,
    missing: Missing,
    faults: Faults,
}

fn holds_however_cut(content_type: Option<&str>, coding: Option<&str>, script: &[u8]) {
    let Some((&[how, at, before, lost], content)) = script.split_first_chunk() else {
        return;
    };
    let limits = if how & 1 == 0 {
        Limits::default()
    } else {
        SMALL
    };
    let complete = how & 2 != 0;
    let has_hole = how & 4 != 0;
    let hole_at = usize::from(u16::from_be_bytes([at, before]));
    let [whole, cut] = [usize::MAX, 1].map(|most| {
        let mut content_of = Content::stream(content_type, coding, limits);
        let mut units = Vec::new();
        let mut out = |message: super::Message<'_>| {
            let name = message.name.map(str::to_owned);
            units.push((message.kind, name, message.data.to_vec()));
        };
        let now = Timestamp::from_nanos(1);
        let (head, tail) = content.split_at_checked(hole_at).unwrap_or((content, &[]));
        for piece in head.chunks(most) {
            content_of.feed(now, Segment::Data(piece), &mut out);
        }
        if has_hole {
            let missing = Missing {
                lost: u64::from(lost).saturating_add(1),
                cut: 0,
            };
            content_of.feed(now, Segment::Gap(missing), &mut out);
        }
        for piece in tail.chunks(most) {
            content_of.feed(now, Segment::Data(piece), &mut out);
        }
        content_of.finish(now, complete, &mut out);
        seen(&content_of, units)
    });
    let broken = |seen: &Seen| seen.faults.undecodable > 0 || seen.faults.inflated > 0;
    // How much came out before a coding broke is up to its decoder.
    if !broken(&whole) || !broken(&cut) {
        assert_eq!(whole, cut, "a cut changed what came out");
    }
    let longest = whole.units.iter().map(|(_, _, data)| data.len()).max();
    assert!(longest.unwrap_or_default() <= limits.message);
    let kept = whole
        .body
        .map_or(0, |(head, tail)| head.len().saturating_add(tail.len()));
    assert!(kept <= limits.whole);
}

fn seen(content: &Content, units: Vec<(MessageKind, Option<String>, Vec<u8>)>) -> Seen {
    Seen {
        units,
        body: content
            .body()
            .map(|body| (body.head.to_vec(), body.tail.to_vec())),
        kind: content.kind(),
        missing: content.missing(),
        faults: content.faults(),
    }
}
