//! A walk over the text of one document.
//!
//! In: text. Out: where its values begin and end. Only strings and brackets are
//! followed; what nobody asks for is passed over without being read, at any depth.

use memchr::memchr;

/// A place in a document. What it gives is `None` where the text is no JSON, or is cut.
pub(in crate::llm) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Passes over a value and gives its text.
    pub(in crate::llm) fn value(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => drop(self.quoted()?),
            b'{' | b'[' => self.nested()?,
            _ => self.scalar(first)?,
        }
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
            return self.value().map(drop);
        }
        self.pass(1);
        if self.peek()? == close {
            self.pass(1);
            return Some(());
        }
        loop {
            item(self)?;
            let next = self.peek()?;
            self.pass(1);
            match next {
                b',' => {}
                _ if next == close => return Some(()),
                _ => return None,
            }
        }
    }

    /// Passes over a key and its colon.
    fn key(&mut self) -> Option<&'a str> {
        let key = (self.peek()? == b'"').then(|| self.quoted())??;
        (self.peek()? == b':').then(|| self.pass(1))?;
        Some(key)
    }

    /// Passes over a string, at whose opening quote it stands; gives what is in it.
    fn quoted(&mut self) -> Option<&'a str> {
        self.pass(1);
        let start = self.at;
        loop {
            self.pass(memchr(b'"', self.rest())?);
            let text = self.text.get(start..self.at)?;
            self.pass(1);
            let escapes = text.bytes().rev().take_while(|byte| *byte == b'\\');
            if escapes.count().is_multiple_of(2) {
                return Some(text);
            }
        }
    }

    /// Passes over an object or a list, at whose bracket it stands.
    fn nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.rest().first()? {
                b'"' => {
                    self.quoted()?;
                    continue;
                }
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.pass(1);
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn scalar(&mut self, first: u8) -> Option<()> {
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
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.rest().first()?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.pass(1);
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Never moves past the end: every byte passed was seen.
    fn pass(&mut self, bytes: usize) {
        self.at = self.at.wrapping_add(bytes);
    }
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
            let walked = Cursor::new(text).members(|cursor, _| cursor.value().map(drop));
            assert_eq!(walked, None, "{text}");
        }
        for text in ["[1,]", "[1 2]", "[1}", "[", "[1"] {
            let walked = Cursor::new(text).elements(|cursor| cursor.value().map(drop));
            assert_eq!(walked, None, "{text}");
        }
    }
}
