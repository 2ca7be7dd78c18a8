//! A message as JSON text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::wire::{Fields, Wire, varint};
use super::{Field, Kind, Schema};
use crate::llm::text::text;

/// Fields and elements written of one message, those inside of it included: bytes
/// that nest or repeat cheaply must not grow without bound.
const MAX_FIELDS: usize = 1 << 18;

/// Nesting that is followed; `null` stands for what is deeper.
const MAX_DEPTH: usize = 100;

pub(super) fn object(schema: &Schema, message: &[u8]) -> String {
    let mut writer = Writer {
        out: Vec::with_capacity(message.len()),
        fields_left: MAX_FIELDS,
        depth: 0,
    };
    writer.message(schema, message);
    String::from_utf8(writer.out).unwrap_or_default()
}

struct Writer {
    out: Vec<u8>,
    fields_left: usize,
    depth: usize,
}

impl Writer {
    fn message(&mut self, schema: &Schema, message: &[u8]) {
        let mut found: Vec<(&Field, Wire<'_>)> = Vec::new();
        for (number, wire) in Fields(message).take(self.fields_left) {
            let known = schema.0.iter().find(|field| field.number == number);
            found.extend(known.map(|field| (field, wire)));
        }
        // Elements of one list may lie apart.
        found.sort_by_key(|(field, _)| field.number);
        let groups = found.chunk_by(|(a, _), (b, _)| a.number == b.number);
        self.braced(b'{', b'}', groups, |writer, group| {
            let Some((field, last)) = group.last() else {
                return;
            };
            let wires = group.iter().map(|(_, wire)| *wire);
            writer.key(field.key);
            match field.kind {
                Kind::Map(kind) => writer.map(kind, wires),
                kind if field.repeated => writer.list(kind, wires),
                kind => writer.value(kind, *last),
            }
        });
    }

    /// Writes `items` with commas between them, for as long as fields are left.
    fn braced<T>(
        &mut self,
        open: u8,
        close: u8,
        items: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.depth = self.depth.saturating_add(1);
        self.out.push(open);
        for (at, item) in items.enumerate() {
            let Some(left) = self.fields_left.checked_sub(1) else {
                break;
            };
            self.fields_left = left;
            if at > 0 {
                self.out.push(b',');
            }
            write(self, item);
        }
        self.out.push(close);
        self.depth = self.depth.saturating_sub(1);
    }

    fn list<'a>(&mut self, kind: Kind, wires: impl Iterator<Item = Wire<'a>>) {
        let elements = wires.flat_map(|wire| Elements::of(kind, wire));
        self.braced(b'[', b']', elements, |writer, wire| {
            writer.value(kind, wire)
        });
    }

    fn value(&mut self, kind: Kind, wire: Wire<'_>) {
        if self.depth > MAX_DEPTH {
            return self.raw("null");
        }
        match (kind, wire) {
            (Kind::Int, Wire::Varint(number)) => self.raw(&number.cast_signed().to_string()),
            (Kind::Bool, Wire::Varint(number)) => {
                self.raw(if number == 0 { "false" } else { "true" });
            }
            (Kind::Enum(names), Wire::Varint(number)) => {
                match names.iter().find(|(n, _)| *n == number) {
                    Some((_, name)) => self.text(name),
                    None => self.raw(&number.cast_signed().to_string()),
                }
            }
            (Kind::Float, Wire::Fixed32(bytes)) => {
                let number = f32::from_le_bytes(bytes);
                self.number(number.is_finite(), number);
            }
            (Kind::Double, Wire::Fixed64(bytes)) => {
                let number = f64::from_le_bytes(bytes);
                self.number(number.is_finite(), number);
            }
            (Kind::Text, Wire::Bytes(bytes)) => self.text(&text(bytes)),
            (Kind::Json, Wire::Bytes(bytes)) => self.json(&text(bytes)),
            (Kind::Bytes, Wire::Bytes(bytes)) => self.text(&STANDARD.encode(bytes)),
            (Kind::Message(schema), Wire::Bytes(bytes)) => self.message(schema, bytes),
            (Kind::Struct, Wire::Bytes(bytes)) => self.map(&Kind::Value, entries(bytes)),
            (Kind::Value, Wire::Bytes(bytes)) => self.any(bytes),
            _ => self.raw("null"),
        }
    }

