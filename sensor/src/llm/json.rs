//! JSON of foreign make, read into typed views without losing what can be read.
//!
//! In: the text of one document. Out: structs of borrowed fields. A field of an
//! unexpected type is absent and its neighbours stay; a repeated key takes its last
//! value; unknown keys are skipped without being built. Must not know: dialects.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

/// Elements kept of any one list; the rest is skipped.
const MAX_LIST: usize = 16_384;

/// The document that `text` begins with; `None` where it is no JSON or is cut.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    T::deserialize(&mut serde_json::Deserializer::from_str(text)).ok()
}

/// Documents looked for in one text.
const MAX_DOCUMENTS: usize = 65_536;

/// The documents of `text`, one after the other, up to the first that is broken.
pub(super) fn documents(text: &str) -> Vec<&str> {
    serde_json::Deserializer::from_str(text)
        .into_iter::<&RawValue>()
        .map_while(|document| document.ok().map(RawValue::get))
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

    pub(super) fn parse<T: Deserialize<'a> + Default>(self) -> T {
        parse(self.0).unwrap_or_default()
    }

    pub(super) fn string(self) -> Str<'a> {
        Str::of(self.0)
    }

    /// The elements of a list, or the value itself where it is none.
    pub(super) fn one_or_many<T: Deserialize<'a> + Default>(self) -> List<T> {
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

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&'de RawValue>::deserialize(deserializer)?.get();
        Ok(Self(if text == "null" { "" } else { text }))
    }
}

/// A string with its escapes still in, or a number as it was written.
#[derive(Clone, Copy, Default)]
pub(super) struct Str<'a>(Option<&'a str>);

impl<'a> Str<'a> {
    fn of(raw: &'a str) -> Self {
        let quoted = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"'));
        Self(quoted.or_else(|| {
            raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                .then_some(raw)
        }))
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
        let mut text = String::with_capacity(raw.len());
        unescape(raw, &mut text);
        Some(Cow::Owned(text))
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
        unescape(self.key(), text);
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(|raw| Self::of(raw.0))
    }
}

/// Undoes the escapes of a JSON string (RFC 8259, section 7). What is no escape, and
/// a surrogate without its other half, becomes U+FFFD.
fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escape.chars();
        let c = match chars.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('u') => {
                let (c, after) = code_point(chars.as_str());
                chars = after.chars();
                c
            }
            _ => char::REPLACEMENT_CHARACTER,
        };
        out.push(c);
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// The character that follows `\u`, and what comes after it.
fn code_point(text: &str) -> (char, &str) {
    let Some((high, rest)) = code_unit(text) else {
        return (char::REPLACEMENT_CHARACTER, text);
    };
    let low = rest.strip_prefix("\\u").and_then(code_unit);
    if let Some((low, after)) = low
        && let Some(Ok(c)) = char::decode_utf16([high, low]).next()
        && c.len_utf16() == 2
    {
        return (c, after);
    }
    let c = char::from_u32(high.into()).unwrap_or(char::REPLACEMENT_CHARACTER);
    (c, rest)
}

fn code_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    Some((unit, rest))
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

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Str::deserialize(deserializer)?.key();
        Ok(Self(text.parse().ok().or_else(|| whole(text))))
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

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Str::deserialize(deserializer)?.key();
        let number = text.parse().ok();
        Ok(Self(number.filter(|n: &f64| n.is_finite())))
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Bool(pub(super) Option<bool>);

impl<'de> Deserialize<'de> for Bool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Raw::deserialize(deserializer)?.0 {
            "true" | "\"true\"" => Some(true),
            "false" | "\"false\"" => Some(false),
            _ => None,
        }))
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

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = List<T>;

            absent_unless_list!();

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(List::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = SmallVec::new();
                while list.len() < MAX_LIST {
                    match seq.next_element()? {
                        Some(element) => list.push(element),
                        None => return Ok(List(list)),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(List(list))
            }
        }
        deserializer.deserialize_any(Elements(PhantomData))
    }
}

/// The key of a member, borrowed wherever it has no escapes.
pub(super) struct Key<'a>(Cow<'a, str>);

impl Key<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Visits of values that are neither object nor list: the default.
macro_rules! absent_unless_list {
    () => {
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("any value")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Default::default())
        }
    };
}
pub(super) use absent_unless_list;

/// Declares structs that read themselves from JSON objects. A field's key is its name,
/// or each of the names after `=`; its type is one of this file or another such struct.
/// Anything but an object reads as the default.
macro_rules! wire {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$lt:lifetime>)? {
            $( $(#[$doc:meta])* $fvis:vis $field:ident : $ty:ty $(= $($key:literal)|+)? ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Default)]
        $vis struct $name $(<$lt>)? {
            $( $(#[$doc])* $fvis $field: $ty, )*
        }

        impl<'de $(: $lt, $lt)?> ::serde::Deserialize<'de> for $name $(<$lt>)? {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members $(<$lt>)? (::std::marker::PhantomData<fn() -> $name $(<$lt>)?>);

                impl<'de $(: $lt, $lt)?> ::serde::de::Visitor<'de> for Members $(<$lt>)? {
                    type Value = $name $(<$lt>)?;

                    $crate::llm::json::absent_unless_list!();

                    fn visit_seq<A: ::serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                        while seq.next_element::<::serde::de::IgnoredAny>()?.is_some() {}
                        Ok(Default::default())
                    }

                    fn visit_map<A: ::serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut this = Self::Value::default();
                        while let Some(key) = map.next_key::<$crate::llm::json::Key<'de>>()? {
                            match key.as_str() {
                                $( $crate::llm::json::wire!(@key $field $($($key)|+)?) => this.$field = map.next_value()?, )*
                                _ => { map.next_value::<::serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(this)
                    }
                }
                deserializer.deserialize_any(Members(::std::marker::PhantomData))
            }
        }
    )*};
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $($key:literal)|+) => { $($key)|+ };
}
pub(super) use wire;
