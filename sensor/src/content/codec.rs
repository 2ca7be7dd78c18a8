//! The decoders behind the names of content codings, under one interface.
//!
//! In: encoded bytes, cut anywhere. Out: decoded bytes, as many as the input allows
//! (an event is to be seen when it was flushed, not when the next one comes). Must not
//! know: limits, HTTP.

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation, OutBuffer};

use super::coding::Stop;

/// Largest window of zstd in HTTP: 8 MiB (RFC 9659).
pub(super) const ZSTD_WINDOW_LOG: u32 = 23;

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

pub(super) enum Codec {
    /// gzip (RFC 1952), whose members may follow one another; `again`: one did.
    Gzip {
        inflate: Decompress,
        again: bool,
    },
    /// A member of gzip is over; another may follow.
    Between,
    /// `deflate`, which some servers take for zlib (RFC 1950, as the standard says) and
    /// some for bare deflate (RFC 1951): the first two bytes tell.
    Deflate {
        first: Option<u8>,
    },
    Inflate(Decompress),
    Brotli(Box<Brotli>),
    Zstd(Zstd<'static>),
    /// The end of the encoded stream was reached; what follows is passed over.
    Over,
}

/// What a step took and gave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    pub consumed: usize,
    pub produced: usize,
}

impl Step {
    const fn taken(consumed: usize) -> Self {
        Self {
            consumed,
            produced: 0,
        }
    }
}

impl Codec {
    /// The codec of a registered name, given in lower case.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Self::gzip(false)),
            "deflate" => Some(Self::Deflate { first: None }),
            "br" => Some(Self::Brotli(Box::new(Brotli::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            )))),
            "zstd" => Self::zstd(),
            _ => None,
        }
    }

    /// The codec whose magic number `start` is, if any. `None`: more bytes are needed.
    pub fn sniff(start: &[u8]) -> Option<Option<Self>> {
        const GZIP_MAGIC: &[u8] = b"\x1f\x8b\x08";
        const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
        let is = |magic: &[u8]| match start.get(..magic.len()) {
            Some(begin) => Some(begin == magic),
            None if magic.starts_with(start) => None,
            None => Some(false),
        };
        if is(GZIP_MAGIC)? {
            return Some(Some(Self::gzip(false)));
        }
        if is(ZSTD_MAGIC)? {
            return Some(Self::zstd());
        }
        Some(None)
    }

    fn gzip(again: bool) -> Self {
        Self::Gzip {
            inflate: Decompress::new_gzip(15),
            again,
        }
    }

    fn zstd() -> Option<Self> {
        let mut zstd = Zstd::new().ok()?;
        zstd.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
            .ok()?;
        Some(Self::Zstd(zstd))
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Stop> {
        match self {
            Self::Gzip { inflate, again } => match decompress(inflate, input, output) {
                Ok((step, over)) => {
                    if over {
                        *self = Self::Between;
                    }
                    Ok(step)
                }
                // Padding after the last member, no member.
                Err(_) if *again && inflate.total_out() == 0 => {
                    *self = Self::Over;
                    self.step(input, output)
                }
                Err(stop) => Err(stop),
            },
            Self::Between if input.is_empty() => Ok(Step::default()),
            Self::Between => {
                *self = Self::gzip(true);
                self.step(input, output)
            }
            Self::Inflate(inflate) => {
                let (step, over) = decompress(inflate, input, output)?;
                if over {
                    *self = Self::Over;
                }
                Ok(step)
            }
            Self::Deflate { first } => {
                let Some((&byte, _)) = input.split_first() else {
                    return Ok(Step::default());
                };
                let Some(first) = first.replace(byte) else {
                    return Ok(Step::taken(1));
                };
                let mut inflate = Decompress::new(is_zlib(first, byte));
                decompress(&mut inflate, &[first], output)?;
                *self = Self::Inflate(inflate);
                self.step(input, output)
            }
            Self::Brotli(state) => brotli(state, input, output),
            Self::Zstd(decoder) => zstd(decoder, input, output),
            Self::Over => Ok(Step::taken(input.len())),
        }
    }
}

/// Whether these bytes open a zlib stream (RFC 1950, section 2.2).
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}

fn decompress(
    inflate: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
) -> Result<(Step, bool), Stop> {
    let (read, written) = (inflate.total_in(), inflate.total_out());
    let status = inflate
        .decompress(input, output, FlushDecompress::Sync)
        .map_err(|_| Stop::Undecodable)?;
    let size = |now: u64, before: u64| usize::try_from(now.saturating_sub(before)).unwrap_or(0);
    let step = Step {
        consumed: size(inflate.total_in(), read),
        produced: size(inflate.total_out(), written),
    };
    Ok((step, status == Status::StreamEnd))
}

fn brotli(state: &mut Brotli, input: &[u8], output: &mut [u8]) -> Result<Step, Stop> {
    let (mut left, mut consumed) = (input.len(), 0);
    let (mut room, mut produced) = (output.len(), 0);
    let result = BrotliDecompressStream(
        &mut left,
        &mut consumed,
        input,
        &mut room,
        &mut produced,
        output,
        &mut 0,
        state,
    );
    match result {
        BrotliResult::ResultFailure => Err(Stop::Undecodable),
        _ => Ok(Step { consumed, produced }),
    }
}

fn zstd(decoder: &mut Zstd<'_>, input: &[u8], output: &mut [u8]) -> Result<Step, Stop> {
    let mut input = InBuffer::around(input);
    let mut output = OutBuffer::around(output);
    decoder
        .run(&mut input, &mut output)
        .map_err(|_| Stop::Undecodable)?;
    Ok(Step {
        consumed: input.pos(),
        produced: output.pos(),
    })
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip { .. } | Self::Between => "Gzip",
            Self::Deflate { .. } => "Deflate",
            Self::Inflate(_) => "Inflate",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
            Self::Over => "Over",
        })
    }
}
