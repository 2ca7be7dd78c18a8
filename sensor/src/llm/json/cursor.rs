//! A walk over the text of one document.
//!
//! In: text. Out: where its values begin and end. Only strings and brackets are
//! followed; what nobody asks for is passed over without being read, at any depth.

use memchr::memchr2;

/// A place in a document. What it gives is `None` where the text is no JSON, or is cut.
pub(in crate::llm) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self::within(text, 0)
    }

    /// At a place of the document that was passed before.
    pub(super) const fn within(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    /// Where the next value begins.
    pub(super) fn place(&mut self) -> Option<usize> {
        self.peek()?;
        Some(self.at)
    }

    /// Passes over a value.
    pub(in crate::llm) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.skip_string(),
            b'{' | b'[' => self.skip_nested(),
            first => self.skip_scalar(first),
        }
    }

    /// Passes over a value and gives its text.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        self.text.get(start..self.at)
    }

    /// Passes over a value: `Ok` is what a string has between its quotes, escapes and
    /// all; `Err` the text of what is no string.
    pub(super) fn string(&mut self) -> Option<Result<&'a str, &'a str>> {
        match self.peek()? {
            b'"' => self.quoted().map(Ok),
            _ => self.value().map(Err),
        }
    }

    /// Walks over the members of an object, of which `member` passes over the values;
    /// keys come as they are written. A value that is no object has no members.
    pub(in crate::llm) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Option<()>,
    ) -> Option<()> {
        self.each(b'{', b'}', |cursor| {
            let key = cursor.key()?;
            member(cursor, key)
        })
    }

    /// As [`Cursor::members`], from the end of the value of one of them.
    pub(super) fn other_members(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Option<()>,
    ) -> Option<()> {
        while !self.is_last(b'}')? {
            let key = self.key()?;
            member(self, key)?;
        }
        Some(())
    }

    /// Walks over the elements of a list, each of which `element` passes over. A value
    /// that is no list has no elements.
    pub(super) fn elements(&mut self, element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.each(b'[', b']', element)
    }

    fn each(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        if self.peek()? != open {
            return self.skip();
        }
        self.pass(1);
        if self.peek()? == close {
            self.pass(1);
            return Some(());
        }
        loop {
            item(self)?;
            if self.is_last(close)? {
                return Some(());
            }
        }
    }

    /// Passes over what follows an item: a comma, or the bracket that closes them all.
    fn is_last(&mut self, close: u8) -> Option<bool> {
        let next = self.peek()?;
        self.pass(1);
        (next == b',' || next == close).then_some(next == close)
    }

    /// Passes over a key and its colon.
    fn key(&mut self) -> Option<&'a str> {
        let key = (self.peek()? == b'"').then(|| self.quoted())??;
        (self.peek()? == b':').then(|| self.pass(1))?;
        Some(key)
    }

    /// Passes over a string, at whose opening quote it stands; gives what is in it.
    #[inline]
    fn quoted(&mut self) -> Option<&'a str> {
        let start = self.at.wrapping_add(1);
        let end = end_of_string(self.text.as_bytes(), start)?;
        self.at = end.wrapping_add(1);
        self.text.get(start..end)
    }

    #[inline]
    fn skip_string(&mut self) -> Option<()> {
        let start = self.at.wrapping_add(1);
        self.at = end_of_string(self.text.as_bytes(), start)?.wrapping_add(1);
        Some(())
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth = depth.saturating_add(1);
                    self.pass(1);
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.pass(1);
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ => self.pass(before(self.rest(), |word| {
                    // This bit makes braces of square brackets.
                    let braces = word | EACH.wrapping_mul(0x20);
                    equal(word, b'"') | equal(braces, b'{') | equal(braces, b'}')
                })),
            }
        }
    }

    fn skip_scalar(&mut self, first: u8) -> Option<()> {
        let rest = self.rest();
        let length = match first {
            b'n' if rest.starts_with(b"null") => 4,
            b't' if rest.starts_with(b"true") => 4,
            b'f' if rest.starts_with(b"false") => 5,
            b'-' | b'0'..=b'9' => {
                let is_part = |b: &&u8| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
                rest.iter().take_while(is_part).count()
            }
            _ => return None,
        };
        self.pass(length);
        Some(())
    }

    /// The next byte that is no blank; it is not passed.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        let next = *self.text.as_bytes().get(self.at)?;
        match next {
            b' ' | b'\n' | b'\t' | b'\r' => self.peek_beyond(),
            _ => Some(next),
        }
    }

    /// The same amid blanks, which programs send few of.
    #[inline(never)]
    fn peek_beyond(&mut self) -> Option<u8> {
        let rest = self.rest();
        let is_blank = |b: &&u8| matches!(b, b' ' | b'\n' | b'\t' | b'\r');
        let blanks = rest.iter().take_while(is_blank).count();
        self.pass(blanks);
        rest.get(blanks).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Never moves past the end: every byte passed was seen.
    fn pass(&mut self, bytes: usize) {
        self.at = self.at.wrapping_add(bytes);
    }
}

