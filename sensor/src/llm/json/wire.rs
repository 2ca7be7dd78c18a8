//! Structs that read themselves from JSON objects.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Visitor};

/// The key of a member, borrowed wherever it has no escapes.
pub(in crate::llm) struct Key<'a>(Cow<'a, str>);

impl Key<'_> {
    pub(in crate::llm) fn as_str(&self) -> &str {
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
pub(in crate::llm) use absent_unless_list;

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
pub(in crate::llm) use wire;
