//! One JSON object a line for each call, as `replay` and `tail` print it.
//!
//! In: a [`Record`]. Out: a line without its line feed.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::semconv::{self, Attributes};
use crate::redact::Record;

/// The line of `record`.
pub fn line(record: &Record) -> serde_json::Result<String> {
    serde_json::to_string(&Line::new(record))
}

#[derive(Serialize)]
struct Line<'a> {
    name: String,
    kind: &'static str,
    trace_id: String,
    span_id: String,
    parent_span_id: Option<&'a str>,
    /// As text: a JSON number may hold 53 bits only.
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    status: Status<'a>,
    resource: Map<'a>,
    attributes: Map<'a>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

struct Map<'a>(Attributes<'a>);

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'a> Line<'a> {
    fn new(record: &'a Record) -> Self {
        let ids = semconv::ids(record);
        let error = record.call().error.as_ref();
        Self {
            name: semconv::span_name(record.call()),
            kind: semconv::span_kind(record.call()),
            trace_id: format!("{:032x}", ids.trace),
            span_id: format!("{:016x}", ids.span),
            parent_span_id: None,
            start_time_unix_nano: record.start_unix_nanos().to_string(),
            end_time_unix_nano: record.end_unix_nanos().to_string(),
            status: Status {
                code: if error.is_some() { "error" } else { "unset" },
                message: error.and_then(|e| e.message.as_deref()),
            },
            resource: Map(semconv::resource(record)),
            attributes: Map(semconv::attributes(record)),
        }
    }
}
