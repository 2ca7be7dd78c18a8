//! Messages of gRPC and gRPC-Web, each with its length before it.
//!
//! In: bytes, cut anywhere, and holes. Out: one unit a message; a frame of trailers
//! (gRPC-Web) is named `trailers`. Must not know: what a message says.
//!
//! A compressed message says by its first bytes how it was compressed, so that the
//! `grpc-encoding` of a head that was not seen is not missed.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use super::{Body, Limits, Units};
use crate::event::Missing;

/// A flag octet and a length of four.
const PREFIX: usize = 5;

const COMPRESSED: u8 = 0x01;
const TRAILERS: u8 = 0x80;

#[derive(Debug)]
pub(super) struct Grpc {
    limit: usize,
    /// The start of a message, prefix included, whose end has not come.
    held: Vec<u8>,
    /// So many bytes are passed over, as their message is too long or has a hole.
    skip: u64,
    /// Prefixes can't be told any more.
    lost: bool,
}

impl Grpc {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Vec::new(),
            skip: 0,
            lost: false,
        }
    }

    pub fn feed(&mut self, bytes: &[u8], units: &mut Units<'_>) {
        if self.held.is_empty() {
            let rest = self.messages(bytes, units);
            self.held.extend_from_slice(rest);
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let rest = self.messages(&held, units).len();
        held.drain(..held.len().saturating_sub(rest));
        self.held = held;
    }

    /// A hole within a message costs that message, one beyond costs the stream: nothing
    /// tells where the next message begins.
    pub fn gap(&mut self, missing: Missing) {
        let left = match self.held.split_first_chunk() {
            Some((prefix, rest)) => length(prefix).saturating_sub(rest.len() as u64),
            None => self.skip,
        };
        self.lost |= missing.total() > left || !self.held.is_empty() && left == 0;
        self.skip = left.saturating_sub(missing.total());
        self.held = Vec::new();
    }

    /// A message whose end did not come is none.
    pub fn finish(&mut self, units: &mut Units<'_>) {
        if !self.held.is_empty() {
            units.faults.malformed = units.faults.malformed.saturating_add(1);
        }
        self.held = Vec::new();
    }

    /// Gives the messages that are whole; what is left of the input is the start of one.
    fn messages<'a>(&mut self, mut bytes: &'a [u8], units: &mut Units<'_>) -> &'a [u8] {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX);
            let skipped = skipped.min(bytes.len());
            self.skip = self.skip.saturating_sub(skipped as u64);
            bytes = bytes.get(skipped..).unwrap_or_default();
            if self.lost || self.skip > 0 {
                return &[];
            }
            let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
                return bytes;
            };
            let [flags, ..] = *prefix;
            if flags & !(COMPRESSED | TRAILERS) != 0 {
                units.faults.malformed = units.faults.malformed.saturating_add(1);
                self.lost = true;
                return &[];
            }
            let length = length(prefix);
            if length > self.limit as u64 {
                units.faults.oversized = units.faults.oversized.saturating_add(1);
                self.skip = length;
                bytes = rest;
                continue;
            }
            let message = usize::try_from(length).ok();
            let Some((message, rest)) = message.and_then(|length| rest.split_at_checked(length))
            else {
                return bytes;
            };
            self.give(flags, message, units);
            bytes = rest;
        }
    }

    fn give(&self, flags: u8, message: &[u8], units: &mut Units<'_>) {
        let name = (flags & TRAILERS != 0).then_some("trailers");
        if flags & COMPRESSED == 0 {
            units.event(name, message);
            return;
        }
        match decompressed(message, self.limit) {
            Some(plain) if plain.len() > self.limit => {
                units.faults.inflated = units.faults.inflated.saturating_add(1);
            }
            Some(plain) => units.event(name, &plain),
            None => units.faults.undecodable = units.faults.undecodable.saturating_add(1),
        }
    }
}

impl<'a> Body<'a> {
    /// The first message of a gRPC content that was gathered; of one that is cut, its
    /// beginning.
    pub fn grpc_message(&self) -> Cow<'a, [u8]> {
        let Some((prefix, rest)) = self.head.split_first_chunk::<PREFIX>() else {
            return Cow::default();
        };
        let whole = usize::try_from(length(prefix)).unwrap_or(usize::MAX);
        let message = rest.get(..whole).unwrap_or(rest);
        let [flags, ..] = *prefix;
        match flags {
            0 => Cow::Borrowed(message),
            COMPRESSED => {
                let mut plain = Vec::new();
                // What was decompressed before the cut is sound.
                let _ = decompress(message, Limits::default().message as u64, &mut plain);
                Cow::Owned(plain)
            }
            _ => Cow::default(),
        }
    }
}

fn length(prefix: &[u8; PREFIX]) -> u64 {
    let [_, a, b, c, d] = *prefix;
    u32::from_be_bytes([a, b, c, d]).into()
}

/// One octet more than `limit` where the message is longer; `None` where it is broken.
fn decompressed(message: &[u8], limit: usize) -> Option<Vec<u8>> {
    let most = (limit as u64).saturating_add(1);
    let mut plain = Vec::new();
    decompress(message, most, &mut plain).ok()?;
    Some(plain)
}

