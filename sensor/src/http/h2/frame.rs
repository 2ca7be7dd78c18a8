//! Frames of HTTP/2 (RFC 9113, section 4) as they come, a piece at a time.
//!
//! In: the bytes of one direction, cut anywhere, and holes of known length. Out:
//! [`Piece`]s; content is handed on as it lies in the input. Must not know: streams,
//! HPACK, time.

use super::header::{HEADER, Header, Kind, PREFACE};
use super::sync;

/// Longest frame that is believed unless a peer announced that it takes longer ones.
/// Senders keep to 16 KiB by default and to 1 MiB by what servers announce.
const LONGEST: u32 = 1 << 20;

/// What was read; it belongs to the frame that [`Reader::header`] tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Preface,
    Data(&'a [u8]),
    /// Part of a header block.
    Block(&'a [u8]),
    Setting {
        id: u16,
        value: u32,
    },
    GoAway {
        last: u32,
    },
    /// The frame is over.
    End,
}

/// What a hole did.
#[derive(Debug, PartialEq, Eq)]
pub enum Hole {
    /// It lies within the present frame and took of its content.
    Content,
    /// It lies within the present frame and took nothing of use.
    Nothing,
    /// It reaches beyond the present frame.
    Frames,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `filled` octets of the preface were read.
    Preface,
    /// `filled` octets of a frame header were read.
    Header,
    Prefix,
    Content,
    Padding,
    Lost,
}

/// Reads the frames of one direction.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// A header, or a parameter of a control frame, that was cut.
    small: [u8; HEADER],
    filled: usize,
    header: Header,
    prefix: u32,
    content: u32,
    padding: u32,
    /// Whether the next header has yet to show that frames begin here.
    unproven: bool,
    /// The stream whose header block has to go on with the next frame.
    continues: Option<u32>,
    longest: u32,
}

impl Reader {
    pub const fn new() -> Self {
        Self {
            state: State::Preface,
            small: [0; HEADER],
            filled: 0,
            header: Header::NONE,
            prefix: 0,
            content: 0,
            padding: 0,
            unproven: true,
            continues: None,
            longest: LONGEST,
        }
    }

    /// The header of the present frame, or of the one that has just ended.
    pub const fn header(&self) -> Header {
        self.header
    }

    /// Whether the next octet begins a frame.
    pub const fn at_boundary(&self) -> bool {
        matches!(self.state, State::Header | State::Preface) && self.filled == 0
    }

    /// Whether frames can no longer be told from what is between them. The rest of the
    /// input, after [`Self::take_carried`], is where to look for the next one.
    pub fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// Octets of former input that were taken for a frame header and are none.
    pub fn take_carried(&mut self) -> Option<[u8; HEADER]> {
        let whole = self.is_lost() && self.filled == HEADER;
        whole.then(|| {
            self.filled = 0;
            self.small
        })
    }

    /// A frame begins with the next input.
    pub const fn resume(&mut self) {
        self.state = State::Header;
        self.filled = 0;
        self.unproven = false;
        self.continues = None;
    }

    /// The receiver of these frames announced this `SETTINGS_MAX_FRAME_SIZE`.
    pub fn allow(&mut self, longest: u32) {
        self.longest = self.longest.max(longest);
    }

