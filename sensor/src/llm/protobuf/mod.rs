//! Messages of Protocol Buffers, read by the field numbers that are known.
//!
//! In: the bytes of one message and a [`Schema`]. Out: the message as JSON text, so that
//! a dialect reads it as it reads all others. What the schema does not name is passed
//! over. Must not know: gRPC, dialects.

use std::borrow::Cow;

use super::text::text;

mod json;
mod wire;

/// What is known of a message type.
#[derive(Debug)]
pub(in crate::llm) struct Schema(pub(in crate::llm) &'static [Field]);

/// A field that is known.
#[derive(Debug)]
pub(in crate::llm) struct Field {
    number: u32,
    /// What JSON calls it.
    key: &'static str,
    kind: Kind,
    /// A list, which JSON gathers at one place.
    repeated: bool,
}

/// The type of a field, as far as it decides how its bytes are read.
#[derive(Clone, Copy, Debug)]
pub(in crate::llm) enum Kind {
    /// `int32`, `int64`, `uint32`, `uint64`.
    Int,
    Bool,
    Float,
    Double,
    Text,
    /// Text that is itself JSON.
    Json,
    /// Base64 in JSON.
    Bytes,
    /// Names of numbers; a number that has none stays one.
    Enum(&'static [(u64, &'static str)]),
    Message(&'static Schema),
    /// A `map` with keys of text: an object, never a list.
    Map(&'static Kind),
    /// `google.protobuf.Struct`: any object.
    Struct,
    /// `google.protobuf.Value`: any JSON.
    Value,
}

/// A field that comes once; of several, the last counts.
pub(in crate::llm) const fn one(number: u32, key: &'static str, kind: Kind) -> Field {
    Field {
        number,
        key,
        kind,
        repeated: false,
    }
}

/// A field that comes any number of times.
pub(in crate::llm) const fn many(number: u32, key: &'static str, kind: Kind) -> Field {
    Field {
        number,
        key,
        kind,
        repeated: true,
    }
}

impl Schema {
    /// A message as a JSON object; one that is JSON already, which no message of these
    /// begins like, as it is. Of one that is cut or broken, the fields before.
    pub(in crate::llm) fn read<'a>(&self, message: &'a [u8]) -> Cow<'a, str> {
        if message.starts_with(b"{") {
            return text(message);
        }
        Cow::Owned(json::object(self, message))
    }
}
