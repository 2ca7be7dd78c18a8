//! Cuts a body into messages, plainly: whole bodies only, no timing, no limits.

/// A unit of a stream, or the whole.
pub enum Unit {
    Event { name: Option<String>, data: Vec<u8> },
    Exception { name: Option<String>, data: Vec<u8> },
    Whole(Vec<u8>),
}

/// The units of a response body of this content type.
pub fn units(content_type: &str, body: &[u8]) -> Vec<Unit> {
    if content_type.contains("vnd.amazon.eventstream") || has_prelude(body) {
        return aws(body);
    }
    let start = body.trim_ascii_start();
    let looks_sse = [&b"data:"[..], b"event:", b": ", b"id:"]
        .iter()
        .any(|p| start.starts_with(p));
    if content_type.contains("event-stream") || looks_sse {
        return sse(&String::from_utf8_lossy(body));
    }
    if content_type.contains("ndjson")
        || content_type.contains("stream+json")
        || lines_of_json(start)
    {
        return start
            .split(|b| *b == b'\n')
            .filter(|line| !line.trim_ascii().is_empty())
            .map(|line| event(None, line))
            .collect();
    }
    if start.starts_with(b"[") {
        let list: Result<Vec<&serde_json::value::RawValue>, _> = serde_json::from_slice(start);
        if let Ok(list) = list {
            return list
                .iter()
                .map(|e| event(None, e.get().as_bytes()))
                .collect();
        }
    }
    vec![Unit::Whole(body.to_vec())]
}

/// Whether the checksum of an event-stream prelude fits.
fn has_prelude(body: &[u8]) -> bool {
    let Some((prelude, rest)) = body.split_first_chunk::<8>() else {
        return false;
    };
    let mut crc = flate2::Crc::new();
    crc.update(prelude);
    rest.starts_with(&crc.sum().to_be_bytes())
}

fn event(name: Option<String>, data: &[u8]) -> Unit {
    Unit::Event {
        name,
        data: data.to_vec(),
    }
}

fn lines_of_json(body: &[u8]) -> bool {
    let mut lines = body
        .split(|b| *b == b'\n')
        .filter(|l| !l.trim_ascii().is_empty());
    let first = lines
        .next()
        .is_some_and(|l| serde_json::from_slice::<serde_json::Value>(l).is_ok());
    first && lines.next().is_some()
}

fn sse(text: &str) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut name = None;
    let mut data: Option<String> = None;
    for line in text.split('\n').map(|l| l.trim_end_matches('\r')) {
        if line.is_empty() {
            if let Some(data) = data.take() {
                units.push(event(name.take(), data.as_bytes()));
            }
            name = None;
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = Some(value.to_owned()),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    units
}

/// Messages of `application/vnd.amazon.eventstream`; their checksums are taken on
/// trust.
fn aws(mut body: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    while body.len() >= 16 {
        let total = u32::from_be_bytes(body[..4].try_into().unwrap()) as usize;
        let headers = u32::from_be_bytes(body[4..8].try_into().unwrap()) as usize;
        if total > body.len() || 16 + headers > total {
            break;
        }
        let (message, rest) = body.split_at(total);
        body = rest;
        let data = message[12 + headers..total - 4].to_vec();
        let (mut kind, mut name) = (String::new(), None);
        let mut head = &message[12..12 + headers];
        while let Some((key, value, rest)) = header(head) {
            match key.as_str() {
                ":message-type" => kind = value,
                ":event-type" | ":exception-type" | ":error-code" => name = Some(value),
                _ => {}
            }
            head = rest;
        }
        units.push(if kind == "event" {
            Unit::Event { name, data }
        } else {
            Unit::Exception { name, data }
        });
    }
    units
}

/// One header whose value is a string.
fn header(head: &[u8]) -> Option<(String, String, &[u8])> {
    let (len, head) = head.split_first()?;
    let (key, head) = head.split_at(usize::from(*len));
    assert_eq!(head[0], 7, "only strings are in the recordings");
    let len = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let (value, rest) = head[3..].split_at(len);
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    Some((text(key), text(value), rest))
}
