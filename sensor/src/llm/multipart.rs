//! The text fields of a `multipart/form-data` request (RFC 7578), as JSON, so that a
//! dialect reads them as it reads a JSON request. Files give their names alone.

use serde_json::{Map, Value};

/// Bytes kept of one field.
const MAX_FIELD: usize = 64 * 1024;
/// Parts looked at.
const MAX_PARTS: usize = 256;

/// The fields of `body` as a JSON object; `None` where the content type names no
/// boundary. Of several fields with one name the last counts.
pub(super) fn fields(content_type: &str, body: &[u8]) -> Option<String> {
    let boundary = parameter(content_type, "boundary")?;
    let delimiter = format!("--{boundary}");
    let mut object = Map::new();
    let finder = memchr::memmem::Finder::new(delimiter.as_bytes());
    let mut starts = finder.find_iter(body).peekable();
    let mut seen = 0_usize;
    while let Some(start) = starts.next() {
        seen = seen.saturating_add(1);
        if seen > MAX_PARTS {
            break;
        }
        let from = start.saturating_add(delimiter.len());
        let to = starts.peek().copied().unwrap_or(body.len());
        if let Some((name, value)) = body.get(from..to).and_then(field) {
            object.insert(name, value);
        }
    }
    Some(Value::Object(object).to_string())
}

/// Name and value of the part between two delimiters.
fn field(part: &[u8]) -> Option<(String, Value)> {
    let end = memchr::memmem::find(part, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(part.get(..end)?);
    let disposition = head.lines().find(|line| {
        let name = line.split(':').next().unwrap_or_default();
        name.eq_ignore_ascii_case("content-disposition")
    })?;
    let name = parameter(disposition, "name")?;
    if let Some(file) = parameter(disposition, "filename") {
        return Some((format!("{name}.filename"), file.into()));
    }
    let value = part.get(end.saturating_add(4)..)?;
    let value = value.strip_suffix(b"\r\n").unwrap_or(value);
    let value = String::from_utf8_lossy(value.get(..MAX_FIELD.min(value.len()))?);
    Some((name.to_owned(), value.into()))
}

/// A parameter of a field's value, without its quotes.
fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_fields_and_file_names_are_read() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
            --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
            Content-Type: audio/wav\r\n\r\n\x00\xff--\r\n--B--\r\n";
        let json = super::fields("multipart/form-data; boundary=\"B\"", body).unwrap();
        assert_eq!(json, r#"{"file.filename":"a.wav","model":"whisper-1"}"#);
    }
}
