//! The elements of a JSON array, one by one as they come (RFC 8259, section 5).
//!
//! In: bytes, cut anywhere. Out: one unit an element, as soon as its last byte is there.
//! Must not know: what an element says.

use memchr::{memchr2, memmem};

use super::Units;

#[derive(Debug)]
pub(super) struct JsonArray {
    limit: usize,
    /// The start of an element whose end has not come.
    element: Vec<u8>,
    /// The element is too long and passed over; its end is still found.
    skip: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the array, or after it.
    Outside,
    /// Before an element or a comma.
    Between,
    /// In a number or a word.
    Scalar,
    /// In an object, an array or a string, so many levels deep.
    Nested { depth: u32, text: Text },
    /// After a hole; the last bytes may have been a separator's.
    Lost { newline: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    /// After a backslash.
    Escaped,
}

impl JsonArray {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            element: Vec::new(),
            skip: false,
            place: Place::Outside,
        }
    }

    pub fn held_bytes(&self) -> usize {
        self.element.len()
    }

    pub fn feed(&mut self, mut bytes: &[u8], units: &mut Units<'_>) {
        while let Some(&byte) = bytes.first() {
            bytes = match self.place {
                Place::Outside => {
                    if byte == b'[' {
                        self.place = Place::Between;
                    }
                    bytes.get(1..).unwrap_or_default()
                }
                Place::Between => self.between(byte, bytes),
                Place::Scalar | Place::Nested { .. } => self.element(bytes, units),
                Place::Lost { newline } => self.lost(newline, bytes),
            };
        }
    }

    pub fn gap(&mut self) {
        self.element.clear();
        self.skip = false;
        self.place = Place::Lost { newline: false };
    }

    fn between<'a>(&mut self, byte: u8, bytes: &'a [u8]) -> &'a [u8] {
        self.place = match byte {
            b']' => Place::Outside,
            b',' | b' ' | b'\t' | b'\r' | b'\n' => Place::Between,
            b'{' | b'[' | b'"' => {
                self.place = Place::Nested {
                    depth: 0,
                    text: Text::Outside,
                };
                return bytes;
            }
            _ => {
                self.place = Place::Scalar;
                return bytes;
            }
        };
        bytes.get(1..).unwrap_or_default()
    }

    /// Goes on with an element, up to its end if that is here.
    fn element<'a>(&mut self, bytes: &'a [u8], units: &mut Units<'_>) -> &'a [u8] {
        let end = match &mut self.place {
            Place::Nested { depth, text } => nested(depth, text, bytes),
            _ => bytes.iter().position(|b| b",] \t\r\n".contains(b)),
        };
        let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if !self.skip && self.element.len().saturating_add(piece.len()) > self.limit {
            units.faults.oversized = units.faults.oversized.saturating_add(1);
            self.element = Vec::new();
            self.skip = true;
        }
        if end.is_none() {
            if !self.skip {
                self.element.extend_from_slice(piece);
            }
            return rest;
        }
        if !std::mem::take(&mut self.skip) {
            if self.element.is_empty() {
                units.event(None, piece);
            } else {
                self.element.extend_from_slice(piece);
                units.event(None, &self.element);
            }
        }
        self.element.clear();
        self.element.shrink_to(KEPT);
        self.place = Place::Between;
        rest
    }

    /// Looks for a separator that is one wherever it stands: no JSON text has a line
    /// break within a string, and none that is indented puts a comma first in a line but
    /// between the elements of the outermost array.
    fn lost<'a>(&mut self, newline: bool, bytes: &'a [u8]) -> &'a [u8] {
        if newline && bytes.first() == Some(&b',') {
            self.place = Place::Between;
            return bytes;
        }
        match memmem::find(bytes, b"\n,") {
            Some(at) => {
                self.place = Place::Between;
                bytes.get(at.saturating_add(1)..).unwrap_or_default()
            }
            None => {
                self.place = Place::Lost {
                    newline: bytes.last() == Some(&b'\n'),
                };
                &[]
            }
        }
    }
}

/// Goes on within nested values; gives where the outermost of them ends.
fn nested(depth: &mut u32, text: &mut Text, bytes: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    while let Some(rest) = bytes.get(at..) {
        // Most of an element is text of strings: that is passed over at once.
        if *text == Text::Inside {
            at = at.saturating_add(memchr2(b'"', b'\\', rest)?);
        }
        let byte = *bytes.get(at)?;
        at = at.saturating_add(1);
        match (*text, byte) {
            (Text::Escaped, _) => *text = Text::Inside,
            (Text::Inside, b'\\') => *text = Text::Escaped,
            (Text::Inside, b'"') => *text = Text::Outside,
            (Text::Inside, _) => {}
            (Text::Outside, b'"') => *text = Text::Inside,
            (Text::Outside, b'{' | b'[') => *depth = depth.saturating_add(1),
            (Text::Outside, b'}' | b']') => *depth = depth.saturating_sub(1),
            (Text::Outside, _) => {}
        }
        if *depth == 0 && *text == Text::Outside {
            return Some(at);
        }
    }
    None
}

/// What is kept of a buffer between two elements.
const KEPT: usize = 64 << 10;