    /// Reads on; `None` once the input is used up, or the reader lost its way.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        loop {
            match self.state {
                State::Preface => {
                    if self.preface(input)? {
                        return Some(Piece::Preface);
                    }
                }
                State::Header => {
                    let header = self.take_header(input)?;
                    self.begin(header)?;
                }
                State::Prefix => self.take_prefix(input)?,
                State::Content => {
                    if self.content == 0 {
                        self.state = State::Padding;
                    } else if let Some(piece) = self.take_content(input)? {
                        return Some(piece);
                    }
                }
                State::Padding => {
                    take(input, &mut self.padding);
                    if self.padding > 0 {
                        return None;
                    }
                    self.state = State::Header;
                    self.filled = 0;
                    return Some(Piece::End);
                }
                State::Lost => return None,
            }
        }
    }

    /// `missing` octets are lost before the next input.
    pub fn gap(&mut self, missing: u64) -> Hole {
        let left = [self.prefix, self.content, self.padding].map(u64::from);
        let left: u64 = left.iter().fold(0, |sum, part| sum.saturating_add(*part));
        let within = matches!(self.state, State::Prefix | State::Content | State::Padding);
        if !within || missing > left {
            self.state = State::Header;
            self.filled = 0;
            (self.prefix, self.content, self.padding) = (0, 0, 0);
            self.unproven = true;
            self.continues = None;
            return Hole::Frames;
        }
        let usable = self.header.kind == Kind::Data || self.header.carries_fields();
        let took = self.state != State::Padding && self.content > 0;
        if self.state == State::Content && usable {
            let taken = missing.min(self.content.into());
            self.content = less(self.content, taken);
            self.padding = less(self.padding, missing.saturating_sub(taken));
        } else {
            // Without its pad length or its alignment the rest says nothing.
            self.state = State::Padding;
            (self.prefix, self.content) = (0, 0);
            self.padding = u32::try_from(left.saturating_sub(missing)).unwrap_or(0);
        }
        if took && usable {
            Hole::Content
        } else {
            Hole::Nothing
        }
    }

    /// `Some(true)` once the preface is complete, `Some(false)` if this is none.
    fn preface(&mut self, input: &mut &[u8]) -> Option<bool> {
        let expected = PREFACE.get(self.filled..).unwrap_or(&[]);
        let same = expected
            .iter()
            .zip(input.iter())
            .take_while(|(a, b)| a == b)
            .count();
        self.filled = self.filled.saturating_add(same);
        *input = input.get(same..).unwrap_or(&[]);
        if self.filled == PREFACE.len() {
            self.resume();
            return Some(true);
        }
        if input.is_empty() {
            return None;
        }
        // No octet of the preface begins a frame, so what was read of it is skipped.
        self.state = if self.filled == 0 {
            State::Header
        } else {
            State::Lost
        };
        self.filled = 0;
        Some(false)
    }

    /// The next frame header. One that is whole in the input stays there until it is
    /// believed, so that a search can begin at it.
    fn take_header(&mut self, input: &mut &[u8]) -> Option<Header> {
        if self.filled == 0
            && let Some((octets, rest)) = input.split_first_chunk()
        {
            let header = self.believe(octets)?;
            *input = rest;
            return Some(header);
        }
        self.fill(input, HEADER)?;
        let octets = self.small;
        let header = self.believe(&octets)?;
        self.filled = 0;
        Some(header)
    }

    fn believe(&mut self, octets: &[u8; HEADER]) -> Option<Header> {
        let header = Header::parse(octets);
        let in_place = match self.continues {
            Some(stream) => header.kind == Kind::Continuation && header.stream == stream,
            None => header.kind != Kind::Continuation,
        };
        let believed = if self.unproven {
            sync::may_start(&header)
        } else {
            in_place && header.is_lawful() && header.length <= self.longest
        };
        if !believed {
            self.state = State::Lost;
            self.continues = None;
            return None;
        }
        self.unproven = false;
        Some(header)
    }

    fn begin(&mut self, header: Header) -> Option<()> {
        self.header = header;
        if header.carries_fields() {
            self.continues = (!header.has(Header::END_HEADERS)).then_some(header.stream);
        }
        self.prefix = header.prefix();
        self.content = header.length.saturating_sub(self.prefix);
        self.padding = 0;
        self.filled = 0;
        self.state = State::Prefix;
        Some(())
    }

    fn take_prefix(&mut self, input: &mut &[u8]) -> Option<()> {
        if self.header.is_padded() && self.prefix == self.header.prefix() {
            let (&padding, rest) = input.split_first()?;
            *input = rest;
            self.prefix = self.prefix.saturating_sub(1);
            self.padding = padding.into();
            // Padding beyond the frame is an error of the connection (section 6.1).
            self.content = self.content.saturating_sub(self.padding);
            let most = self.header.length.saturating_sub(self.header.prefix());
            self.padding = self.padding.min(most);
        }
        take(input, &mut self.prefix);
        if self.prefix > 0 {
            return None;
        }
        self.state = State::Content;
        Some(())
    }

    /// `None`: the input is used up; `Some(None)`: the content says nothing to us.
    fn take_content<'a>(&mut self, input: &mut &'a [u8]) -> Option<Option<Piece<'a>>> {
        match self.header.kind {
            Kind::Data | Kind::Headers | Kind::Push | Kind::Continuation => {
                let taken = take(input, &mut self.content);
                if taken.is_empty() {
                    return None;
                }
                Some(Some(match self.header.kind {
                    Kind::Data => Piece::Data(taken),
                    _ => Piece::Block(taken),
                }))
            }
            Kind::Settings => {
                self.parameter(input, 6)?;
                let [a, b, c, d, e, f, ..] = self.small;
                Some(Some(Piece::Setting {
                    id: u16::from_be_bytes([a, b]),
                    value: u32::from_be_bytes([c, d, e, f]),
                }))
            }
            Kind::GoAway if self.content > self.header.length.saturating_sub(4) => {
                self.parameter(input, 4)?;
                let [a, b, c, d, ..] = self.small;
                Some(Some(Piece::GoAway {
                    last: u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff,
                }))
            }
            _ => {
                take(input, &mut self.content);
                (self.content == 0).then_some(None)
            }
        }
    }

    /// Gathers a parameter of a control frame in [`Self::small`].
    fn parameter(&mut self, input: &mut &[u8], octets: usize) -> Option<()> {
        let before = self.filled;
        let whole = self.fill(input, octets);
        let taken = u64::try_from(self.filled.saturating_sub(before)).unwrap_or(0);
        self.content = less(self.content, taken);
        if whole.is_some() {
            self.filled = 0;
        }
        whole
    }

    /// Gathers octets in [`Self::small`] until there are `octets`.
    fn fill(&mut self, input: &mut &[u8], octets: usize) -> Option<()> {
        let want = octets.saturating_sub(self.filled);
        let (taken, rest) = input.split_at_checked(want).unwrap_or((input, &[]));
        for (slot, octet) in self.small.iter_mut().skip(self.filled).zip(taken) {
            *slot = *octet;
        }
        self.filled = self.filled.saturating_add(taken.len());
        *input = rest;
        (self.filled == octets).then_some(())
    }
}

/// Takes up to `count` octets of the input, and counts them down.
fn take<'a>(input: &mut &'a [u8], count: &mut u32) -> &'a [u8] {
    let wanted = usize::try_from(*count).unwrap_or(usize::MAX);
    let (taken, rest) = input.split_at_checked(wanted).unwrap_or((input, &[]));
    *input = rest;
    *count = less(*count, taken.len() as u64);
    taken
}

fn less(count: u32, taken: u64) -> u32 {
    count.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))
}
