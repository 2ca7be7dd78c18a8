//! Bodies of replies: whole or in pieces, coded or not.

use std::convert::Infallible;
use std::io::{self, Write};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Brotli,
}

impl Coding {
    pub fn named(name: &str) -> Self {
        match name {
            "gzip" => Self::Gzip,
            "br" => Self::Brotli,
            _ => Self::Identity,
        }
    }

    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }

    /// Codes pieces so that each can be read when it has come.
    pub fn code(self, pieces: Vec<Bytes>) -> io::Result<Vec<Bytes>> {
        match self {
            Self::Identity => Ok(pieces),
            Self::Gzip => flush_each(
                pieces,
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()),
                flate2::write::GzEncoder::get_mut,
                |coder| coder.finish(),
            ),
            Self::Brotli => flush_each(
                pieces,
                brotli::CompressorWriter::new(Vec::new(), 4096, 4, 20),
                brotli::CompressorWriter::get_mut,
                |coder| Ok(coder.into_inner()),
            ),
        }
    }
}

fn flush_each<W: Write>(
    pieces: Vec<Bytes>,
    mut coder: W,
    written: impl Fn(&mut W) -> &mut Vec<u8>,
    finish: impl FnOnce(W) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<Bytes>> {
    let mut coded = Vec::with_capacity(pieces.len() + 1);
    for piece in pieces {
        coder.write_all(&piece)?;
        coder.flush()?;
        coded.push(mem::take(written(&mut coder)).into());
    }
    coded.push(finish(coder)?.into());
    Ok(coded)
}

/// A body on its way out.
pub struct ReplyBody {
    data: Data,
    trailers: Option<HeaderMap>,
}

enum Data {
    /// Sent with its length.
    Whole(Option<Bytes>),
    /// Sent as pieces come.
    Pieces(mpsc::Receiver<Bytes>),
}

impl ReplyBody {
    pub fn whole(pieces: &[Bytes]) -> Self {
        Self {
            data: Data::Whole(Some(pieces.concat().into())),
            trailers: None,
        }
    }

    /// The same, with fields after it.
    pub fn with_trailers(self, trailers: HeaderMap) -> Self {
        Self {
            trailers: Some(trailers),
            ..self
        }
    }

    /// Sends piece after piece with a pause between them, for as long as somebody reads.
    pub fn paced(pieces: Vec<Bytes>, pause: Duration) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for piece in pieces {
                if sender.send(piece).await.is_err() {
                    return;
                }
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        });
        Self {
            data: Data::Pieces(receiver),
            trailers: None,
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.data {
            Data::Whole(bytes) => Poll::Ready(bytes.take()),
            Data::Pieces(receiver) => receiver.poll_recv(context),
        };
        piece.map(|piece| {
            let data = piece.map(Frame::data);
            let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
            frame.map(Ok)
        })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.data {
            Data::Whole(bytes) if self.trailers.is_none() => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn coded_pieces_give_back_what_went_in() {
        let pieces: Vec<Bytes> = ["data: a\n\n", "data: bc\n\n"].map(Bytes::from).to_vec();
        let plain = pieces.concat();

        let gzip = Coding::Gzip.code(pieces.clone()).unwrap().concat();
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..])
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(text, plain);

        let brotli = Coding::Brotli.code(pieces).unwrap().concat();
        let mut text = Vec::new();
        brotli::Decompressor::new(&brotli[..], 4096)
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(text, plain);
    }
}
