//! Bodies of the fuzz targets of this room.
//!
//! In: bytes that a fuzzer made up. They are read as a script: which way a chunk goes, how
//! long it is, where a hole is. Out: nothing, or a panic where a law is broken: cuts
//! change nothing, and nothing comes for an exchange that is over.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::h2::H2;
use super::h2::hpack::{Broken, Decoder, Field};
use super::websocket::WebSocket;
use super::{Connection, Detection, ExchangeEvent, ExchangeId, Step};
use crate::event::{Direction, Missing};
use crate::stream::Segment;
use crate::time::Timestamp;

/// HTTP/1, found already: the script goes on behind a first request. What it turns into
/// (a tunnel) is found out from whole segments, so then nothing is compared.
pub fn http1(script: &[u8]) {
    let [whole, cut] = [usize::MAX, 1].map(|most| {
        let mut connection = Connection::new();
        let mut digest = Digest::default();
        let start = Segment::Data(b"GET / HTTP/1.1\r\n\r\n");
        connection.feed(
            Direction::Write,
            Timestamp::default(),
            start,
            &mut |event| digest.add(&event),
        );
        let mut is_http = true;
        run(
            script,
            most,
            &mut digest,
            &mut |direction, at, segment, out| {
                match segment {
                    Some(segment) => connection.feed(direction, at, segment, out),
                    None => return connection.close(at, out),
                }
                is_http &= connection.detection() == Detection::Match;
            },
        );
        is_http.then(|| digest.exchanges())
    });
    if let (Some(whole), Some(cut)) = (whole, cut) {
        assert_eq!(whole, cut, "a cut changed what came out");
    }
}

