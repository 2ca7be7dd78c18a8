//! Structs that read themselves from JSON objects.

use super::Cursor;

/// A type that fills itself from a document. A value of another type leaves it as it is.
///
/// It is filled in its place, as views of many fields are dear to move.
pub(in crate::llm) trait FromJson<'a>: Default {
    /// Passes over a value; `None` where the text is no JSON from here on, or is cut.
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Option<()>;
}

/// A type that reads itself from an object, member by member.
pub(in crate::llm) trait Object<'a>: FromJson<'a> {
    /// Passes over the value of `key`.
    fn member(&mut self, cursor: &mut Cursor<'a>, key: &'a str) -> Option<()>;
}

/// Declares structs that read themselves from JSON objects. A field's key is its name,
/// or each of the names after `=`; its type is one of this file or another such struct, or
/// the parameter of this one. Anything but an object leaves the default.
macro_rules! wire {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$lt:lifetime $(, $part:ident)?>)? {
            $( $(#[$doc:meta])* $fvis:vis $field:ident : $ty:ty $(= $($key:literal)|+)? ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Default)]
        $vis struct $name $(<$lt $(, $part)?>)? {
            $( $(#[$doc])* $fvis $field: $ty, )*
        }

        impl<'json $(: $lt, $lt $(, $part: $crate::llm::json::FromJson<'json>)?)?>
            $crate::llm::json::FromJson<'json> for $name $(<$lt $(, $part)?>)?
        {
            fn read(&mut self, cursor: &mut $crate::llm::json::Cursor<'json>) -> Option<()> {
                cursor.members(|cursor, key| $crate::llm::json::Object::member(self, cursor, key))
            }
        }

        impl<'json $(: $lt, $lt $(, $part: $crate::llm::json::FromJson<'json>)?)?>
            $crate::llm::json::Object<'json> for $name $(<$lt $(, $part)?>)?
        {
            #[inline]
            fn member(
                &mut self,
                cursor: &mut $crate::llm::json::Cursor<'json>,
                key: &'json str,
            ) -> Option<()> {
                match key {
                    $( $crate::llm::json::wire!(@key $field $($($key)|+)?) => $crate::llm::json::FromJson::read(&mut self.$field, cursor), )*
                    _ => cursor.skip(),
                }
            }
        }
    )*};
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $($key:literal)|+) => { $($key)|+ };
}
pub(in crate::llm) use wire;
