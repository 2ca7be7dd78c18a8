//! Records as messages of the OpenTelemetry protocol.
//!
//! In: [`Outgoing`]s. Out: export requests in protobuf, each with one span or event. Such
//! requests joined end to end are one request with all of theirs: so protobuf merges
//! repeated fields, and so batches are made without decoding anything.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};
use prost::Message as _;
use serde_json::Value as Json;

use crate::enrich::trace::{Known, Trace};
use crate::event::Role;
use crate::export::Outgoing;
use crate::export::semconv::{self, Attribute, Attributes, Conventions};
use crate::redact::{Record, ServedRecord};

/// How an attribute that is a tree is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trees {
    /// As text in JSON, which is all that backends take on a span.
    Text,
    /// As what they are, which events may have.
    Structured,
}

/// How records are written.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    pub conventions: Conventions,
    /// Spans have what people and models wrote, where the record has it.
    pub content_on_spans: bool,
    /// Attributes for the resources that lack them.
    pub resource: Vec<(String, String)>,
}

impl Encoder {
    /// The span of `record`, as a whole request.
    pub fn span(&self, record: &Outgoing) -> Vec<u8> {
        let (resource, span) = match record {
            Outgoing::Call(record) => (semconv::resource(record), self.of_call(record)),
            Outgoing::Served(record) => (semconv::served_resource(record), of_served(record)),
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource(&resource)),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope()),
                    spans: vec![span],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        request.encode_to_vec()
    }

    fn of_call(&self, record: &Record) -> Span {
        let call = record.call();
        let mut attributes = semconv::spelled(record, self.conventions);
        if !self.content_on_spans {
            attributes.drop_content();
        }
        let links = record.retry_of().map(|earlier| Link {
            trace_id: trace_id(earlier.trace),
            span_id: span_id(earlier.span),
            attributes: vec![pair("llmtap.link.type", string("retry_of"))],
            ..Link::default()
        });
        Span {
            name: semconv::span_name(call),
            kind: match call.role {
                Role::Client => SpanKind::Client,
                Role::Server => SpanKind::Server,
            } as i32,
            start_time_unix_nano: record.start_unix_nanos(),
            end_time_unix_nano: record.end_unix_nanos(),
            attributes: pairs(&attributes, Trees::Text),
            links: links.into_iter().collect(),
            status: call.error.as_ref().map(|error| Status {
                code: StatusCode::Error as i32,
                message: error.message.as_deref().unwrap_or_default().to_owned(),
            }),
            ..placed(record.trace())
        }
    }

    /// The event that carries the content of `record`, as a whole request; `None` where it
    /// has none.
    pub fn event(&self, record: &Record) -> Option<Vec<u8>> {
        if !semconv::has_content(record) {
            return None;
        }
        let trace = record.trace();
        let attributes = semconv::attributes(record);
        let log = LogRecord {
            time_unix_nano: record.end_unix_nanos(),
            observed_time_unix_nano: record.end_unix_nanos(),
            severity_number: SeverityNumber::Info as i32,
            event_name: semconv::OPERATION_DETAILS.to_owned(),
            attributes: pairs(&attributes, Trees::Structured),
            trace_id: trace_id(trace.trace),
            span_id: span_id(trace.span),
            flags: 1,
            ..LogRecord::default()
        };
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource(&semconv::resource(record))),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope()),
                    log_records: vec![log],
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        Some(request.encode_to_vec())
    }

    fn resource(&self, known: &Attributes<'_>) -> Resource {
        let mut attributes = pairs(known, Trees::Text);
        for (name, value) in &self.resource {
            if attributes.iter().all(|known| known.key != *name) {
                attributes.push(pair(name, string(value.as_str())));
            }
        }
        Resource {
            attributes,
            ..Resource::default()
        }
    }
}

fn of_served(record: &ServedRecord) -> Span {
    let attributes = semconv::served_attributes(record);
    let failed = record.answer().status.is_some_and(|status| status >= 500);
    Span {
        name: record.served().method.clone().into(),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: record.start_unix_nanos(),
        end_time_unix_nano: record.end_unix_nanos(),
        attributes: pairs(&attributes, Trees::Text),
        status: failed.then(|| Status {
            code: StatusCode::Error as i32,
            message: String::new(),
        }),
        ..placed(record.trace())
    }
}

