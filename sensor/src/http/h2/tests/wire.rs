//! Frames and connections, written by hand.

use crate::event::{Direction, Missing};
use crate::http::h2::H2;
use crate::http::h2::header::PREFACE;
use crate::http::h2::hpack::encoder::Encoder;
use crate::http::testing::{Dice, Log};
use crate::stream::Segment;
use crate::time::Timestamp;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH: u8 = 5;
pub const GO_AWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITY: u8 = 0x20;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The fields that every request of these tests has.
pub fn post(path: &str) -> Encoder {
    let block = Encoder::default().indexed(3).indexed(7);
    block.inserted(1, "api.example.com").literal_only(4, path)
}

pub fn ok() -> Encoder {
    Encoder::default().indexed(8)
}

/// What happened on a connection, in order.
#[derive(Clone, Debug, Default)]
pub struct Traffic(pub Vec<(Direction, Chunk)>);

#[derive(Clone, Debug, PartialEq)]
pub enum Chunk {
    Bytes(Vec<u8>),
    Hole(Missing),
}

impl Traffic {
    /// Starts with preface and settings of both peers.
    pub fn new() -> Self {
        let mut traffic = Self::default();
        traffic.write(&[&PREFACE[..], &frame(SETTINGS, 0, 0, &[])].concat());
        traffic.read(&frame(SETTINGS, 0, 0, &[]));
        traffic
    }

    pub fn write(&mut self, bytes: &[u8]) -> &mut Self {
        self.0
            .push((Direction::Write, Chunk::Bytes(bytes.to_vec())));
        self
    }

    pub fn read(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.push((Direction::Read, Chunk::Bytes(bytes.to_vec())));
        self
    }

    pub fn hole(&mut self, direction: Direction, lost: u64) -> &mut Self {
        self.0
            .push((direction, Chunk::Hole(Missing { lost, cut: 0 })));
        self
    }

    /// The chunk at `nth`, replaced by a hole of its size.
    pub fn without(&self, nth: usize) -> Self {
        let mut traffic = self.clone();
        if let Chunk::Bytes(bytes) = &traffic.0[nth].1 {
            let lost = bytes.len() as u64;
            traffic.0[nth].1 = Chunk::Hole(Missing { lost, cut: 0 });
        }
        traffic
    }

    /// Feeds it, each chunk with its number as the time.
    pub fn log(&self) -> Log {
        self.feed(&mut H2::new(None), |bytes| vec![bytes])
    }

    /// The same, each chunk cut.
    pub fn log_cut(&self, mut dice: Dice) -> Log {
        self.feed(&mut H2::new(None), move |bytes| dice.cut(bytes))
    }

    pub fn feed<F>(&self, h2: &mut H2, mut cut: F) -> Log
    where
        F: FnMut(&[u8]) -> Vec<&[u8]>,
    {
        let mut log = Log::default();
        for (n, (direction, chunk)) in self.0.iter().enumerate() {
            let at = Timestamp::from_nanos(n as u64);
            let mut feed = |segment| h2.feed(*direction, at, segment, &mut |e| log.add(e));
            match chunk {
                Chunk::Bytes(bytes) => {
                    for piece in cut(bytes) {
                        feed(Segment::Data(piece));
                    }
                }
                Chunk::Hole(missing) => feed(Segment::Gap(*missing)),
            }
        }
        let at = Timestamp::from_nanos(self.0.len() as u64);
        h2.close(at, &mut |e| log.add(e));
        log
    }
}
