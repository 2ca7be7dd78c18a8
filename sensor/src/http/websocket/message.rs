//! Messages put together from frames, and decompressed (RFC 7692).
//!
//! In: payloads of frames, and holes. Out: messages. Must not know: where frames begin.

use flate2::{Decompress, FlushDecompress, Status};

use super::frame::Header;
use crate::event::Missing;

/// Octets of a message that are kept, after decompression.
pub const LONGEST: usize = 16 << 20;

/// What a buffer may keep for the next message.
pub const SPARE: usize = 16 << 10;

/// What the sender leaves out at the end of a compressed message (RFC 7692, 7.2.1).
pub const FLUSH_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Takes a message: whether it is binary, its content, what is missing.
pub type Emit<'o> = &'o mut dyn FnMut(bool, &[u8], Missing);

/// What the handshake agreed on.
#[derive(Clone, Copy, Debug)]
pub struct Compression {
    /// The first reserved bit marks a message compressed by `permessage-deflate`.
    deflate: bool,
    client_takes_over: bool,
    server_takes_over: bool,
}

impl Compression {
    /// Parses the response's `Sec-WebSocket-Extensions`. Where it is unknown (`None`), a
    /// compressed message tells by itself.
    pub fn agreed(extensions: Option<&str>) -> Self {
        let mut agreed = Self {
            deflate: extensions.is_none_or(|list| list.trim_ascii().is_empty()),
            client_takes_over: true,
            server_takes_over: true,
        };
        for extension in extensions.unwrap_or("").split(',') {
            let mut parameters = extension.split(';').map(str::trim_ascii);
            if parameters.next() != Some("permessage-deflate") {
                continue;
            }
            agreed.deflate = true;
            for parameter in parameters {
                match parameter {
                    "client_no_context_takeover" => agreed.client_takes_over = false,
                    "server_no_context_takeover" => agreed.server_takes_over = false,
                    _ => {}
                }
            }
        }
        agreed
    }
}

/// The message that is being gathered, in one direction.
#[derive(Debug)]
pub struct Assembly {
    compression: Compression,
    message: Option<Message>,
    /// Kept between messages for its room alone.
    buffer: Vec<u8>,
    inflate: Option<Box<Decompress>>,
}

/// What is known of a message but its content.
#[derive(Clone, Copy, Debug)]
struct Message {
    binary: bool,
    compressed: bool,
    /// Octets of its payload that came, as sent.
    seen: u64,
    missing: Missing,
    gathers: Gathers,
}

/// What is done with the octets of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathers {
    /// They are added to it.
    All,
    /// They are left out: it has a hole before them, or it is too long.
    NoMore,
    /// They are lost: they can't be decompressed.
    Undecodable,
}

impl Message {
    const fn new(binary: bool, compressed: bool) -> Self {
        Self {
            binary,
            compressed,
            seen: 0,
            missing: Missing::NONE,
            gathers: Gathers::All,
        }
    }

    /// Counts octets that are not added.
    const fn leave_out(&mut self, octets: u64) {
        let Missing { lost, cut } = &mut self.missing;
        match self.gathers {
            Gathers::All => {}
            Gathers::NoMore => *cut = cut.saturating_add(octets),
            Gathers::Undecodable => *lost = lost.saturating_add(octets),
        }
    }

    /// Gives up on a compressed message. What is missing of it is not known; its length
    /// as sent stands for that.
    const fn give_up(&mut self, gathers: Gathers) {
        self.gathers = gathers;
        self.leave_out(self.seen);
    }
}

impl Assembly {
    pub const fn new(compression: Compression) -> Self {
        Self {
            compression,
            message: None,
            buffer: Vec::new(),
            inflate: None,
        }
    }

    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// Whether a message was begun and is not over.
    pub const fn is_open(&self) -> bool {
        self.message.is_some()
    }

    /// A message begins with this frame.
    pub const fn begin(&mut self, frame: &Header) {
        self.message = Some(Message::new(frame.is_binary(), frame.compressed));
    }

    /// Gives a message that is one payload, as it is.
    pub fn give_whole(&mut self, payload: &[u8], emit: Emit<'_>) {
        if let Some(message) = self.message.take() {
            emit(message.binary, payload, Missing::NONE);
        }
    }