/// A span that has nothing but its place among others.
fn placed(trace: &Trace) -> Span {
    let (parent, is_remote) = match trace.parent {
        Some(parent) => (span_id(parent.span), parent.known == Known::Sent),
        None => (Vec::new(), false),
    };
    let remote = SpanFlags::ContextIsRemoteMask as u32;
    // What we send was sampled (W3C Trace Context, 3.2.2.5), whatever others did.
    let flags = 1 | SpanFlags::ContextHasIsRemoteMask as u32;
    Span {
        trace_id: trace_id(trace.trace),
        span_id: span_id(trace.span),
        parent_span_id: parent,
        trace_state: trace.state.as_deref().unwrap_or_default().to_owned(),
        flags: flags | if is_remote { remote } else { 0 },
        ..Span::default()
    }
}

/// Who made these data.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

pub(super) fn trace_id(id: u128) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

pub(super) fn span_id(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

fn pairs(attributes: &Attributes<'_>, trees: Trees) -> Vec<KeyValue> {
    attributes
        .iter()
        .map(|(name, value)| pair(name, any(value, trees)))
        .collect()
}

pub(super) fn pair(name: &str, value: AnyValue) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

pub(super) fn string(text: impl Into<String>) -> AnyValue {
    AnyValue {
        value: Some(Value::StringValue(text.into())),
    }
}

pub(super) fn bool(value: bool) -> AnyValue {
    AnyValue {
        value: Some(Value::BoolValue(value)),
    }
}

pub(super) fn int(number: i64) -> AnyValue {
    AnyValue {
        value: Some(Value::IntValue(number)),
    }
}

fn any(attribute: &Attribute<'_>, trees: Trees) -> AnyValue {
    let value = match attribute {
        Attribute::Bool(value) => Value::BoolValue(*value),
        Attribute::Int(value) => Value::IntValue(*value),
        Attribute::Double(value) => Value::DoubleValue(*value),
        Attribute::String(value) => Value::StringValue(value.clone().into_owned()),
        Attribute::Strings(values) => Value::ArrayValue(ArrayValue {
            values: values.iter().map(|text| string(&**text)).collect(),
        }),
        Attribute::Input(_) | Attribute::Output(_) | Attribute::Parts(_) | Attribute::Json(_) => {
            return tree(attribute, trees);
        }
    };
    AnyValue { value: Some(value) }
}

fn tree(attribute: &Attribute<'_>, trees: Trees) -> AnyValue {
    match trees {
        Trees::Text => text(attribute),
        // What serde_json finds too deep to be a tree stays text.
        Trees::Structured => match serde_json::to_value(attribute) {
            Ok(json) => structured(json, DEEPEST),
            Err(_) => text(attribute),
        },
    }
}

/// Strings, numbers and maps with string keys: writing them cannot fail.
fn text(attribute: &Attribute<'_>) -> AnyValue {
    string(serde_json::to_string(attribute).unwrap_or_default())
}

/// Levels of a tree; what is deeper is text. Parsers of protobuf refuse a message of more than
/// a hundred levels, of which each of these is three.
const DEEPEST: u8 = 24;

fn structured(json: Json, levels: u8) -> AnyValue {
    let Some(levels) = levels.checked_sub(1) else {
        return string(json.to_string());
    };
    let value = match json {
        Json::Null => return AnyValue::default(),
        Json::Bool(value) => Value::BoolValue(value),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::IntValue(int),
            None => Value::DoubleValue(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::StringValue(text),
        Json::Array(items) => Value::ArrayValue(ArrayValue {
            values: items
                .into_iter()
                .map(|item| structured(item, levels))
                .collect(),
        }),
        Json::Object(fields) => Value::KvlistValue(KeyValueList {
            values: fields
                .into_iter()
                .map(|(name, value)| pair(&name, structured(value, levels)))
                .collect(),
        }),
    };
    AnyValue { value: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::call::{ChatMessage, Failure, JsonText, Part};
    use crate::samples::record;

    fn spoken() -> Record {
        record(|call, origin| {
            origin.service = Some("shop".into());
            call.request.messages = vec![ChatMessage {
                role: "user".into(),
                parts: vec![Part::Text("hello".into())],
                ..ChatMessage::default()
            }];
            call.error = Some(Failure {
                kind: "429".into(),
                message: Some("slow down".into()),
            });
        })
    }

    fn encoder(conventions: Conventions, content_on_spans: bool) -> Encoder {
        Encoder {
            conventions,
            content_on_spans,
            resource: vec![
                ("service.name".into(), "not this".into()),
                ("deployment.environment.name".into(), "test".into()),
            ],
        }
    }

    fn call(record: &Record) -> Outgoing {
        Outgoing::Call(record.clone())
    }

    fn decoded(message: &[u8]) -> Vec<ResourceSpans> {
        let request = ExportTraceServiceRequest::decode(message).unwrap();
        request.resource_spans
    }

    fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
        let found = attributes.iter().find(|pair| pair.key == name)?;
        found.value.as_ref()?.value.as_ref()
    }

    #[test]
    fn a_deep_tree_is_one_that_parsers_take() {
        for depth in [30, 1_000] {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            let definition = format!("{{\"name\":\"f\",\"parameters\":{open}{close}}}");
            let record = record(|call, _| {
                call.request.tools = vec![JsonText::parse(&definition).expect("JSON")];
                call.request.messages = vec![ChatMessage::default()];
            });
            let events = encoder(Conventions::Otel, true).event(&record);
            let events = events.expect("there is content");
            let request = ExportLogsServiceRequest::decode(&*events).expect("not too deep");
            let event = &request.resource_logs[0].scope_logs[0].log_records[0];
            let told = format!("{:?}", value(&event.attributes, "gen_ai.tool.definitions"));
            assert!(told.contains("[[[") && told.contains("]]]"), "{told}");
        }
    }

    #[test]
    fn a_span_has_all_that_its_record_says() {
        let record = spoken();
        let all = decoded(&encoder(Conventions::Otel, true).span(&call(&record)));
        let resource = &all[0].resource.as_ref().unwrap().attributes;
        let shop = Value::StringValue("shop".into());
        assert_eq!(value(resource, "service.name"), Some(&shop));
        let test = Value::StringValue("test".into());
        assert_eq!(value(resource, "deployment.environment.name"), Some(&test));
        let span = &all[0].scope_spans[0].spans[0];
        assert_eq!(span.name, "chat gpt-4o-mini");
        assert_eq!(span.kind(), SpanKind::Client);
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert!(span.parent_span_id.is_empty());
        assert_eq!(
            span.end_time_unix_nano - span.start_time_unix_nano,
            1_340_000_000
        );
        let status = span.status.as_ref().unwrap();
        assert_eq!(
            (status.code(), &*status.message),
            (StatusCode::Error, "slow down")
        );
        let messages = value(&span.attributes, "gen_ai.input.messages");
        let Some(Value::StringValue(messages)) = messages else {
            panic!("no text: {messages:?}");
        };
        let messages: Json = serde_json::from_str(messages).unwrap();
        assert_eq!(messages[0]["parts"][0]["content"], "hello");
        let tokens = value(&span.attributes, "gen_ai.usage.input_tokens");
        assert_eq!(tokens, Some(&Value::IntValue(1234)));
    }

    #[test]
    fn requests_end_to_end_are_one() {
        let one = encoder(Conventions::Otel, false).span(&call(&spoken()));
        assert_eq!(decoded(&[one.clone(), one].concat()).len(), 2);
    }

    #[test]
    fn content_is_on_the_event_where_it_is_not_on_the_span() {
        let record = spoken();
        let bytes = encoder(Conventions::Both, false).span(&call(&record));
        assert!(memchr::memmem::find(&bytes, b"hello").is_none());
        let event = Encoder::default().event(&record).unwrap();
        let request = ExportLogsServiceRequest::decode(&event[..]).unwrap();
        let log = &request.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!(log.event_name, OPERATION_DETAILS_NAME);
        let all = decoded(&bytes);
        assert_eq!(log.span_id, all[0].scope_spans[0].spans[0].span_id);
        let messages = value(&log.attributes, "gen_ai.input.messages");
        assert!(
            matches!(messages, Some(Value::ArrayValue(_))),
            "{messages:?}"
        );
    }

    const OPERATION_DETAILS_NAME: &str = "gen_ai.client.inference.operation.details";

    #[test]
    fn without_content_there_is_no_event() {
        assert_eq!(Encoder::default().event(&record(|_, _| {})), None);
    }

    #[test]
    fn another_attempt_is_linked_to_the_one_before() {
        let mut again = spoken();
        again.link_retry(crate::redact::SpanRef { trace: 1, span: 2 });
        let all = decoded(&encoder(Conventions::Otel, false).span(&call(&again)));
        let [link] = &all[0].scope_spans[0].spans[0].links[..] else {
            panic!("one link");
        };
        assert_eq!(
            (&link.trace_id[..], &link.span_id[..]),
            (&1_u128.to_be_bytes()[..], &2_u64.to_be_bytes()[..],)
        );
    }
}