/// Adds at most `most` octets to `plain`; an error leaves those before it there.
fn decompress(message: &[u8], most: u64, plain: &mut Vec<u8>) -> std::io::Result<usize> {
    match message {
        [0x1f, 0x8b, ..] => MultiGzDecoder::new(message).take(most).read_to_end(plain),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::Decoder::with_buffer(message)?;
            decoder.take(most).read_to_end(plain)
        }
        // The content of an empty message.
        [] => Ok(0),
        _ => ZlibDecoder::new(message).take(most).read_to_end(plain),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::content::{Content, Limits};
    use crate::stream::Segment;
    use crate::time::Timestamp;

    fn message(flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut message = vec![flags];
        message.extend((payload.len() as u32).to_be_bytes());
        message.extend(payload);
        message
    }

    fn gzip(payload: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(payload).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(payload: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(payload).unwrap();
        encoder.finish().unwrap()
    }

    struct Fed {
        messages: Vec<(Option<String>, Vec<u8>)>,
        content: Content,
    }

    fn feed(limits: Limits, segments: &[Segment<'_>]) -> Fed {
        let mut content = Content::stream(Some("application/grpc+proto"), None, limits);
        let mut messages = Vec::new();
        let at = Timestamp::from_nanos(0);
        let mut out = |m: crate::content::Message<'_>| {
            messages.push((m.name.map(Into::into), m.data.to_vec()));
        };
        for segment in segments {
            content.feed(at, *segment, &mut out);
        }
        content.finish(at, true, &mut out);
        Fed { messages, content }
    }

    fn texts(fed: &Fed) -> Vec<&[u8]> {
        fed.messages.iter().map(|(_, data)| &data[..]).collect()
    }

    #[test]
    fn messages_however_cut() {
        let bytes = [
            message(0, b"one"),
            message(0, b""),
            message(1, &gzip(b"two two two two")),
            message(1, &zlib(b"three")),
            message(1, &zstd::encode_all(&b"four"[..], 0).unwrap()),
            message(0x80, b"grpc-status: 0\r\n"),
        ]
        .concat();
        let expected: [&[u8]; 6] = [
            b"one",
            b"",
            b"two two two two",
            b"three",
            b"four",
            b"grpc-status: 0\r\n",
        ];
        for size in [bytes.len(), 1, 2, 3, 7] {
            let segments: Vec<_> = bytes.chunks(size).map(Segment::Data).collect();
            let fed = feed(Limits::default(), &segments);
            assert_eq!(texts(&fed), expected, "in pieces of {size}");
            assert_eq!(fed.messages[5].0.as_deref(), Some("trailers"));
        }
    }

    #[test]
    fn a_hole_within_a_message_costs_that_message() {
        let (a, b) = (message(0, b"0123456789"), message(0, b"next"));
        let hole = |lost| Segment::Gap(Missing { lost, cut: 0 });
        for held in 5..14 {
            let left = a.len() - held;
            for lost in 1..=left {
                let segments = [
                    Segment::Data(&a[..held]),
                    hole(lost as u64),
                    Segment::Data(&a[held + lost..]),
                    Segment::Data(&b),
                ];
                assert_eq!(texts(&feed(Limits::default(), &segments)), [b"next"]);
            }
            let beyond = [
                Segment::Data(&a[..held]),
                hole(left as u64 + 1),
                Segment::Data(&b[1..]),
            ];
            assert!(feed(Limits::default(), &beyond).messages.is_empty());
        }
        let between = [Segment::Data(&b), hole(1), Segment::Data(&a)];
        assert_eq!(texts(&feed(Limits::default(), &between)), [b"next"]);
    }

    #[test]
    fn messages_have_a_limit() {
        let limits = Limits {
            message: 1000,
            ..Limits::default()
        };
        let bytes = [
            message(0, &[b'x'; 1001]),
            message(1, &gzip(&[0; 1001])),
            message(1, b"\x1f\x8bbroken"),
            message(0, &[b'y'; 1000]),
            vec![0, 0xff, 0xff, 0xff, 0xff],
            vec![0; 100_000],
        ]
        .concat();
        for size in [bytes.len(), 100] {
            let segments: Vec<_> = bytes.chunks(size).map(Segment::Data).collect();
            let fed = feed(limits, &segments);
            assert_eq!(texts(&fed), [[b'y'; 1000]]);
            let faults = fed.content.faults();
            assert_eq!(
                (faults.oversized, faults.inflated, faults.undecodable),
                (2, 1, 1)
            );
        }
    }

    #[test]
    fn what_is_no_prefix_ends_it() {
        let bytes = [message(0, b"one"), message(0x42, b"?"), message(0, b"two")].concat();
        let fed = feed(Limits::default(), &[Segment::Data(&bytes)]);
        assert_eq!(texts(&fed), [b"one"]);
        assert_eq!(fed.content.faults().malformed, 1);
    }
}
