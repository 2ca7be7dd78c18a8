//! JSON documents one a line (NDJSON, JSON Lines; RFC 7464 with its record separators).
//!
//! In: bytes, cut anywhere. Out: one unit a line that is not blank. Must not know: what
//! a line says.

use memchr::memchr;

use super::Units;

#[derive(Debug)]
pub(super) struct Ndjson {
    limit: usize,
    /// The start of a line whose end has not come.
    line: Vec<u8>,
    /// The rest of this line is passed over.
    skip: bool,
}

impl Ndjson {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            skip: false,
        }
    }

    pub fn held_bytes(&self) -> usize {
        self.line.len()
    }

    pub fn feed(&mut self, mut bytes: &[u8], units: &mut Units<'_>) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if !self.line.is_empty() {
                self.hold(line, units);
                emit(&self.line, units);
                self.line.clear();
            } else if self.admits(line.len(), units) {
                emit(line, units);
            }
            self.skip = false;
        }
        self.hold(bytes, units);
    }

    pub fn gap(&mut self) {
        self.line.clear();
        self.skip = true;
    }

    /// The last line of a whole body needs no end.
    pub fn finish(&mut self, complete: bool, units: &mut Units<'_>) {
        if complete {
            emit(&self.line, units);
        }
        self.line.clear();
    }

    fn hold(&mut self, piece: &[u8], units: &mut Units<'_>) {
        if self.admits(piece.len(), units) {
            self.line.extend_from_slice(piece);
        }
    }

    /// Whether the line may have so many bytes more; if not, it is passed over.
    fn admits(&mut self, more: usize, units: &mut Units<'_>) -> bool {
        if !self.skip && self.line.len().saturating_add(more) > self.limit {
            units.faults.oversized = units.faults.oversized.saturating_add(1);
            self.line = Vec::new();
            self.skip = true;
        }
        !self.skip
    }
}

fn emit(line: &[u8], units: &mut Units<'_>) {
    let line = line.trim_ascii();
    let line = line.strip_prefix(b"\x1E").unwrap_or(line);
    if !line.is_empty() {
        units.event(None, line);
    }
}