    /// An object of the entries of a `map`.
    fn map<'a>(&mut self, kind: &Kind, entries: impl Iterator<Item = Wire<'a>>) {
        self.braced(b'{', b'}', entries, |writer, entry| {
            let Wire::Bytes(entry) = entry else {
                return writer.raw("\"\":null");
            };
            let last = |number| Fields(entry).filter(|(n, _)| *n == number).last();
            let key = match last(1) {
                Some((_, Wire::Bytes(key))) => text(key),
                _ => "".into(),
            };
            writer.key(&key);
            match last(2) {
                Some((_, value)) => writer.value(*kind, value),
                None => writer.raw("null"),
            }
        });
    }

    /// A `google.protobuf.Value`.
    fn any(&mut self, bytes: &[u8]) {
        match Fields(bytes).last() {
            Some((2, wire)) => self.value(Kind::Double, wire),
            Some((3, wire)) => self.value(Kind::Text, wire),
            Some((4, wire)) => self.value(Kind::Bool, wire),
            Some((5, wire)) => self.value(Kind::Struct, wire),
            Some((6, Wire::Bytes(list))) => self.list(Kind::Value, entries(list)),
            _ => self.raw("null"),
        }
    }

    /// Text that is a document itself, and any other as text.
    fn json(&mut self, document: &str) {
        match serde_json::from_str::<&RawValue>(document) {
            Ok(whole) => self.raw(whole.get()),
            Err(_) => self.text(document),
        }
    }

    fn number(&mut self, is_finite: bool, number: impl ToString) {
        if is_finite {
            self.raw(&number.to_string());
        } else {
            self.raw("null");
        }
    }

    fn key(&mut self, key: &str) {
        self.text(key);
        self.out.push(b':');
    }

    fn text(&mut self, text: &str) {
        // Memory takes all that is written to it.
        let _ = serde_json::to_writer(&mut self.out, text);
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// The values of field 1: entries of a `Struct`, elements of a `ListValue`.
fn entries(bytes: &[u8]) -> impl Iterator<Item = Wire<'_>> {
    Fields(bytes)
        .filter(|(number, _)| *number == 1)
        .map(|(_, wire)| wire)
}

