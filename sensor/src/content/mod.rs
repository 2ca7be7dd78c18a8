//! Content of a message: coding undone, cut into the units its type defines.
//!
//! In: body segments, content type, content coding. Out: [`Message`]s or a
//! [`Body`]. Must not know: HTTP version, provider.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        reason = "a test that fails by panicking is a test that fails"
    )
)]

mod codec;
mod coding;
mod event_stream;
mod framer;
#[doc(hidden)]
pub mod fuzz;
mod grpc;
mod json_array;
mod ndjson;
mod pieces;
mod sse;
#[cfg(test)]
mod tests;
mod whole;

use coding::Decoder;
use framer::Framer;
pub use framer::Kind;
use whole::Whole;

use crate::event::Missing;
use crate::stream::Segment;
use crate::time::Timestamp;

/// One unit of a streamed body: an SSE event, an AWS event-stream message, a line of
/// NDJSON, an element of a JSON array; or the whole of a body that is one document.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// When the last byte of it crossed.
    pub at: Timestamp,
    pub kind: MessageKind,
    /// SSE `event`, or AWS `:event-type` / `:exception-type`.
    pub name: Option<&'a str>,
    pub data: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A unit of a stream.
    Event,
    /// An AWS event-stream message of type `exception` or `error`.
    Exception,
    /// A body that is not a stream; may come with holes, see [`Body`].
    Whole,
}

/// A body that was gathered whole, up to a limit: its head and, where something was
/// left out or lost, what came after the first hole.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    pub head: &'a [u8],
    /// Empty where nothing is missing.
    pub tail: &'a [u8],
    /// What lies between head and tail (before decoding: bytes on the wire for a
    /// loss, decoded bytes for a cut).
    pub missing: Missing,
}

/// How much of one content is kept and decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes kept of a content that is gathered whole, head and tail together.
    pub whole: usize,
    /// How many of these are the tail, once something was cut.
    pub tail: usize,
    /// The longest unit of a stream; longer ones are skipped and counted.
    pub message: usize,
    /// Bytes that decoding may give; what is beyond counts as cut.
    pub decoded: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            whole: 16 << 20,
            tail: 64 << 10,
            message: 16 << 20,
            decoded: 256 << 20,
        }
    }
}

/// What went wrong in a content; adds up over contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Contents whose coding is unknown or broken.
    pub undecodable: u64,
    /// Contents that gave more than [`Limits::decoded`], or grew suspiciously.
    pub inflated: u64,
    /// Units longer than [`Limits::message`].
    pub oversized: u64,
    /// Units whose checksum or framing is wrong.
    pub malformed: u64,
}

impl Faults {
    pub fn add(&mut self, other: Self) {
        let Self {
            undecodable,
            inflated,
            oversized,
            malformed,
        } = other;
        self.undecodable = self.undecodable.saturating_add(undecodable);
        self.inflated = self.inflated.saturating_add(inflated);
        self.oversized = self.oversized.saturating_add(oversized);
        self.malformed = self.malformed.saturating_add(malformed);
    }
}

/// The content of one message: decoded, and framed or gathered.
#[derive(Debug)]
pub struct Content {
    decoder: Decoder,
    framer: Framer,
    missing: Missing,
    faults: Faults,
}

impl Content {
    /// Gathers the content whole, as for a request. `coding`: see
    /// [`Fields::coding`](crate::http::Fields::coding).
    pub fn whole(coding: Option<&str>, limits: Limits) -> Self {
        Self::new(coding, Framer::Whole(Whole::new(limits)), limits)
    }

    /// Cuts the content into the units of its type, or gathers it whole where that has
    /// none. Types lie: the first bytes have their say.
    pub fn stream(content_type: Option<&str>, coding: Option<&str>, limits: Limits) -> Self {
        Self::new(coding, Framer::undecided(content_type, limits), limits)
    }

    /// So many bytes are announced, as by `Content-Length`. What is coded says nothing
    /// about how many it will be.
    pub fn expecting(mut self, bytes: Option<usize>) -> Self {
        if let Some(bytes) = bytes.filter(|_| self.decoder.is_identity()) {
            self.framer.expect(bytes);
        }
        self
    }

    fn new(coding: Option<&str>, framer: Framer, limits: Limits) -> Self {
        let mut faults = Faults::default();
        Self {
            decoder: Decoder::new(coding, limits, &mut faults),
            framer,
            missing: Missing::NONE,
            faults,
        }
    }

    /// Takes the next piece of the body; units that it completes go to `out`.
    pub fn feed(&mut self, at: Timestamp, segment: Segment<'_>, out: &mut dyn FnMut(Message<'_>)) {
        self.with_decoder(at, out, |decoder, faults, out| {
            decoder.decode(segment, faults, out);
        });
    }

    /// The body is over; `complete`: its framing says that it is whole. Gives the last
    /// unit where that needs no terminator. A gathered content stays where it is, for
    /// [`body`](Self::body).
    pub fn finish(&mut self, at: Timestamp, complete: bool, out: &mut dyn FnMut(Message<'_>)) {
        self.with_decoder(at, out, |decoder, _, out| decoder.finish(out));
        let faults = &mut self.faults;
        self.framer.finish(complete, &mut Units { at, out, faults });
    }

    /// Lets the decoder work, and the framer take what it gives.
    fn with_decoder(
        &mut self,
        at: Timestamp,
        out: &mut dyn FnMut(Message<'_>),
        work: impl FnOnce(&mut Decoder, &mut Faults, &mut dyn FnMut(Segment<'_>)),
    ) {
        let Self {
            decoder,
            framer,
            missing,
            faults,
        } = self;
        let mut stops = Faults::default();
        work(decoder, &mut stops, &mut |segment| {
            let mut units = Units { at, out, faults };
            match segment {
                Segment::Data(bytes) => framer.feed(bytes, &mut units),
                Segment::Gap(hole) => {
                    *missing = missing.and(hole);
                    framer.gap(hole, &mut units);
                }
            }
        });
        faults.add(stops);
    }

    /// What was gathered; `None` where the content is a stream of units.
    pub fn body(&self) -> Option<Body<'_>> {
        match &self.framer {
            Framer::Whole(whole) => Some(whole.body()),
            _ => None,
        }
    }

    /// How it is cut; `None`: the first bytes did not tell yet.
    pub fn kind(&self) -> Option<Kind> {
        self.framer.kind()
    }

    /// Bytes of this content that are missing: those lost on the wire, and those cut
    /// because a limit was reached.
    pub fn missing(&self) -> Missing {
        match &self.framer {
            Framer::Whole(whole) => whole.body().missing,
            _ => self.missing,
        }
    }

    /// Bytes held of it: what was gathered, or the start of a unit. Windows of decoders are
    /// not counted.
    pub fn held_bytes(&self) -> usize {
        self.framer.held_bytes()
    }

    pub fn faults(&self) -> Faults {
        self.faults
    }
}

/// Where framers put what they find.
struct Units<'a> {
    at: Timestamp,
    out: &'a mut dyn FnMut(Message<'_>),
    faults: &'a mut Faults,
}

impl Units<'_> {
    fn event(&mut self, name: Option<&str>, data: &[u8]) {
        self.unit(MessageKind::Event, name, data);
    }

    fn unit(&mut self, kind: MessageKind, name: Option<&str>, data: &[u8]) {
        (self.out)(Message {
            at: self.at,
            kind,
            name,
            data,
        });
    }
}
