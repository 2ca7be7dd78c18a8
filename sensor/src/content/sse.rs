//! Server-sent events (WHATWG HTML, section 9.2.6).
//!
//! In: bytes, cut anywhere. Out: one unit an event. Must not know: what an event says.
//!
//! The data of an event that lies in one piece on one line is lent, not copied.

use memchr::memchr2;

use super::Units;

#[derive(Debug)]
pub(super) struct Sse {
    limit: usize,
    /// The start of a line whose end has not come.
    line: Vec<u8>,
    /// Data lines of the event so far, joined by LF.
    data: Vec<u8>,
    has_data: bool,
    name: String,
    skip: Skip,
    /// Nothing was read yet, so that a byte order mark may come.
    at_start: bool,
    /// The last byte was the CR of what may be a CRLF.
    after_cr: bool,
    /// Lines of this stream end in CRLF.
    crlf: bool,
    /// The event is whole but for the LF of its last CRLF.
    due: bool,
}

/// What is passed over after a hole, or because it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    Nothing,
    /// The rest of a line, then the rest of its event.
    Line,
    /// Lines up to an empty one.
    Event,
}

impl Sse {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            name: String::new(),
            skip: Skip::Nothing,
            at_start: true,
            after_cr: false,
            crlf: false,
            due: false,
        }
    }

    pub fn held_bytes(&self) -> usize {
        self.line.len().saturating_add(self.data.len())
    }

    pub fn feed(&mut self, bytes: &[u8], units: &mut Units<'_>) {
        let mut rest = self.line_feed(bytes, units);
        let mut lent = None;
        while let Some(end) = memchr2(b'\r', b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = self.line_end(after);
            if self.line.is_empty() {
                if self.admits(line.len(), &mut lent, units) {
                    self.take_line(line, &mut lent, units);
                } else {
                    self.skip = Skip::Event;
                }
            } else if self.hold(line, &mut lent, units) {
                let whole = std::mem::take(&mut self.line);
                let mut none = None;
                self.keep(&mut lent);
                self.take_line(&whole, &mut none, units);
                self.keep(&mut none);
                self.line = whole;
                self.line.clear();
                self.line.shrink_to(KEPT);
            } else {
                self.skip = Skip::Event;
            }
        }
        if !rest.is_empty() && !self.hold(rest, &mut lent, units) {
            self.skip = Skip::Line;
        }
        self.keep(&mut lent);
    }

    /// What follows a hole cannot be trusted before the next event.
    pub fn gap(&mut self) {
        self.drop_event();
        self.line.clear();
        self.after_cr = false;
        self.skip = Skip::Line;
    }

    /// The body is over. Servers forget the last empty line, so that a whole body's last
    /// event counts without it.
    pub fn finish(&mut self, complete: bool, units: &mut Units<'_>) {
        let line = std::mem::take(&mut self.line);
        let mut lent = None;
        if complete && !line.is_empty() {
            self.take_line(&line, &mut lent, units);
        }
        if complete || self.due {
            self.dispatch(&mut lent, units);
        }
    }

    /// Passes over the LF of a CRLF that was cut in two.
    fn line_feed<'a>(&mut self, bytes: &'a [u8], units: &mut Units<'_>) -> &'a [u8] {
        let rest = match bytes {
            [b'\n', rest @ ..] if self.after_cr => {
                self.crlf = true;
                rest
            }
            all => all,
        };
        if !bytes.is_empty() {
            self.after_cr = false;
            if self.due {
                self.dispatch(&mut None, units);
            }
        }
        rest
    }

    /// Passes over the line end that `rest` begins with.
    fn line_end<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        match rest {
            [b'\r', b'\n', rest @ ..] => {
                self.crlf = true;
                rest
            }
            [b'\r'] => {
                self.after_cr = true;
                &[]
            }
            [_, rest @ ..] => rest,
            [] => rest,
        }
    }

    fn take_line<'a>(
        &mut self,
        mut line: &'a [u8],
        lent: &mut Option<&'a [u8]>,
        units: &mut Units<'_>,
    ) {
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        match self.skip {
            Skip::Line => self.skip = Skip::Event,
            Skip::Event if line.is_empty() => self.skip = Skip::Nothing,
            Skip::Event => {}
            Skip::Nothing if line.is_empty() && self.after_cr && self.crlf => self.due = true,
            Skip::Nothing if line.is_empty() => self.dispatch(lent, units),
            Skip::Nothing => self.field(line, lent),
        }
    }

    fn field<'a>(&mut self, line: &'a [u8], lent: &mut Option<&'a [u8]>) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let (name, rest) = line.split_at(colon);
                let value = rest.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match name {
            b"data" if !self.has_data && lent.is_none() => *lent = Some(value),
            b"data" => {
                // It fits: the line that it is of did, and is longer.
                self.keep(lent);
                self.data.push(b'\n');
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.name.clear();
                self.name.push_str(&String::from_utf8_lossy(value));
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, lent: &mut Option<&[u8]>, units: &mut Units<'_>) {
        let name = (!self.name.is_empty()).then_some(self.name.as_str());
        match lent.take() {
            Some(data) => units.event(name, data),
            None if self.has_data => units.event(name, &self.data),
            None => {}
        }
        self.drop_event();
    }

    fn drop_event(&mut self) {
        self.data.clear();
        self.data.shrink_to(KEPT);
        self.has_data = false;
        self.name.clear();
        self.due = false;
    }

    /// Copies what is lent, as its bytes go away.
    fn keep(&mut self, lent: &mut Option<&[u8]>) {
        if let Some(data) = lent.take() {
            make_room(&mut self.data);
            self.data.extend_from_slice(data);
            self.has_data = true;
        }
    }

    /// Buffers a piece of a line; `false` where the event gets too long.
    fn hold(&mut self, piece: &[u8], lent: &mut Option<&[u8]>, units: &mut Units<'_>) -> bool {
        if self.skip != Skip::Nothing {
            self.skip = Skip::Line;
            return true;
        }
        let fits = self.admits(piece.len(), lent, units);
        if fits {
            make_room(&mut self.line);
            self.line.extend_from_slice(piece);
        }
        fits
    }

    /// Whether so many bytes more of a line keep the event within its limit; otherwise it
    /// is dropped.
    fn admits(&mut self, more: usize, lent: &mut Option<&[u8]>, units: &mut Units<'_>) -> bool {
        let held = [
            self.line.len(),
            self.data.len(),
            lent.map_or(0, <[u8]>::len),
        ];
        let length = held.into_iter().fold(more, usize::saturating_add);
        if self.skip != Skip::Nothing || length <= self.limit {
            return true;
        }
        units.faults.oversized = units.faults.oversized.saturating_add(1);
        *lent = None;
        self.drop_event();
        self.line = Vec::new();
        false
    }
}

/// What is kept of a buffer between two events.
const KEPT: usize = 64 << 10;
/// Room for most events.
const USUAL: usize = 512;

/// Makes a buffer that is used for the first time as large as most have to be.
fn make_room(buffer: &mut Vec<u8>) {
    if buffer.capacity() == 0 {
        buffer.reserve(USUAL);
    }
}
