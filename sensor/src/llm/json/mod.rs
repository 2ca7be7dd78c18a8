//! JSON of foreign make, read into typed views without losing what can be read.
//!
//! In: the text of one document. Out: structs of borrowed fields. A field of an
//! unexpected type is absent and its neighbours stay; a repeated key takes its last
//! value; unknown keys are skipped without being built. Must not know: dialects.

use std::borrow::Cow;

use smallvec::SmallVec;

mod cursor;
mod escape;
mod wire;

pub(super) use cursor::Cursor;
use escape::{unescape, unescaped};
pub(super) use wire::{FromJson, Object, wire};

/// Elements kept of any one list; the rest is skipped.
const MAX_LIST: usize = 16_384;

/// The document that `text` begins with; `None` where it is no JSON or is cut.
pub(super) fn parse<'a, T: FromJson<'a>>(text: &'a str) -> Option<T> {
    let mut document = T::default();
    document.read(&mut Cursor::new(text))?;
    Some(document)
}

/// As [`parse`], with the default for what is no document. A view of many fields is
/// made where it is to stay.
pub(super) fn read<'a, T: FromJson<'a>>(text: &'a str) -> T {
    let mut document = T::default();
    if document.read(&mut Cursor::new(text)).is_none() {
        document = T::default();
    }
    document
}

/// As [`read`], of an object whose members before `at` are known: there stands the value
/// of `key`.
pub(super) fn read_on<'a, T: Object<'a>>(text: &'a str, at: usize, key: &'a str) -> T {
    let (mut cursor, mut object) = (Cursor::within(text, at), T::default());
    let done = object
        .member(&mut cursor, key)
        .and_then(|()| cursor.other_members(|cursor, key| object.member(cursor, key)));
    if done.is_none() {
        object = T::default();
    }
    object
}

/// Documents looked for in one text.
const MAX_DOCUMENTS: usize = 65_536;

/// The documents of `text`, one after the other, up to the first that is broken.
pub(super) fn documents(text: &str) -> Vec<&str> {
    let mut cursor = Cursor::new(text);
    std::iter::from_fn(|| cursor.value())
        .take(MAX_DOCUMENTS)
        .collect()
}

/// Any value, as its text; empty where absent or null.
#[derive(Clone, Copy, Default)]
pub(super) struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    pub(super) const fn of(text: &'a str) -> Self {
        Self(text)
    }

    pub(super) const fn is_some(self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    pub(super) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(super) fn is_list(self) -> bool {
        self.0.starts_with('[')
    }

    pub(super) const fn text(self) -> &'a str {
        self.0
    }

    pub(super) fn parse<T: FromJson<'a>>(self) -> T {
        read(self.0)
    }

    pub(super) fn string(self) -> Str<'a> {
        Str::of(self.0)
    }

    /// The elements of a list, or the value itself where it is none.
    pub(super) fn one_or_many<T: FromJson<'a>>(self) -> List<T> {
        if self.is_list() {
            self.parse()
        } else if self.is_some() {
            List(SmallVec::from_iter([self.parse()]))
        } else {
            List::default()
        }
    }

    /// The value built as a tree; `None` where absent or nested too deep.
    pub(super) fn value(self) -> Option<serde_json::Value> {
        serde_json::from_str(self.0).ok()
    }

    pub(super) fn or(self, other: Self) -> Self {
        if self.is_some() { self } else { other }
    }
}

impl<'json: 'a, 'a> FromJson<'json> for Raw<'a> {
    fn read(&mut self, cursor: &mut Cursor<'json>) -> Option<()> {
        let text = cursor.value()?;
        self.0 = if text == "null" { "" } else { text };
        Some(())
    }
}

/// A string with its escapes still in, or a number as it was written.
#[derive(Clone, Copy, Default)]
pub(super) struct Str<'a>(Option<&'a str>);

impl<'a> Str<'a> {
    fn of(raw: &'a str) -> Self {
        let quoted = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"'));
        Self(quoted.or_else(|| number(raw)))
    }

    /// A string that holds no escapes.
    pub(super) const fn plain(text: &'a str) -> Self {
        Self(Some(text))
    }

    pub(super) const fn is_some(self) -> bool {
        self.0.is_some()
    }

    /// Whether there is nothing to read: absent or empty.
    pub(super) fn is_empty(self) -> bool {
        self.key().is_empty()
    }

    /// To compare with names that need no escapes; empty where absent.
    pub(super) fn key(self) -> &'a str {
        self.0.unwrap_or_default()
    }

    pub(super) fn or(self, other: Self) -> Self {
        if self.is_empty() { other } else { self }
    }

    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let raw = self.0?;
        if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
            return Some(Cow::Borrowed(raw));
        }
        Some(Cow::Owned(unescaped(raw)))
    }

    pub(super) fn string(self) -> Option<String> {
        self.text().map(Cow::into_owned)
    }

    /// `None` where absent or empty.
    pub(super) fn boxed(self) -> Option<Box<str>> {
        (!self.is_empty())
            .then(|| self.text().map(|t| t.into_owned().into_boxed_str()))
            .flatten()
    }

    pub(super) fn append_to(self, text: &mut String) {
        text.reserve(self.key().len());
        unescape(self.key(), text);
    }
}

impl<'json: 'a, 'a> FromJson<'json> for Str<'a> {
    fn read(&mut self, cursor: &mut Cursor<'json>) -> Option<()> {
        self.0 = match cursor.string()? {
            Ok(text) => Some(text),
            Err(other) => number(other),
        };
        Some(())
    }
}

fn number(raw: &str) -> Option<&str> {
    matches!(raw.as_bytes(), [b'-' | b'0'..=b'9', ..]).then_some(raw)
}

