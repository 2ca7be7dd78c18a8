//! Units of a stream in the framing that they came in.

use crate::content::Kind;

/// Writes the units of one content.
#[derive(Debug, Default)]
pub struct Encoder {
    is_begun: bool,
}

impl Encoder {
    pub fn unit(
        &mut self,
        kind: Kind,
        is_exception: bool,
        name: Option<&str>,
        data: &[u8],
    ) -> Vec<u8> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        match kind {
            Kind::Sse => sse(name, data),
            Kind::EventStream => event_stream(is_exception, name, data),
            Kind::Ndjson => [data, b"\n"].concat(),
            Kind::JsonArray if is_first => [b"[", data].concat(),
            Kind::JsonArray => [b",\n", data].concat(),
            Kind::Grpc => grpc(name, data),
            Kind::Whole => data.to_vec(),
        }
    }

    /// What a complete content ends with.
    pub fn end(&self, kind: Kind) -> &'static [u8] {
        match (kind, self.is_begun) {
            (Kind::JsonArray, true) => b"]",
            (Kind::JsonArray, false) => b"[]",
            _ => b"",
        }
    }
}

/// A server-sent event (WHATWG HTML, 9.2).
fn sse(name: Option<&str>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend(name.bytes().filter(|b| !b.is_ascii_control()));
        out.push(b'\n');
    }
    for line in data.split(|b| *b == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

/// A message of AWS's event stream: lengths and their checksum, headers, payload, and
/// the checksum of all.
fn event_stream(is_exception: bool, name: Option<&str>, data: &[u8]) -> Vec<u8> {
    /// Lengths with their checksum, and the checksum at the end.
    const FRAME: usize = 16;
    let (message_type, name_header) = match is_exception {
        true => ("exception", ":exception-type"),
        false => ("event", ":event-type"),
    };
    let mut headers = Vec::new();
    string_header(&mut headers, ":message-type", message_type);
    if let Some(name) = name {
        string_header(&mut headers, name_header, name);
    }
    let total = headers
        .len()
        .saturating_add(data.len())
        .saturating_add(FRAME);
    let mut out = Vec::with_capacity(total);
    for length in [total, headers.len()] {
        out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(data);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

fn string_header(out: &mut Vec<u8>, name: &str, value: &str) {
    const STRING: u8 = 7;
    let (Ok(name_len), Ok(len)) = (u8::try_from(name.len()), u16::try_from(value.len())) else {
        return;
    };
    out.push(name_len);
    out.extend_from_slice(name.as_bytes());
    out.push(STRING);
    out.extend(len.to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// A length-prefixed message of gRPC, not compressed.
fn grpc(name: Option<&str>, data: &[u8]) -> Vec<u8> {
    const TRAILERS: u8 = 0x80;
    let flag = if name == Some("trailers") {
        TRAILERS
    } else {
        0
    };
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut out = vec![flag];
    out.extend(len.to_be_bytes());
    out.extend_from_slice(data);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Content, Limits, MessageKind};
    use crate::stream::Segment;
    use crate::time::Timestamp;

    /// Units as they are told: whether an exception, name, data.
    type Told = Vec<(bool, Option<String>, String)>;

    fn read(content_type: &str, bytes: &[u8]) -> Told {
        let mut told = Told::new();
        let mut take = |message: crate::content::Message<'_>| {
            told.push((
                message.kind == MessageKind::Exception,
                message.name.map(str::to_owned),
                String::from_utf8(message.data.to_vec()).unwrap(),
            ));
        };
        let mut content = Content::stream(Some(content_type), None, Limits::default());
        let at = Timestamp::default();
        content.feed(at, Segment::Data(bytes), &mut take);
        content.finish(at, true, &mut take);
        assert_eq!(content.faults(), crate::content::Faults::default());
        told
    }

    #[test]
    fn what_is_written_is_read_as_the_same_units() {
        let unit = |exception, name: Option<&str>, data: &str| {
            (exception, name.map(str::to_owned), data.to_owned())
        };
        let plain = vec![
            unit(false, None, r#"{"a":1}"#),
            unit(false, None, r#"{"b":2}"#),
        ];
        let named = vec![
            unit(false, Some("delta"), r#"{"a":1}"#),
            unit(false, None, "[DONE]"),
        ];
        let failing = vec![
            unit(false, Some("chunk"), r#"{"a":1}"#),
            unit(true, Some("throttlingException"), r#"{"b":2}"#),
        ];
        for (kind, content_type, units) in [
            (Kind::Sse, "text/event-stream", &named),
            (Kind::Ndjson, "application/x-ndjson", &plain),
            (Kind::JsonArray, "application/json", &plain),
            (
                Kind::EventStream,
                "application/vnd.amazon.eventstream",
                &failing,
            ),
            (Kind::Grpc, "application/grpc", &plain),
        ] {
            let mut encoder = Encoder::default();
            let mut bytes = Vec::new();
            for (exception, name, data) in units {
                bytes.extend(encoder.unit(kind, *exception, name.as_deref(), data.as_bytes()));
            }
            bytes.extend(encoder.end(kind));
            assert_eq!(&read(content_type, &bytes), units, "{kind:?}");
        }
    }
}
