//! One JSON object a line for each call, as `replay` and `tail` print it.
//!
//! In: a [`Record`]. Out: a line without its line feed.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::semconv::{self, Attributes, Conventions};
use crate::redact::{Record, ServedRecord};

/// The line of `record`.
pub fn line(record: &Record) -> serde_json::Result<String> {
    spelled(record, Conventions::Otel)
}

/// The same, under the names that are asked for.
pub fn spelled(record: &Record, conventions: Conventions) -> serde_json::Result<String> {
    serde_json::to_string(&Line::new(record, conventions))
}

/// The line of a request that was served, in the same form.
pub fn served_line(record: &ServedRecord) -> serde_json::Result<String> {
    serde_json::to_string(&Line::served(record))
}

#[derive(Serialize)]
struct Line<'a> {
    name: Cow<'a, str>,
    kind: &'static str,
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    /// As text: a JSON number may hold 53 bits only.
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    status: Status<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<[Link; 1]>,
    resource: Map<'a>,
    attributes: Map<'a>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

/// Another span that this one has to do with.
#[derive(Serialize)]
struct Link {
    trace_id: String,
    span_id: String,
    attributes: LinkAttributes,
}

#[derive(Serialize)]
struct LinkAttributes {
    #[serde(rename = "llmtap.link.type")]
    kind: &'static str,
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
    fn new(record: &'a Record, conventions: Conventions) -> Self {
        let trace = record.trace();
        let error = record.call().error.as_ref();
        Self {
            name: semconv::span_name(record.call()).into(),
            kind: semconv::span_kind(record.call()),
            trace_id: format!("{:032x}", trace.trace),
            span_id: format!("{:016x}", trace.span),
            parent_span_id: trace.parent.map(|p| format!("{:016x}", p.span)),
            start_time_unix_nano: record.start_unix_nanos().to_string(),
            end_time_unix_nano: record.end_unix_nanos().to_string(),
            status: Status {
                code: if error.is_some() { "error" } else { "unset" },
                message: error.and_then(|e| e.message.as_deref()),
            },
            links: record.retry_of().map(|earlier| {
                [Link {
                    trace_id: format!("{:032x}", earlier.trace),
                    span_id: format!("{:016x}", earlier.span),
                    attributes: LinkAttributes { kind: "retry_of" },
                }]
            }),
            resource: Map(semconv::resource(record)),
            attributes: Map(semconv::spelled(record, conventions)),
        }
    }

