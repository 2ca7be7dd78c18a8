use flate2::{Compress, Compression as Level, FlushCompress};

use super::message::{FLUSH_TAIL, LONGEST, SPARE};
use super::*;
use crate::http::testing::{Dice, Log};

const WRITE: Direction = Direction::Write;
const READ: Direction = Direction::Read;

/// What came: direction, text or bytes, what is missing.
type Said = (Direction, Vec<u8>, Missing);

fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(bit | length as u8),
        length @ ..0x1_0000 => {
            frame.push(bit | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(bit | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(
        mask.unwrap_or_default()
            .iter()
            .take(if mask.is_some() { 4 } else { 0 }),
    );
    let keys = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(keys.iter().cycle()).map(|(o, k)| o ^ k));
    frame
}

/// Feeds; each chunk cut by `cut`.
fn said<'a, F>(
    socket: &mut WebSocket,
    chunks: &'a [(Direction, Segment<'a>)],
    mut cut: F,
) -> Vec<Said>
where
    F: FnMut(&'a [u8]) -> Vec<&'a [u8]>,
{
    let mut log = Log::default();
    for (n, (direction, segment)) in chunks.iter().enumerate() {
        let at = Timestamp::from_nanos(n as u64);
        let mut feed = |segment| socket.feed(*direction, at, segment, &mut |e| log.add(e));
        match segment {
            Segment::Data(bytes) => cut(bytes).into_iter().for_each(|b| feed(Segment::Data(b))),
            gap => feed(*gap),
        }
    }
    let messages = log.0.remove(&3).unwrap_or_default().messages;
    messages
        .into_iter()
        .map(|(direction, _, data, missing)| (direction, data, missing))
        .collect()
}

/// Feeds whole and cut, which has to give the same.
fn all_said(extensions: Option<&str>, chunks: &[(Direction, Segment<'_>)]) -> Vec<Said> {
    let socket = || WebSocket::new(ExchangeId(3), extensions);
    let whole = said(&mut socket(), chunks, |bytes| vec![bytes]);
    let single = said(&mut socket(), chunks, |bytes| bytes.chunks(1).collect());
    assert_eq!(whole, single, "byte by byte");
    for seed in 1..20 {
        let mut dice = Dice(seed);
        assert_eq!(
            whole,
            said(&mut socket(), chunks, |bytes| dice.cut(bytes)),
            "cut {seed}"
        );
    }
    whole
}

fn read(bytes: &[u8]) -> (Direction, Segment<'_>) {
    (READ, Segment::Data(bytes))
}

fn lost(lost: u64) -> (Direction, Segment<'static>) {
    (READ, Segment::Gap(Missing { lost, cut: 0 }))
}

fn message(text: &[u8]) -> Said {
    (READ, text.to_vec(), Missing::NONE)
}

fn cut(text: &[u8], lost: u64, cut: u64) -> Said {
    (READ, text.to_vec(), Missing { lost, cut })
}

#[test]
fn the_examples_of_the_specification() {
    // RFC 6455, section 5.7, and RFC 7692, section 7.2.3.
    let chunks = [
        read(b"\x81\x05Hello"),
        (
            WRITE,
            Segment::Data(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        ),
        read(b"\x01\x03Hel"),
        read(b"\x89\x05Hello"),
        read(b"\x80\x02lo"),
        read(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"),
        read(b"\xc1\x05\xf2\x00\x11\x00\x00"),
        read(b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00"),
    ];
    let said = all_said(Some("permessage-deflate"), &chunks);
    assert_eq!(said.len(), 6);
    for (n, (direction, data, missing)) in said.iter().enumerate() {
        assert_eq!((&data[..], *missing), (&b"Hello"[..], Missing::NONE));
        assert_eq!(*direction, if n == 1 { WRITE } else { READ });
    }
}

#[test]
fn every_form_of_length() {
    let texts = [0, 125, 126, 0xffff, 0x1_0000].map(|length| vec![b'x'; length]);
    let bytes: Vec<u8> = texts
        .iter()
        .flat_map(|text| {
            [
                frame(0x81, None, text),
                frame(0x82, Some([1, 2, 3, 4]), text),
            ]
        })
        .flatten()
        .collect();
    let said = all_said(None, &[read(&bytes)]);
    let expected: Vec<_> = texts
        .iter()
        .flat_map(|text| [message(text), message(text)])
        .collect();
    assert_eq!(said, expected);
}

/// Messages that each repeat the one before, as streams of events do.
fn texts() -> Vec<Vec<u8>> {
    (0..30)
        .map(|n| {
            format!("{{\"type\":\"response.output_text.delta\",\"n\":{n},\"delta\":\"word {n}\"}}")
        })
        .map(String::into_bytes)
        .collect()
}

/// Compresses as a sender does; frames of at most `most` octets.
fn deflated(takes_over: bool, mask: Option<[u8; 4]>, most: usize) -> Vec<Vec<u8>> {
    let mut compress = Compress::new(Level::default(), false);
    let mut frames = Vec::new();
    for text in texts() {
        if !takes_over {
            compress.reset();
        }
        let mut out = Vec::with_capacity(text.len() + 64);
        compress
            .compress_vec(&text, &mut out, FlushCompress::Sync)
            .unwrap();
        assert!(out.ends_with(&FLUSH_TAIL));
        out.truncate(out.len() - 4);
        let pieces: Vec<_> = out.chunks(most).collect();
        let mut bytes = Vec::new();
        for (n, piece) in pieces.iter().enumerate() {
            let first = if n == 0 { 0x41 } else { 0 };
            let last = if n + 1 == pieces.len() { 0x80 } else { 0 };
            bytes.extend(frame(first | last, mask, piece));
        }
        frames.push(bytes);
    }
    frames
}

#[test]
fn compressed_messages() {
    let expected: Vec<_> = texts().iter().map(|text| message(text)).collect();
    for (takes_over, extensions) in [
        (true, "permessage-deflate; client_max_window_bits=15"),
        (
            false,
            "x-other, permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
    ] {
        for mask in [None, Some([9, 8, 7, 6])] {
            for most in [7, 1000] {
                let bytes = deflated(takes_over, mask, most).concat();
                assert_eq!(all_said(Some(extensions), &[read(&bytes)]), expected);
            }
        }
    }
    // Not told of the extension, one sees it in the frames.
    let bytes = deflated(true, None, 1000).concat();
    assert_eq!(all_said(None, &[read(&bytes)]), expected);
    // Of another extension, nothing can be known.
    for (_, data, missing) in all_said(Some("permessage-brotli"), &[read(&bytes)]) {
        assert!(data.is_empty() && missing.lost > 0);
    }
}

#[test]
fn a_lost_message_makes_no_other_wrong() {
    for takes_over in [true, false] {
        let frames = deflated(takes_over, None, 1000);
        for nth in 0..frames.len() {
            let mut chunks: Vec<_> = frames.iter().map(|bytes| read(bytes)).collect();
            // The header stays, so that the frames stay in step.
            chunks[nth] = read(&frames[nth][..2]);
            chunks.insert(nth + 1, lost(frames[nth].len() as u64 - 2));
            let said = all_said(Some("permessage-deflate"), &chunks);
            assert_eq!(said.len(), frames.len());
            for (n, ((_, data, missing), text)) in said.iter().zip(texts()).enumerate() {
                match missing.is_none() {
                    true => assert_eq!(*data, text, "{n} without {nth}"),
                    false => assert!(text.starts_with(data), "{n} without {nth}"),
                }
                assert!(n >= nth || missing.is_none());
                assert!(takes_over || n == nth || missing.is_none());
            }
        }
    }
}

#[test]
fn a_hole_cuts_its_message() {
    let bytes = frame(0x81, Some([1, 2, 3, 4]), b"0123456789");
    let next = frame(0x81, None, b"next");
    let chunks = [read(&bytes[..9]), lost(4), read(&bytes[13..]), read(&next)];
    let said = all_said(None, &chunks);
    assert_eq!(said, [cut(b"012", 4, 3), message(b"next")]);
}

#[test]
fn after_lost_frames_the_next_document_is_found() {
    let first = frame(0x01, None, b"{\"a\":");
    let json = b"{\"type\":\"session.created\"}";
    let mut bytes = b"d of a message \x81\x05}".to_vec();
    let skipped = bytes.len() as u64;
    bytes.extend(frame(0x81, None, json));
    bytes.extend(frame(0x82, Some([5, 5, 5, 5]), b"plain"));
    let said = all_said(None, &[read(&first), lost(500), read(&bytes)]);
    let expected = [
        cut(b"{\"a\":", 500, 0),
        cut(b"", skipped, 0),
        message(json),
        message(b"plain"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_message_that_another_interrupts_is_cut() {
    let begun = frame(0x01, None, b"{\"a\":");
    let whole = frame(0x81, None, b"{\"b\":1}");
    let said = all_said(None, &[read(&begun), read(&whole)]);
    assert_eq!(said, [cut(b"{\"a\":", 1, 0), message(b"{\"b\":1}")]);
}

#[test]
fn a_bomb_is_cut() {
    let mut compress = Compress::new(Level::best(), false);
    let zeroes = vec![0; 17 << 20];
    let mut out = Vec::with_capacity(1 << 20);
    compress
        .compress_vec(&zeroes, &mut out, FlushCompress::Sync)
        .unwrap();
    let bytes = frame(0xc2, None, &out);
    let mut socket = WebSocket::new(ExchangeId(3), Some("permessage-deflate"));
    let chunks = [read(&bytes)];
    let said = said(&mut socket, &chunks, |bytes| bytes.chunks(100).collect());
    assert_eq!((said.len(), said[0].1.len()), (1, LONGEST));
    assert!(said[0].2.cut > 0);
    assert!(socket.read.message.held_bytes() <= SPARE);
}

#[test]
fn a_length_beyond_all_is_bounded() {
    let mut socket = WebSocket::new(ExchangeId(3), None);
    let mut bytes = vec![0x82, 127];
    bytes.extend((u64::MAX >> 1).to_be_bytes());
    bytes.resize(1 << 20, b'x');
    let chunks: Vec<_> = (0..40).map(|_| read(&bytes[..])).collect();
    // Only the first holds a header, the others are payload like any.
    assert_eq!(said(&mut socket, &chunks, |bytes| vec![bytes]), []);
    assert!(socket.read.message.held_bytes() <= 2 * LONGEST);
    assert!(socket.read.message.missing().cut > 0);
}

#[test]
fn noise() {
    let mut dice = Dice(11);
    for _ in 0..300 {
        let mut socket = WebSocket::new(ExchangeId(3), None);
        for _ in 0..40 {
            let length = dice.below(200);
            let sides = [256, 3][dice.below(2)];
            let noise: Vec<u8> = (0..length).map(|_| dice.below(sides) as u8).collect();
            let first = dice.below(256) as u8;
            let noise = match dice.below(3) {
                0 => frame(first, Some([1, 2, 3, 4]), &noise),
                1 => frame(0xc1, None, &noise),
                _ => noise,
            };
            for piece in dice.cut(&noise) {
                socket.feed(
                    READ,
                    Timestamp::from_nanos(0),
                    Segment::Data(piece),
                    &mut |_| {},
                );
            }
            if dice.below(9) == 0 {
                let missing = Missing {
                    lost: [1, 50, u64::MAX][dice.below(3)],
                    cut: 0,
                };
                socket.feed(
                    READ,
                    Timestamp::from_nanos(0),
                    Segment::Gap(missing),
                    &mut |_| {},
                );
            }
        }
        assert!(socket.read.held.capacity() < 256 << 10);
        socket.close(Timestamp::from_nanos(0), &mut |_| {});
        assert_eq!(
            socket.read.message.held_bytes() + socket.read.held.capacity(),
            0
        );
    }
}

/// Sessions of the `websockets` package; see `generate.py` beside them.
#[test]
fn sessions_of_another_implementation() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/websocket");
    let octets = |hex: &serde_json::Value| -> Vec<u8> {
        let hex = hex.as_str().unwrap();
        let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(octet).collect()
    };
    let direction = |name: &serde_json::Value| if name == "write" { WRITE } else { READ };
    let mut sessions = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let session: serde_json::Value = serde_json::from_str(&text).unwrap();
        let list = |name: &str| session[name].as_array().unwrap().clone();
        let chunks: Vec<_> = list("chunks")
            .iter()
            .map(|chunk| (direction(&chunk[0]), octets(&chunk[1])))
            .collect();
        let chunks: Vec<_> = chunks
            .iter()
            .map(|(direction, bytes)| (*direction, Segment::Data(&bytes[..])))
            .collect();
        let expected: Vec<Said> = list("messages")
            .iter()
            .map(|said| (direction(&said[0]), octets(&said[2]), Missing::NONE))
            .collect();
        let said = all_said(session["extensions"].as_str(), &chunks);
        assert_eq!(said, expected, "{}", path.display());
        sessions += 1;
    }
    assert_eq!(sessions, 6);
}