/// A whole number; one written as `1.0` or `"1"` counts.
#[derive(Clone, Copy, Default)]
pub(super) struct Int(pub(super) Option<i64>);

impl Int {
    /// A count: `None` where absent or negative.
    pub(super) fn count(self) -> Option<u64> {
        self.0.and_then(|n| u64::try_from(n).ok())
    }

    /// A place in a list.
    pub(super) fn index(self) -> Option<usize> {
        self.0.and_then(|n| usize::try_from(n).ok())
    }
}

impl<'json> FromJson<'json> for Int {
    fn read(&mut self, cursor: &mut Cursor<'json>) -> Option<()> {
        let (Ok(text) | Err(text)) = cursor.string()?;
        self.0 = text.parse().ok().or_else(|| whole(text));
        Some(())
    }
}

fn whole(text: &str) -> Option<i64> {
    /// The largest magnitude whose neighbours a double can tell apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number: f64 = text.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked: whole and within the exact range"
    )]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// A number; one written as a string counts.
#[derive(Clone, Copy, Default)]
pub(super) struct Num(pub(super) Option<f64>);

impl<'json> FromJson<'json> for Num {
    fn read(&mut self, cursor: &mut Cursor<'json>) -> Option<()> {
        let (Ok(text) | Err(text)) = cursor.string()?;
        self.0 = text.parse().ok().filter(|n: &f64| n.is_finite());
        Some(())
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Bool(pub(super) Option<bool>);

impl<'json> FromJson<'json> for Bool {
    fn read(&mut self, cursor: &mut Cursor<'json>) -> Option<()> {
        let (Ok(text) | Err(text)) = cursor.string()?;
        self.0 = text.parse().ok();
        Some(())
    }
}

/// A value, and where it stands in its document: 0 where it is absent.
#[derive(Default)]
pub(super) struct Placed<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

impl<'json, T: FromJson<'json>> FromJson<'json> for Placed<T> {
    fn read(&mut self, cursor: &mut Cursor<'json>) -> Option<()> {
        self.at = cursor.place()?;
        self.value.read(cursor)
    }
}

/// A list, with room for one element before it allocates; empty where the value is
/// no list.
pub(super) struct List<T>(SmallVec<[T; 1]>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<T> std::ops::Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'json, T: FromJson<'json>> FromJson<'json> for List<T> {
    fn read(&mut self, cursor: &mut Cursor<'json>) -> Option<()> {
        self.0.clear();
        cursor.elements(|cursor| {
            if self.0.len() >= MAX_LIST {
                return cursor.skip();
            }
            self.0.push(T::default());
            self.0.last_mut()?.read(cursor)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Bool, Int, List, Num, Raw, Str, parse, read_on, wire};

    wire! {
        struct Thing<'a> {
            name: Str<'a> = "name" | "title",
            count: Int,
            ratio: Num,
            flag: Bool,
            list: List<Part<'a>>,
            part: Part<'a>,
            raw: Raw<'a>,
        }

        struct Part<'a> {
            text: Str<'a>,
        }
    }

    fn thing(text: &str) -> Thing<'_> {
        parse(text).expect("JSON")
    }

    #[test]
    fn fields_are_read_under_each_of_their_names() {
        let read = thing(r#" {"title":"a\u0062","count":3,"ratio":0.5,"flag":true} trailing"#);
        assert_eq!(read.name.string().as_deref(), Some("ab"));
        assert_eq!(
            (read.count.0, read.ratio.0, read.flag.0),
            (Some(3), Some(0.5), Some(true))
        );
    }

    #[test]
    fn a_field_of_another_type_is_absent_and_the_rest_stays() {
        let read = thing(
            r#"{"count":{"x":[1]},"name":["a"],"list":{"text":"b"},"part":7,"flag":null,
               "ratio":"2.5","unknown":[{"deep":[[]]}],"raw":null,"name":"last"}"#,
        );
        assert_eq!(read.count.0, None);
        assert_eq!(read.name.key(), "last");
        assert!(read.list.is_empty() && !read.part.text.is_some() && !read.raw.is_some());
        assert_eq!((read.ratio.0, read.flag.0), (Some(2.5), None));
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        let count = |text: &str| parse::<Int>(text).expect("JSON").0;
        assert_eq!(count("1.0"), Some(1));
        assert_eq!(count("\"12\""), Some(12));
        assert_eq!(count("1e3"), Some(1000));
        assert_eq!(count("1.5"), None);
        assert_eq!(count("1e400"), None);
        assert_eq!(count("99999999999999999999"), None);
        assert_eq!(parse::<Int>("-1").expect("JSON").count(), None);
    }

    #[test]
    fn a_list_of_anything_keeps_its_length() {
        let read = thing(r#"{"list":[{"text":"a"},3,null,{"text":"b"}]}"#);
        let texts: Vec<_> = read.list.iter().map(|p| p.text.key()).collect();
        assert_eq!(texts, ["a", "", "", "b"]);
    }

    #[test]
    fn what_is_known_of_an_object_is_not_read_again() {
        let text = r#"{"name":"a","list" : [{"text":"b"}],"count":3,"flag":true} trailing"#;
        let at = text.find('[').expect("a list");
        let read: Thing<'_> = read_on(text, at, "list");
        assert!(!read.name.is_some() && read.flag.0 == Some(true));
        assert_eq!((read.list.len(), read.count.0), (1, Some(3)));
        let cut: Thing<'_> = read_on(&text[..text.len() - 12], at, "list");
        assert!(cut.list.is_empty() && cut.count.0.is_none());
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!(
            "{{\"raw\":{}1{},\"count\":1}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let read = thing(&deep);
        assert_eq!(read.count.0, Some(1));
        assert!(read.raw.value().is_none());
    }
}
