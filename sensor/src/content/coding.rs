//! Content codings undone as the bytes come (RFC 9110, section 8.4.1).
//!
//! In: segments as they crossed the wire. Out: decoded segments, at once and as far as
//! the bytes go. Must not know: what they mean.
//!
//! Nothing here can be made to use more memory than its windows, nor to give more bytes
//! than [`Limits`] allow.

use super::codec::Codec;
use super::{Faults, Limits};
use crate::event::Missing;
use crate::stream::Segment;

/// What one step of decoding writes to.
const BUFFER: usize = 16 << 10;
/// More codings than this, one over the other, are no honest content.
const MOST_CODINGS: usize = 4;
/// From so many decoded bytes on, growth is looked at, …
const GROWTH_FREE: u64 = 16 << 20;
/// … and must stay below so many decoded bytes a byte.
const GROWTH: u64 = 256;

#[derive(Debug)]
pub(super) struct Decoder {
    /// In the order they were applied; the last is undone first.
    stages: Vec<Stage>,
    /// First bytes of a content whose coding nobody named: the field may have been
    /// unreadable, and some codings show in their first bytes.
    sniffed: Option<Vec<u8>>,
    stopped: Option<Stop>,
    budget: Budget,
}

#[derive(Debug)]
struct Stage {
    codec: Codec,
    buffer: Box<[u8]>,
}

/// Why nothing more is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Unknown or broken, or a hole came.
    Undecodable,
    Inflated,
}

/// What decoding may give.
#[derive(Debug)]
struct Budget {
    wire: u64,
    decoded: u64,
    limit: u64,
}

impl Decoder {
    /// `codings`: a list as in `Content-Encoding`.
    pub fn new(codings: Option<&str>, limits: Limits, faults: &mut Faults) -> Self {
        let mut decoder = Self {
            stages: Vec::new(),
            sniffed: None,
            stopped: None,
            budget: Budget {
                wire: 0,
                decoded: 0,
                limit: limits.decoded,
            },
        };
        let names = codings.unwrap_or_default().split(',').map(str::trim_ascii);
        for name in names.filter(|name| !name.is_empty()) {
            match Codec::named(&name.to_ascii_lowercase()) {
                Some(codec) if decoder.stages.len() < MOST_CODINGS => decoder.add(codec),
                _ if name.eq_ignore_ascii_case("identity") => {}
                _ => decoder.stop(Stop::Undecodable, faults),
            }
        }
        if decoder.stages.is_empty() {
            decoder.sniffed = Some(Vec::new());
        }
        decoder
    }

    /// Whether nobody named a coding.
    pub fn is_identity(&self) -> bool {
        self.stages.is_empty()
    }

    /// Decodes a segment; what cannot be decoded comes out as a hole.
    pub fn decode(
        &mut self,
        segment: Segment<'_>,
        faults: &mut Faults,
        out: &mut dyn FnMut(Segment<'_>),
    ) {
        let bytes = match segment {
            Segment::Data(bytes) => bytes,
            Segment::Gap(missing) => return self.gap(missing, out),
        };
        self.budget.wire = self.budget.wire.saturating_add(bytes.len() as u64);
        let Some(mut held) = self.sniffed.take() else {
            return self.run(bytes, faults, out);
        };
        if !held.is_empty() {
            held.extend_from_slice(bytes);
        }
        let start = if held.is_empty() { bytes } else { &held };
        match Codec::sniff(start) {
            Some(codec) => {
                codec.into_iter().for_each(|codec| self.add(codec));
                self.run(start, faults, out);
            }
            None => self.sniffed = Some(start.to_vec()),
        }
    }

    /// The content is over: gives what is still held.
    pub fn finish(&mut self, out: &mut dyn FnMut(Segment<'_>)) {
        if let Some(held) = self.sniffed.take() {
            out(Segment::Data(&held));
        }
    }

    fn add(&mut self, codec: Codec) {
        self.stages.push(Stage {
            codec,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        });
    }

    fn gap(&mut self, missing: Missing, out: &mut dyn FnMut(Segment<'_>)) {
        self.finish(out);
        if !self.stages.is_empty() {
            // Every coding refers back: without these bytes the rest means nothing.
            self.stopped.get_or_insert(Stop::Undecodable);
            self.stages = Vec::new();
        }
        out(Segment::Gap(missing));
    }

    fn run(&mut self, bytes: &[u8], faults: &mut Faults, out: &mut dyn FnMut(Segment<'_>)) {
        if self.stopped.is_none() {
            if self.stages.is_empty() {
                return out(Segment::Data(bytes));
            }
            match push(&mut self.stages, bytes, &mut self.budget, out) {
                Ok(()) => return,
                Err(stop) => self.stop(stop, faults),
            }
        }
        let bytes = bytes.len() as u64;
        out(Segment::Gap(match self.stopped {
            Some(Stop::Inflated) => Missing {
                lost: 0,
                cut: bytes,
            },
            _ => Missing {
                lost: bytes,
                cut: 0,
            },
        }));
    }

    fn stop(&mut self, stop: Stop, faults: &mut Faults) {
        let counter = match stop {
            Stop::Undecodable => &mut faults.undecodable,
            Stop::Inflated => &mut faults.inflated,
        };
        *counter = counter.saturating_add(1);
        self.stopped = Some(stop);
        self.stages = Vec::new();
    }
}

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        self.decoded = self.decoded.saturating_add(bytes as u64);
        let growth = GROWTH_FREE.max(self.wire.saturating_mul(GROWTH));
        match self.decoded > self.limit.min(growth) {
            true => Err(Stop::Inflated),
            false => Ok(()),
        }
    }
}

/// Sends bytes through the stages, the last one first.
fn push(
    stages: &mut [Stage],
    mut bytes: &[u8],
    budget: &mut Budget,
    out: &mut dyn FnMut(Segment<'_>),
) -> Result<(), Stop> {
    let Some((last, others)) = stages.split_last_mut() else {
        out(Segment::Data(bytes));
        return Ok(());
    };
    loop {
        let step = last.codec.step(bytes, &mut last.buffer)?;
        bytes = bytes.get(step.consumed..).unwrap_or_default();
        let decoded = last.buffer.get(..step.produced).unwrap_or_default();
        if !decoded.is_empty() {
            budget.spend(decoded.len())?;
            push(others, decoded, budget, out)?;
        }
        let stuck = step.consumed == 0 && step.produced == 0;
        if stuck || (bytes.is_empty() && step.produced < last.buffer.len()) {
            return Ok(());
        }
    }
}
