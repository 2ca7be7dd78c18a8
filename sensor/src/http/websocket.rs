//! WebSocket as an observer sees it (RFC 6455), compressed messages too (RFC 7692).
//!
//! In: segments of both directions after the handshake, from HTTP/1.1 or from a stream
//! of HTTP/2. Out: [`Step::WebSocket`]. Must not know: what carries it, what messages
//! mean.
//!
//! Control frames are of no interest. A message that came with a hole is given as far
//! as the hole, and says what is missing; where messages were lost altogether, an empty
//! one says so.

use flate2::{Decompress, FlushDecompress, Status};

use crate::event::{Direction, Missing};
use crate::http::{ExchangeEvent, ExchangeId, Step};
use crate::stream::Segment;
use crate::time::Timestamp;

mod frame;

use frame::{Header, Parsed, Search};

/// Octets of a message that are kept, after decompression.
const LONGEST: usize = 16 << 20;

/// What a buffer may keep for the next message.
const SPARE: usize = 16 << 10;

/// What the sender leaves out at the end of a compressed message (RFC 7692, 7.2.1).
const FLUSH_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

type Out<'o> = &'o mut dyn FnMut(ExchangeEvent<'_>);

/// A connection, or a stream, that carries WebSocket frames.
///
/// It emits messages only: ends, and [`Step::Over`], are up to what carries it.
#[derive(Debug)]
pub struct WebSocket {
    exchange: ExchangeId,
    compression: Compression,
    write: Half,
    read: Half,
}

/// What the handshake agreed on.
#[derive(Clone, Copy, Debug)]
struct Compression {
    /// The first reserved bit marks a message compressed by `permessage-deflate`.
    deflate: bool,
    client_takes_over: bool,
    server_takes_over: bool,
}

impl Compression {
    /// Parses the response's `Sec-WebSocket-Extensions`. Where it is unknown (`None`), a
    /// compressed message tells by itself.
    fn agreed(extensions: Option<&str>) -> Self {
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

/// One direction.
#[derive(Debug, Default)]
struct Half {
    state: State,
    /// A frame header that was cut, or, while lost, what may begin a frame.
    held: Vec<u8>,
    skipped: u64,
    frame: Header,
    /// Octets of the present frame's payload to come.
    left: u64,
    /// Octets of it that went by, for the mask.
    passed: u64,
    message: Option<Message>,
    /// Kept between messages for its room alone.
    buffer: Vec<u8>,
    inflate: Option<Box<Decompress>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Payload,
    Lost,
}

/// A message that is being gathered in [`Half::buffer`].
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

impl WebSocket {
    /// `extensions`: the response's `Sec-WebSocket-Extensions`.
    pub fn new(exchange: ExchangeId, extensions: Option<&str>) -> Self {
        Self {
            exchange,
            compression: Compression::agreed(extensions),
            write: Half::default(),
            read: Half::default(),
        }
    }

    /// Takes the next bytes, or the next hole, of one direction.
    pub fn feed(
        &mut self,
        direction: Direction,
        at: Timestamp,
        segment: Segment<'_>,
        out: Out<'_>,
    ) {
        let compression = self.compression;
        let half = match direction {
            Direction::Write => &mut self.write,
            Direction::Read => &mut self.read,
        };
        let exchange = self.exchange;
        let mut emit = |binary, data: &[u8], missing| {
            out(ExchangeEvent {
                exchange,
                at,
                step: Step::WebSocket {
                    direction,
                    binary,
                    data,
                    missing,
                },
            });
        };
        match segment {
            Segment::Gap(missing) if missing.is_none() => {}
            Segment::Gap(missing) => half.gap(compression, missing, &mut emit),
            Segment::Data(bytes) if half.held.is_empty() => {
                half.read(compression, bytes, &mut emit);
            }
            Segment::Data(bytes) => {
                let mut all = std::mem::take(&mut half.held);
                all.extend_from_slice(bytes);
                half.read(compression, &all, &mut emit);
            }
        }
    }

    /// The connection is over: what is not whole never will be, and is dropped.
    pub fn close(&mut self, at: Timestamp, out: Out<'_>) {
        let _ = (at, out);
        (self.write, self.read) = (Half::default(), Half::default());
    }
}

type Emit<'o> = &'o mut dyn FnMut(bool, &[u8], Missing);

impl Half {
    fn read(&mut self, compression: Compression, mut input: &[u8], emit: Emit<'_>) {
        loop {
            let rest = match self.state {
                State::Header => self.header(input),
                State::Payload => self.payload(compression, input, emit),
                State::Lost => self.search(input, emit),
            };
            match rest {
                Some(rest) => input = rest,
                None => return,
            }
        }
    }

    /// Each of these gives the input that is left, or `None` where it takes more.
    fn header<'a>(&mut self, input: &'a [u8]) -> Option<&'a [u8]> {
        match Header::parse(input) {
            Parsed::Header(header, rest) if self.is_in_place(&header) => {
                self.frame = header;
                self.left = header.length;
                self.passed = 0;
                self.state = State::Payload;
                if !header.is_control() && self.message.is_none() {
                    let message = Message::new(header.is_binary(), header.compressed);
                    self.message = Some(message);
                }
                Some(rest)
            }
            Parsed::NeedMore => {
                self.held = input.to_vec();
                None
            }
            Parsed::Header(..) | Parsed::Invalid => {
                self.state = State::Lost;
                Some(input)
            }
        }
    }

    /// A message continues in the frames meant for that, control frames between them.
    fn is_in_place(&self, header: &Header) -> bool {
        header.is_control() || header.is_continuation() == self.message.is_some()
    }

    fn payload<'a>(
        &mut self,
        compression: Compression,
        input: &'a [u8],
        emit: Emit<'_>,
    ) -> Option<&'a [u8]> {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (octets, rest) = input.split_at_checked(here).unwrap_or((input, &[]));
        let whole = octets.len() as u64 == self.frame.length;
        self.left = self.left.saturating_sub(octets.len() as u64);
        if self.left > 0 && octets.is_empty() {
            return None;
        }
        if let Some(message) = self.message
            && !self.frame.is_control()
        {
            let alone = self.frame.last && !self.frame.is_continuation() && whole;
            if alone && !message.compressed && self.frame.mask.is_none() {
                emit(message.binary, octets, Missing::NONE);
                self.message = None;
            } else {
                self.gather(compression, octets);
            }
        }
        self.passed = self.passed.saturating_add(octets.len() as u64);
        if self.left == 0 {
            self.state = State::Header;
            if self.frame.last && !self.frame.is_control() {
                self.finish(compression, emit);
            }
        }
        Some(rest)
    }

    /// Adds payload to the message.
    fn gather(&mut self, compression: Compression, octets: &[u8]) {
        let Some(message) = &mut self.message else {
            return;
        };
        let count = octets.len() as u64;
        message.seen = message.seen.saturating_add(count);
        if message.gathers != Gathers::All {
            message.leave_out(count);
        } else if message.compressed && !compression.deflate {
            message.give_up(Gathers::Undecodable);
        } else if message.compressed {
            let mut plain = octets.to_vec();
            self.frame.unmask(&mut plain, self.passed);
            self.inflate(&plain);
        } else {
            let start = self.buffer.len();
            let room = LONGEST.saturating_sub(start).min(octets.len());
            self.buffer
                .extend_from_slice(octets.get(..room).unwrap_or(&[]));
            let added = self.buffer.get_mut(start..).unwrap_or(&mut []);
            self.frame.unmask(added, self.passed);
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
    fn finish(&mut self, compression: Compression, emit: Emit<'_>) {
        let whole = |message: Message| message.compressed && message.gathers == Gathers::All;
        if self.message.is_some_and(whole) {
            self.inflate(&FLUSH_TAIL);
        }
        let takes_over = match self.frame.mask {
            Some(_) => compression.client_takes_over,
            None => compression.server_takes_over,
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

    fn gap(&mut self, compression: Compression, missing: Missing, emit: Emit<'_>) {
        let within = self.state == State::Payload && missing.total() <= self.left;
        if within {
            self.left = self.left.saturating_sub(missing.total());
            self.passed = self.passed.saturating_add(missing.total());
            if !self.frame.is_control() {
                self.pierce(missing);
            }
            self.read(compression, &[], emit);
            return;
        }
        self.skipped = self.skipped.saturating_add(self.held.len() as u64);
        self.held.clear();
        self.tell(missing, emit);
        self.state = State::Lost;
    }

    /// Tells what is missing with the message it hurt, or with an empty one.
    fn tell(&mut self, missing: Missing, emit: Emit<'_>) {
        self.message.get_or_insert(Message::new(false, false));
        self.pierce(missing);
        self.give(emit);
    }

    fn pierce(&mut self, missing: Missing) {
        if let Some(message) = &mut self.message {
            message.missing = message.missing.and(missing);
            if message.gathers == Gathers::All {
                message.gathers = Gathers::NoMore;
            }
            self.inflate = None;
        }
    }

    fn search<'a>(&mut self, input: &'a [u8], emit: Emit<'_>) -> Option<&'a [u8]> {
        let found = frame::search(input);
        let (Search::Found(place) | Search::Hold(place)) = found;
        let (skipped, rest) = input.split_at_checked(place)?;
        self.skipped = self.skipped.saturating_add(skipped.len() as u64);
        if found == Search::Hold(place) {
            self.held = rest.to_vec();
            return None;
        }
        let lost = std::mem::take(&mut self.skipped);
        if lost > 0 {
            self.tell(Missing { lost, cut: 0 }, emit);
        }
        self.state = State::Header;
        Some(rest)
    }
}

#[cfg(test)]
mod tests;