    fn served(record: &'a ServedRecord) -> Self {
        let trace = record.trace();
        Self {
            name: (&*record.served().method).into(),
            kind: "server",
            trace_id: format!("{:032x}", trace.trace),
            span_id: format!("{:016x}", trace.span),
            parent_span_id: trace.parent.map(|p| format!("{:016x}", p.span)),
            start_time_unix_nano: record.start_unix_nanos().to_string(),
            end_time_unix_nano: record.end_unix_nanos().to_string(),
            status: Status {
                code: if record.has_failed() {
                    "error"
                } else {
                    "unset"
                },
                message: None,
            },
            links: None,
            resource: Map(semconv::served_resource(record)),
            attributes: Map(semconv::served_attributes(record)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::enrich::EnrichedCall;
    use crate::enrich::cost::{Cost, Usd};
    use crate::enrich::trace::Seed;
    use crate::event::{ConnectionId, Origin, Role};
    use crate::llm::call::{
        self, Call, CallId, Capture, ChatMessage, Failure, JsonText, Media, MediaSource, Name,
        Part, Request, Response, Server, Timing, TraceContext, Usage,
    };
    use crate::redact::{Content, Policy};
    use crate::time::{ClockOffset, Timestamp};

    fn call() -> Call {
        let tool = json!({"type": "function", "name": "weather", "parameters": {}});
        let image = Media {
            modality: "image".into(),
            mime_type: Some("image/png".into()),
            source: MediaSource::Uri("https://a.example/b?sig=secret".into()),
        };
        let inline = Media {
            modality: "image".into(),
            mime_type: None,
            source: MediaSource::Inline { bytes: 99 },
        };
        let file = Media {
            modality: "document".into(),
            mime_type: None,
            source: MediaSource::File("file-1".into()),
        };
        let call_of = |arguments: &str| Part::ToolCall {
            id: Some("call_1".into()),
            name: "weather".into(),
            arguments: Some(arguments.into()),
        };
        Call {
            id: CallId(1),
            connection: ConnectionId(7),
            role: Role::Client,
            thread: None,
            goroutine: None,
            context: None,
            operation: "chat".into(),
            provider: "openai".into(),
            dialect: "openai.chat",
            server: Server {
                address: Some("api.openai.com".into()),
                port: Some(443),
                status: Some(200),
                ..Server::default()
            },
            request: Request {
                model: Some("gpt-4o".into()),
                stream: Some(true),
                choice_count: Some(1),
                temperature: Some(0.5),
                stop_sequences: vec!["END".into()],
                system: vec![Part::Text("be brief".into())],
                messages: vec![
                    ChatMessage {
                        role: "user".into(),
                        parts: vec![
                            Part::Text("mail jo@example.org".into()),
                            Part::Media(image),
                            Part::Media(inline),
                            Part::Media(file),
                        ],
                        ..ChatMessage::default()
                    },
                    ChatMessage {
                        role: "tool".into(),
                        parts: vec![Part::ToolCallResponse {
                            id: None,
                            response: json!({"mail": "jo@example.org"}),
                        }],
                        name: Some("weather".into()),
                        ..ChatMessage::default()
                    },
                ],
                tools: vec![JsonText::of(&tool).expect("JSON")],
                ..Request::default()
            },
            response: Response {
                finish_reasons: vec!["tool_calls".into()],
                messages: vec![ChatMessage {
                    role: "assistant".into(),
                    parts: vec![
                        Part::Reasoning("hm".into()),
                        call_of("{\"b\": 1.50, \"a\": 2}"),
                        call_of("{\"a\":\n 1}"),
                        call_of("{\"cut"),
                        Part::Other(json!({"type": "server_tool", "x": 1})),
                        Part::Other(json!("no object")),
                    ],
                    ..ChatMessage::default()
                }],
                ..Response::default()
            },
            usage: Usage {
                input: Some(3),
                ..Usage::default()
            },
            timing: Timing {
                start: Timestamp::from_nanos(1_000),
                end: Timestamp::from_nanos(2_000_001_000),
                first_chunk: Some(Timestamp::from_nanos(250_001_000)),
                ..Timing::default()
            },
            error: None,
            capture: Capture::default(),
            extra: vec![("openai.response.service_tier".into(), true_tier())],
        }
    }

    fn true_tier() -> crate::llm::call::Value {
        crate::llm::call::Value::String("default".into())
    }

    fn cost() -> Cost {
        Cost {
            input: Some(Usd::from_picos(100_000)),
            output: Some(Usd::from_picos(200_000)),
            cache_read: Some(Usd::default()),
            ..Cost::default()
        }
    }

    #[test]
    fn a_cost_comes_with_its_parts() {
        let mut record = enriched(|_| {});
        record.cost = Some(cost());
        record.is_estimated = true;
        let line = line(&Policy::default().apply(record)).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let costs: Vec<_> = line["attributes"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| name.starts_with("llmtap.cost.") || name.ends_with(".estimated"))
            .map(|(name, value)| (name.as_str(), value.to_string()))
            .collect();
        let expected = [
            ("llmtap.usage.estimated", "true"),
            ("llmtap.cost.usd", "3e-7"),
            ("llmtap.cost.input.usd", "1e-7"),
            ("llmtap.cost.output.usd", "2e-7"),
            ("llmtap.cost.cache_read.usd", "0.0"),
        ];
        let mut expected = expected.map(|(name, value)| (name, value.to_owned()));
        let mut costs = costs;
        costs.sort();
        expected.sort();
        assert_eq!(costs, expected);
    }

    fn printed(content: Content, change: impl FnOnce(&mut Call)) -> Value {
        let enriched = enriched(change);
        let line = line(&Policy { content }.apply(enriched)).unwrap();
        assert!(!line.contains('\n'));
        serde_json::from_str(&line).unwrap()
    }

    fn enriched(change: impl FnOnce(&mut Call)) -> EnrichedCall {
        let mut call = call();
        change(&mut call);
        let clock = ClockOffset::from_nanos(1_760_000_000_000_000_000);
        let seed = Seed {
            host: Some("box".into()),
            clock,
        };
        EnrichedCall {
            trace: seed.place(&call),
            call,
            origin: Arc::new(Origin {
                pid: Some(42),
                comm: Some("python3".into()),
                exe: Some("/usr/bin/python3.11".into()),
                peer: "[::1]:443".parse().ok(),
                ..Origin::default()
            }),
            host: seed.host,
            clock,
            cost: None,
            is_estimated: false,
        }
    }

    fn assert_valid(schema: &str, value: &Value) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/corpus/schemas")
            .join(schema);
        let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let validator = jsonschema::draft7::new(&schema).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(value)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn content_fits_the_schemas_of_the_conventions() {
        for content in [Content::Full, Content::Redacted] {
            for ended in [true, false] {
                let line = printed(content, |call| {
                    if !ended {
                        call.response.finish_reasons.clear();
                    }
                });
                let attributes = &line["attributes"];
                for (name, schema) in [
                    ("gen_ai.input.messages", "gen-ai-input-messages.json"),
                    ("gen_ai.output.messages", "gen-ai-output-messages.json"),
                    (
                        "gen_ai.system_instructions",
                        "gen-ai-system-instructions.json",
                    ),
                    ("gen_ai.tool.definitions", "gen-ai-tool-definitions.json"),
                ] {
                    assert!(attributes[name].is_array(), "{name}");
                    assert_valid(schema, &attributes[name]);
                }
            }
        }
    }

    #[test]
    fn the_schemas_refuse_what_is_wrong() {
        let wrong = json!([{"role": "assistant", "parts": []}]);
        let refused = std::panic::catch_unwind(|| {
            assert_valid("gen-ai-output-messages.json", &wrong);
        });
        assert!(refused.is_err());
    }

    #[test]
    fn a_method_of_mcp_has_the_name_of_its_tool() {
        let named = |extra: &[(&'static str, &str)]| {
            let line = printed(Content::Off, |call| {
                call.request.model = None;
                call.operation = Name::Borrowed("execute_tool");
                let extra = extra.iter();
                call.extra = extra
                    .map(|(name, value)| {
                        (Name::Borrowed(name), call::Value::String((*value).into()))
                    })
                    .collect();
            });
            line["name"].clone()
        };
        let tool = [
            ("gen_ai.tool.name", "add"),
            ("mcp.method.name", "tools/call"),
        ];
        assert_eq!(named(&tool), "tools/call add");
        assert_eq!(named(&[("mcp.method.name", "initialize")]), "initialize");
        assert_eq!(named(&tool[..1]), "execute_tool");
    }

    #[test]
    fn a_line_says_who_what_and_when() {
        let line = printed(Content::Off, |_| {});
        assert_eq!(line["name"], "chat gpt-4o");
        assert_eq!(line["kind"], "client");
        assert_eq!(line["start_time_unix_nano"], "1760000000000001000");
        assert_eq!(line["end_time_unix_nano"], "1760000002000001000");
        assert_eq!(line["status"], json!({"code": "unset"}));
        assert_eq!(
            line["resource"],
            json!({
                "service.name": "python3.11",
                "process.pid": 42,
                "process.executable.name": "python3.11",
                "process.executable.path": "/usr/bin/python3.11",
                "host.name": "box",
            })
        );
        let attributes = &line["attributes"];
        assert_eq!(attributes["gen_ai.response.time_to_first_chunk"], 0.25);
        assert_eq!(attributes["llmtap.connection.id"], 7);
        assert_eq!(attributes["openai.response.service_tier"], "default");
        assert_eq!(attributes["network.peer.address"], "::1");
        for absent in [
            "gen_ai.request.choice.count",
            "gen_ai.usage.output_tokens",
            "llmtap.capture.lost_bytes",
            "error.type",
        ] {
            assert!(attributes.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn ids_follow_from_the_call() {
        let ids = |change: fn(&mut Call)| {
            let line = printed(Content::Off, change);
            (line["trace_id"].clone(), line["span_id"].clone())
        };
        let first = ids(|_| {});
        assert_eq!(first, ids(|_| {}));
        assert_eq!(first.0.as_str().map(str::len), Some(32));
        assert_eq!(first.1.as_str().map(str::len), Some(16));
        for other in [
            ids(|call| call.id = CallId(2)),
            ids(|call| call.connection = ConnectionId(8)),
            ids(|call| call.timing.start = Timestamp::from_nanos(1)),
        ] {
            assert_ne!(first.0, other.0);
            assert_ne!(first.1, other.1);
        }
    }

    #[test]
    fn a_line_says_where_it_stands_in_its_trace() {
        let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let line = printed(Content::Off, |call| {
            call.context = TraceContext::parse(sent)
        });
        assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(line["parent_span_id"], "b7ad6b7169203331");
        let attributes = &line["attributes"];
        assert_eq!(attributes["llmtap.trace.parent.source"], "sent");
        assert_eq!(attributes["llmtap.trace.parent.confidence"], "certain");
        let alone = printed(Content::Off, |_| {});
        assert!(alone["parent_span_id"].is_null());
        assert!(
            alone["attributes"]
                .get("llmtap.trace.parent.source")
                .is_none()
        );
    }

    #[test]
    fn nothing_written_by_people_is_kept_where_content_is_off() {
        let line = printed(Content::Off, |call| {
            call.error = Some(Failure {
                kind: "400".into(),
                message: Some("jo@example.org is wrong".into()),
            });
        });
        let text = line.to_string();
        for hidden in ["example", "brief", "weather", "END", "hm"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
        assert_eq!(line["status"], json!({"code": "error"}));
        assert_eq!(line["attributes"]["error.type"], "400");
    }

    #[test]
    fn redaction_reaches_every_part() {
        let line = printed(Content::Redacted, |call| {
            call.error = Some(Failure {
                kind: "400".into(),
                message: Some("jo@example.org is wrong".into()),
            });
        });
        let text = line.to_string();
        for hidden in ["jo@example.org", "sig=secret"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
        assert_eq!(line["status"]["message"], "[email] is wrong");
        assert!(text.contains("be brief") && text.contains("https://a.example/b"));
    }

    #[test]
    fn arguments_stay_json_where_they_are() {
        let line = printed(Content::Full, |_| {});
        let parts = &line["attributes"]["gen_ai.output.messages"][0]["parts"];
        assert_eq!(parts[1]["arguments"], json!({"a": 2, "b": 1.5}));
        assert_eq!(parts[2]["arguments"], json!({"a": 1}));
        assert_eq!(parts[3]["arguments"], "{\"cut");
        assert_eq!(parts[5]["type"], "unknown");
    }
}