    /// Adds payload, still masked; `passed` octets of its frame went before.
    pub fn add(&mut self, frame: &Header, passed: u64, octets: &[u8]) {
        let Some(message) = &mut self.message else {
            return;
        };
        let count = octets.len() as u64;
        message.seen = message.seen.saturating_add(count);
        if message.gathers != Gathers::All {
            message.leave_out(count);
        } else if message.compressed && !self.compression.deflate {
            message.give_up(Gathers::Undecodable);
        } else if message.compressed {
            let mut plain = octets.to_vec();
            frame.unmask(&mut plain, passed);
            self.inflate(&plain);
        } else {
            let start = self.buffer.len();
            let room = LONGEST.saturating_sub(start).min(octets.len());
            self.buffer
                .extend_from_slice(octets.get(..room).unwrap_or(&[]));
            let added = self.buffer.get_mut(start..).unwrap_or(&mut []);
            frame.unmask(added, passed);
            if room < octets.len() {
                message.gathers = Gathers::NoMore;
                message.leave_out(octets.len().saturating_sub(room) as u64);
            }
        }
    }

    /// Decompresses into the buffer, up to its limit. A reference to what was not seen
    /// is an error of the decompressor, so what comes out is never wrong.
    fn inflate(&mut self, mut octets: &[u8]) {
        let Some(message) = &mut self.message else {
            return;
        };
        let inflate = self
            .inflate
            .get_or_insert_with(|| Box::new(Decompress::new(false)));
        while !octets.is_empty() {
            let (read, written) = (inflate.total_in(), inflate.total_out());
            let room = octets.len().saturating_mul(2).clamp(512, SPARE);
            self.buffer.reserve(room);
            let status = inflate.decompress_vec(octets, &mut self.buffer, FlushDecompress::Sync);
            let read = inflate.total_in().saturating_sub(read);
            let written = inflate.total_out().saturating_sub(written);
            octets = octets
                .get(usize::try_from(read).unwrap_or(usize::MAX)..)
                .unwrap_or(&[]);
            let ended = matches!(status, Ok(Status::StreamEnd));
            if ended {
                inflate.reset(false);
            }
            let stuck = read == 0 && written == 0 && !ended;
            if self.buffer.len() > LONGEST {
                message.give_up(Gathers::NoMore);
            } else if status.is_err() || stuck {
                message.give_up(Gathers::Undecodable);
            } else {
                continue;
            }
            self.inflate = None;
            return;
        }
    }

    /// The message is whole, as far as it came.
    pub fn finish(&mut self, frame: &Header, emit: Emit<'_>) {
        let whole = |message: Message| message.compressed && message.gathers == Gathers::All;
        if self.message.is_some_and(whole) {
            self.inflate(&FLUSH_TAIL);
        }
        let takes_over = match frame.mask {
            Some(_) => self.compression.client_takes_over,
            None => self.compression.server_takes_over,
        };
        if !takes_over {
            self.inflate = None;
        }
        self.give(emit);
    }

    /// Gives the message that was being gathered.
    fn give(&mut self, emit: Emit<'_>) {
        if let Some(message) = self.message.take() {
            let known = self.buffer.get(..LONGEST).unwrap_or(&self.buffer);
            emit(message.binary, known, message.missing);
        }
        self.buffer.clear();
        self.buffer.shrink_to(SPARE);
    }

    /// Tells what is missing with the message it hurt, or with an empty one.
    pub fn tell(&mut self, missing: Missing, emit: Emit<'_>) {
        self.message.get_or_insert(Message::new(false, false));
        self.pierce(missing);
        self.give(emit);
    }

    /// Its next octets are missing.
    pub fn pierce(&mut self, missing: Missing) {
        if let Some(message) = &mut self.message {
            message.missing = message.missing.and(missing);
            if message.gathers == Gathers::All {
                message.gathers = Gathers::NoMore;
            }
            self.inflate = None;
        }
    }

    #[cfg(test)]
    pub fn missing(&self) -> Missing {
        self.message
            .map_or(Missing::NONE, |message| message.missing)
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}