/// Header blocks of one direction, each behind its length. Who missed some of the first
/// may know less of the fields that follow, and nothing else.
pub fn hpack(script: &[u8]) {
    let Some((&missed, mut rest)) = script.split_first() else {
        return;
    };
    let mut blocks = Vec::new();
    while let Some((&[high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (block, after) = after.split_at_checked(length).unwrap_or((after, &[]));
        blocks.push(block);
        rest = after;
    }
    let (mut witness, mut late) = (Decoder::new(), Decoder::new());
    late.forget();
    for (n, block) in blocks.into_iter().enumerate() {
        let (seen, result) = fields(&mut witness, block);
        if n < usize::from(missed) {
            continue;
        }
        let (known, late_result) = fields(&mut late, block);
        if result.is_err() {
            // After an error of the peers' nobody's table is in step.
            return;
        }
        assert!(late_result.is_ok(), "broken for the late one alone");
        assert_eq!(seen.len(), known.len());
        for (seen, known) in seen.iter().zip(&known) {
            let agree = seen.is_none() || known.is_none() || seen == known;
            assert!(agree, "{known:?} was {seen:?}");
        }
    }
}

/// A name and a value.
type Named = (String, String);

/// What a block decodes to: `None` for a field that is unknown.
fn fields(decoder: &mut Decoder, block: &[u8]) -> (Vec<Option<Named>>, Result<(), Broken>) {
    let mut fields = Vec::new();
    let result = decoder.decode(block, &mut |field| {
        fields.push(match field {
            Field::Known { name, value, .. } => Some((name.to_owned(), value.to_owned())),
            Field::Unknown => None,
        });
    });
    (fields, result)
}

/// HTTP/2, from its start or from amid it.
pub fn http2(script: &[u8]) {
    holds_however_cut(script, |feed| {
        let mut h2 = H2::new(None);
        feed(&mut |direction, at, segment, out| match segment {
            Some(segment) => h2.feed(direction, at, segment, out),
            None => h2.close(at, out),
        });
    });
}

/// WebSocket, with and without compression.
pub fn websocket(script: &[u8]) {
    for extensions in ["none", "permessage-deflate"] {
        holds_however_cut(script, |feed| {
            let mut socket = WebSocket::new(ExchangeId(0), Some(extensions));
            feed(&mut |direction, at, segment, out| match segment {
                Some(segment) => socket.feed(direction, at, segment, out),
                None => socket.close(at, out),
            });
        });
    }
}

/// A connection of which nothing is known. To find out what it speaks takes whole
/// segments, so cuts may change what is found.
pub fn connection(script: &[u8]) {
    let mut connection = Connection::new();
    let mut digest = Digest::default();
    run(
        script,
        usize::MAX,
        &mut digest,
        &mut |direction, at, segment, out| match segment {
            Some(segment) => connection.feed(direction, at, segment, out),
            None => connection.close(at, out),
        },
    );
}

type Out<'o> = &'o mut dyn FnMut(ExchangeEvent<'_>);
/// Takes a segment, or `None` for the close.
type Dissector<'d> = &'d mut dyn FnMut(Direction, Timestamp, Option<Segment<'_>>, Out<'_>);

fn holds_however_cut(script: &[u8], with: impl Fn(&mut dyn FnMut(Dissector<'_>))) {
    let [whole, cut] = [usize::MAX, 1].map(|most| {
        let mut digest = Digest::default();
        with(&mut |dissector| run(script, most, &mut digest, dissector));
        digest.exchanges()
    });
    assert_eq!(whole, cut, "a cut changed what came out");
}

/// Runs a script, chunks cut into pieces of `most` bytes.
fn run(mut script: &[u8], most: usize, digest: &mut Digest, dissector: Dissector<'_>) {
    let mut nanos = 0_u64;
    while let Some((&[order, size], rest)) = script.split_first_chunk() {
        nanos = nanos.saturating_add(1);
        let at = Timestamp::from_nanos(nanos);
        let direction = match order & 1 {
            0 => Direction::Write,
            _ => Direction::Read,
        };
        // Sizes up to 255, or up to sixteen times that.
        let scale = if order & 2 == 0 { 1 } else { 16 };
        let size = usize::from(size).saturating_mul(scale);
        let mut out = |event: ExchangeEvent<'_>| digest.add(&event);
        if order & 0x1c == 0x1c {
            let missing = Missing {
                lost: size as u64,
                cut: u64::from(order >> 5),
            };
            dissector(direction, at, Some(Segment::Gap(missing)), &mut out);
            script = rest;
            continue;
        }
        let (chunk, rest) = rest.split_at_checked(size).unwrap_or((rest, &[]));
        for piece in chunk.chunks(most) {
            dissector(direction, at, Some(Segment::Data(piece)), &mut out);
        }
        script = rest;
    }
    let at = Timestamp::from_nanos(nanos);
    dissector(Direction::Write, at, None, &mut |event| digest.add(&event));
}

/// What came out, body pieces taken byte by byte.
#[derive(Default)]
struct Digest(BTreeMap<u64, Exchange>);

#[derive(Default)]
struct Exchange {
    over: bool,
    hash: DefaultHasher,
}

impl Digest {
    /// Of each exchange, in order: whether it is over, and a hash of all its steps.
    fn exchanges(self) -> Vec<(bool, u64)> {
        let exchanges = self.0.into_values();
        exchanges.map(|e| (e.over, e.hash.finish())).collect()
    }

    fn add(&mut self, event: &ExchangeEvent<'_>) {
        let exchange = self.0.entry(event.exchange.0).or_default();
        assert!(!exchange.over, "{:?} after the end", event.step);
        match &event.step {
            Step::RequestBody(Segment::Data(bytes)) => exchange.bytes(b'q', event.at, bytes),
            Step::ResponseBody(Segment::Data(bytes)) => exchange.bytes(b'r', event.at, bytes),
            // How much of it came out before its compression broke is up to the decoder.
            Step::WebSocket { missing, .. } if !missing.is_none() => {}
            step => (event.at, format!("{step:?}")).hash(&mut exchange.hash),
        }
        exchange.over = matches!(event.step, Step::Over);
    }
}

impl Exchange {
    fn bytes(&mut self, tag: u8, at: Timestamp, bytes: &[u8]) {
        for byte in bytes {
            (tag, at, byte).hash(&mut self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::Dice;

    /// Seeds and what chance makes of them, and of what it made.
    fn scripts(seeds: &[&[u8]]) -> impl Iterator<Item = Vec<u8>> {
        let mut scripts: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
        let mut dice = Dice(5);
        for _ in 0..2000 {
            let mut script = scripts[dice.below(scripts.len())].clone();
            for _ in 0..1 + dice.below(4) {
                let at = dice.below(script.len());
                match dice.below(3) {
                    0 => script[at] = dice.below(256) as u8,
                    1 => script.insert(at, [0, 1, 4, 9, 0x1c, 0xff][dice.below(6)]),
                    _ => script.truncate(1 + script.len() - dice.below(3).min(script.len())),
                }
            }
            scripts.push(script);
        }
        scripts.into_iter()
    }

    const HTTP2: &[u8] = b"\x00\x18PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x22\
        \0\0\x08\x01\x04\0\0\0\x01\x83\x87\x41\x01h\x04\x01/\
        \0\0\x08\0\x01\0\0\0\x01{\"a\":1}\n\x01\x24\
        \0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x03\0\0\0\0\0\x01abc\0\0\x05\0\x09\0\0\0\x01\x01abc\0";

    const WEBSOCKET: &[u8] = b"\x00\x0b\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\
        \x01\x10\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x81\x05{\"a\"}\x1d\x03\x01\x04\x81\x02{}";

    #[test]
    fn seeds_are_sound() {
        let exchanges = |script| {
            let mut digest = Digest::default();
            let mut h2 = H2::new(None);
            run(
                script,
                usize::MAX,
                &mut digest,
                &mut |direction, at, segment, out| {
                    if let Some(segment) = segment {
                        h2.feed(direction, at, segment, out);
                    }
                },
            );
            digest.0.into_values().map(|e| e.over).collect::<Vec<_>>()
        };
        assert_eq!(exchanges(HTTP2), [true]);
    }

    #[test]
    fn scripts_of_chance() {
        for script in scripts(&[HTTP2, &HTTP2[26..]]) {
            http2(&script);
            connection(&script);
        }
        for script in scripts(&[WEBSOCKET]) {
            websocket(&script);
        }
    }
}
