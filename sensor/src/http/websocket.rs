//! WebSocket as an observer sees it (RFC 6455), compressed messages too (RFC 7692).
//!
//! In: segments of both directions after the handshake, from HTTP/1.1 or from a stream
//! of HTTP/2. Out: [`Step::WebSocket`]. Must not know: what carries it, what messages
//! mean.
//!
//! Control frames are of no interest. A message that came with a hole is given as far
//! as the hole, and says what is missing; where messages were lost altogether, an empty
//! one says so.

use crate::event::{Direction, Missing};
use crate::http::{ExchangeEvent, ExchangeId, Step};
use crate::stream::Segment;
use crate::time::Timestamp;

mod frame;
mod message;

use frame::{Header, Parsed, Search};
use message::{Assembly, Compression, Emit};

type Out<'o> = &'o mut dyn FnMut(ExchangeEvent<'_>);

/// A connection, or a stream, that carries WebSocket frames.
///
/// It emits messages only: ends, and [`Step::Over`], are up to what carries it.
#[derive(Debug)]
pub struct WebSocket {
    exchange: ExchangeId,
    write: Half,
    read: Half,
}

/// One direction.
#[derive(Debug)]
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
    message: Assembly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Payload,
    Lost,
}

impl WebSocket {
    /// `extensions`: the response's `Sec-WebSocket-Extensions`.
    pub fn new(exchange: ExchangeId, extensions: Option<&str>) -> Self {
        let compression = Compression::agreed(extensions);
        Self {
            exchange,
            write: Half::new(compression),
            read: Half::new(compression),
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
        let (half, mut emit) = self.half(direction, at, out);
        match segment {
            Segment::Gap(missing) if missing.is_none() => {}
            Segment::Gap(missing) => half.gap(missing, &mut emit),
            Segment::Data(bytes) if half.held.is_empty() => half.read(bytes, &mut emit),
            Segment::Data(bytes) => {
                let mut all = std::mem::take(&mut half.held);
                all.extend_from_slice(bytes);
                half.read(&all, &mut emit);
            }
        }
    }

    /// The connection is over. A message that is not whole never will be, and is
    /// dropped; what was lost is told.
    pub fn close(&mut self, at: Timestamp, out: Out<'_>) {
        for direction in [Direction::Write, Direction::Read] {
            let (half, mut emit) = self.half(direction, at, out);
            half.close(&mut emit);
        }
    }

    fn half<'a>(
        &'a mut self,
        direction: Direction,
        at: Timestamp,
        out: Out<'a>,
    ) -> (&'a mut Half, impl FnMut(bool, &[u8], Missing) + 'a) {
        let exchange = self.exchange;
        let half = match direction {
            Direction::Write => &mut self.write,
            Direction::Read => &mut self.read,
        };
        let emit = move |binary, data: &[u8], missing| {
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
        (half, emit)
    }
}

impl Half {
    const fn new(compression: Compression) -> Self {
        Self {
            state: State::Header,
            held: Vec::new(),
            skipped: 0,
            frame: Header::NONE,
            left: 0,
            passed: 0,
            message: Assembly::new(compression),
        }
    }

    fn read(&mut self, mut input: &[u8], emit: Emit<'_>) {
        loop {
            let rest = match self.state {
                State::Header => self.header(input),
                State::Payload => self.payload(input, emit),
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
                if !header.is_control() && !self.message.is_open() {
                    self.message.begin(&header);
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
        header.is_control() || header.is_continuation() == self.message.is_open()
    }

    fn payload<'a>(&mut self, input: &'a [u8], emit: Emit<'_>) -> Option<&'a [u8]> {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (octets, rest) = input.split_at_checked(here).unwrap_or((input, &[]));
        let whole = octets.len() as u64 == self.frame.length;
        self.left = self.left.saturating_sub(octets.len() as u64);
        if self.left > 0 && octets.is_empty() {
            return None;
        }
        let frame = self.frame;
        if frame.is_plain_message() && whole {
            self.message.give_whole(octets, emit);
        } else if !frame.is_control() {
            self.message.add(&frame, self.passed, octets);
        }
        self.passed = self.passed.saturating_add(octets.len() as u64);
        if self.left == 0 {
            self.state = State::Header;
            if frame.last && !frame.is_control() {
                self.message.finish(&frame, emit);
            }
        }
        Some(rest)
    }

    fn gap(&mut self, missing: Missing, emit: Emit<'_>) {
        let within = self.state == State::Payload && missing.total() <= self.left;
        if within {
            self.left = self.left.saturating_sub(missing.total());
            self.passed = self.passed.saturating_add(missing.total());
            if !self.frame.is_control() {
                self.message.pierce(missing);
            }
            self.read(&[], emit);
            return;
        }
        self.skip_held();
        self.message.tell(missing, emit);
        self.state = State::Lost;
    }

    fn skip_held(&mut self) {
        self.skipped = self.skipped.saturating_add(self.held.len() as u64);
        self.held = Vec::new();
    }

    fn close(&mut self, emit: Emit<'_>) {
        if self.state == State::Lost {
            self.skip_held();
            self.tell_skipped(emit);
        }
        *self = Self::new(self.message.compression());
    }

    /// A message that was begun does not go on here; how much of it is missing is then
    /// not known.
    fn tell_skipped(&mut self, emit: Emit<'_>) {
        let lost = std::mem::take(&mut self.skipped);
        if lost > 0 || self.message.is_open() {
            let lost = lost.max(1);
            self.message.tell(Missing { lost, cut: 0 }, emit);
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
        self.tell_skipped(emit);
        self.state = State::Header;
        Some(rest)
    }
}

#[cfg(test)]
mod tests;