/// The elements that one field of a list holds: itself, or many numbers packed.
enum Elements<'a> {
    One(Option<Wire<'a>>),
    Packed(&'a [u8]),
}

impl<'a> Elements<'a> {
    fn of(kind: Kind, wire: Wire<'a>) -> Self {
        match (kind, wire) {
            (Kind::Int | Kind::Bool | Kind::Enum(_), Wire::Bytes(bytes)) => Self::Packed(bytes),
            _ => Self::One(Some(wire)),
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Wire<'a>;

    fn next(&mut self) -> Option<Wire<'a>> {
        match self {
            Self::One(wire) => wire.take(),
            Self::Packed(bytes) => {
                let (number, rest) = varint(bytes)?;
                *bytes = rest;
                Some(Wire::Varint(number))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{many, one};
    use super::*;

    static NODE: Schema = Schema(&[
        one(1, "text", Kind::Text),
        many(2, "nodes", Kind::Message(&NODE)),
        one(3, "count", Kind::Int),
        many(4, "kinds", Kind::Enum(&[(1, "A"), (2, "B")])),
        one(5, "args", Kind::Struct),
        one(6, "heat", Kind::Float),
        one(7, "on", Kind::Bool),
        one(8, "blob", Kind::Bytes),
        one(9, "map", Kind::Map(&Kind::Int)),
        one(10, "value", Kind::Value),
        many(11, "json", Kind::Json),
    ]);

    /// A field whose value has a length.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = value.len();
        while length > 0x7f {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(value);
        bytes
    }

    #[test]
    fn known_fields_are_told_and_others_passed_over() {
        let bytes = [
            field(15, b"unknown"),
            field(2, &field(1, "a \"b\"\n漢".as_bytes())),
            b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
            field(1, b"first"),
            field(2, b""),
            field(4, &[1, 2, 9]),
            b"\x20\x01".to_vec(),
            b"\x35\x33\x33\x33\x3f\x38\x01".to_vec(),
            field(8, b"\x00\xff"),
            field(1, b"last"),
            field(9, &[&field(1, b"a")[..], b"\x10\x07"].concat()),
            field(9, &field(1, b"b")),
            field(11, b"{\"k\": [1]}"),
            field(11, b"{\"k"),
        ]
        .concat();
        let want = r#"{"text":"last","nodes":[{"text":"a \"b\"\n漢"},{}],"count":-1,"kinds":["A","B",9,"A"],"heat":0.7,"on":true,"blob":"AP8=","map":{"a":7,"b":null},"json":[{"k": [1]},"{\"k"]}"#;
        assert_eq!(object(&NODE, &bytes), want);
    }

    #[test]
    fn structs_are_plain_json() {
        let number = |n: f64| [&[0x11][..], &n.to_le_bytes()].concat();
        let entry = |key: &str, value: &[u8]| {
            field(1, &[field(1, key.as_bytes()), field(2, value)].concat())
        };
        let list = [field(1, &field(3, b"x")), field(1, &[0x20, 1])].concat();
        let object_ = [
            entry("n", &number(5.0)),
            entry("f", &number(0.5)),
            entry("bad", &number(f64::NAN)),
            entry("nothing", &[8, 0]),
            entry("list", &field(6, &list)),
            entry("inner", &field(5, &entry("k", &field(3, b"v")))),
        ]
        .concat();
        assert_eq!(
            object(&NODE, &field(5, &object_)),
            r#"{"args":{"n":5,"f":0.5,"bad":null,"nothing":null,"list":["x",true],"inner":{"k":"v"}}}"#
        );
        assert_eq!(
            object(&NODE, &field(10, &field(3, b"v"))),
            r#"{"value":"v"}"#
        );
    }

    #[test]
    fn a_value_of_another_type_is_null() {
        let bytes = [field(3, b"text"), b"\x08\x01".to_vec(), field(6, b"")].concat();
        assert_eq!(
            object(&NODE, &bytes),
            r#"{"text":null,"count":null,"heat":null}"#
        );
    }

    #[test]
    fn what_nests_or_repeats_has_an_end() {
        let mut deep = Vec::new();
        for _ in 0..1000 {
            deep = field(2, &deep);
        }
        let text = object(&NODE, &deep);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert!(text.len() < 3000);

        let wide = field(2, b"").repeat(MAX_FIELDS + 10);
        let text = object(&NODE, &wide);
        assert_eq!(text.matches("{}").count(), MAX_FIELDS - 1);
        let packed = field(4, &vec![1; MAX_FIELDS + 10]);
        assert_eq!(
            object(&NODE, &packed).matches("\"A\"").count(),
            MAX_FIELDS - 1
        );
    }

    #[test]
    fn any_bytes_give_json() {
        let whole = [
            field(
                2,
                &[field(1, b"abc"), field(5, &field(1, &field(1, b"k")))].concat(),
            ),
            field(9, &field(1, b"k")),
        ]
        .concat();
        for cut in 0..=whole.len() {
            for flip in 0..=255_u8 {
                let mut bytes = whole[..cut].to_vec();
                if let Some(last) = bytes.last_mut() {
                    *last = flip;
                }
                let text = object(&NODE, &bytes);
                let value = serde_json::from_str::<serde_json::Value>(&text);
                assert!(value.is_ok(), "{text}");
            }
        }
    }
}