/// Where the closing quote stands of a string that begins at `start`. Most are short, and
/// have no escapes: two looks tell, and nobody is called.
#[inline]
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    const LOOKS: usize = 2;
    let (words, _) = bytes.get(start..)?.as_chunks();
    let mut at = start;
    for word in words.iter().take(LOOKS) {
        let marks = ends_or_escapes(*word);
        if marks != 0 {
            at = at.wrapping_add(place(marks));
            return match bytes.get(at) {
                Some(b'"') => Some(at),
                _ => end_of_long_string(bytes, at),
            };
        }
        at = at.wrapping_add(8);
    }
    end_of_long_string(bytes, at)
}

/// The same, of a string of which the rest begins at `at`.
#[inline(never)]
fn end_of_long_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = at.wrapping_add(memchr2(b'"', b'\\', bytes.get(at..)?)?);
        match *bytes.get(at)? {
            b'"' => return Some(at),
            _ => at = at.wrapping_add(2),
        }
    }
}

/// Marks quotes and backslashes, see [`equal`].
fn ends_or_escapes(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    equal(word, b'"') | equal(word, b'\\')
}

/// A word each of whose bytes is 1.
const EACH: u64 = u64::MAX / 0xff;

/// The high bit of the first byte of `word` that is `byte`, and perhaps of some after it.
const fn equal(word: u64, byte: u8) -> u64 {
    let differ = word ^ EACH.wrapping_mul(byte as u64);
    differ.wrapping_sub(EACH) & !differ & EACH.wrapping_mul(0x80)
}

/// The number of the first byte that [`equal`] marked.
const fn place(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// How many bytes come before the first that `mark` marks as [`equal`] does; it is given
/// eight bytes at a time, the first in the lowest place, and must not mark 0.
fn before(bytes: &[u8], mark: impl Fn(u64) -> u64) -> usize {
    let mut passed = 0_usize;
    let (words, tail) = bytes.as_chunks();
    for word in words {
        let marks = mark(u64::from_le_bytes(*word));
        if marks != 0 {
            return passed.wrapping_add(place(marks));
        }
        passed = passed.wrapping_add(8);
    }
    let mut last = [0; 8];
    last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
    passed.wrapping_add(place(mark(u64::from_le_bytes(last))).min(tail.len()))
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    /// What a cursor takes for a value at the start of `text`, and what comes after it.
    fn split(text: &str) -> Option<(&str, &str)> {
        let mut cursor = Cursor::new(text);
        let value = cursor.value()?;
        Some((value, text.get(cursor.at..)?))
    }

    #[test]
    fn values_end_where_they_end() {
        for value in [
            "null",
            "true",
            "false",
            "-12.5e+3",
            r#""""#,
            r#""plain text of some length""#,
            r#""\"\\""#,
            r#""\\\\\"\\\"\\\\""#,
            r#""[{\u00e9é😀""#,
            "[]",
            "{}",
            r#"[1,[2,"]"],{"}":"\"}"}]"#,
            "[\n 0.25, -0.125, 1e-9, 123456789 ]",
        ] {
            for (before, after) in [("", ""), (" \n\t\r", ",1"), ("", "]}"), (" ", "   ")] {
                let text = format!("{before}{value}{after}");
                assert_eq!(split(&text), Some((value, after)), "{text}");
            }
            serde_json::from_str::<serde_json::Value>(value).expect("JSON");
        }
    }

    #[test]
    fn a_cut_value_is_none() {
        let whole = r#"{"a":["x\"y",{"b":null}],"c":"0123456789"}"#;
        for end in 0..whole.len() {
            assert_eq!(split(&whole[..end]), None, "{end}");
        }
        assert_eq!(split(whole), Some((whole, "")));
        for none in ["", "  ", "nul", "nothing", "+1", "'a'", "]", ",", "\u{e9}"] {
            assert_eq!(split(none), None, "{none}");
        }
    }

    #[test]
    fn brackets_are_found_wherever_they_stand() {
        for length in 0..40 {
            for (open, close) in [("[", "]"), ("{", "}"), ("[\"", "\"]")] {
                let value = format!("{open}{}{close}", "é".repeat(length));
                for after in ["", "]", "tail of some length"] {
                    let text = format!("{value}{after}");
                    assert_eq!(split(&text), Some((&*value, after)));
                }
            }
        }
    }

    #[test]
    fn members_and_elements_come_in_order() {
        let mut seen = Vec::new();
        let mut cursor = Cursor::new(r#" { "a" : 1 , "b\"" :[{"c":2}, "d" ] ,"e":[]} x"#);
        let walked = cursor.members(|cursor, key| {
            seen.push(key.to_owned());
            cursor.elements(|cursor| {
                seen.push(cursor.value()?.to_owned());
                Some(())
            })
        });
        assert_eq!(walked, Some(()));
        assert_eq!(seen, ["a", r#"b\""#, r#"{"c":2}"#, "\"d\"", "e"]);
    }

    #[test]
    fn what_is_against_the_grammar_is_none() {
        for text in [
            r#"{"a" 1}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            r#"{"a":1"#,
            r#"{"a":1]"#,
        ] {
            let walked = Cursor::new(text).members(|cursor, _| cursor.skip());
            assert_eq!(walked, None, "{text}");
        }
        for text in ["[1,]", "[1 2]", "[1}", "[", "[1"] {
            let walked = Cursor::new(text).elements(Cursor::skip);
            assert_eq!(walked, None, "{text}");
        }
    }
}
