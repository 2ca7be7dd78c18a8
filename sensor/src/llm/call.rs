//! A call to a model, as the OpenTelemetry GenAI conventions see one.
//!
//! Names of attributes stand in `export::semconv` alone; here are only values.
//! Unknown is `None` or empty, never zero.

use std::borrow::Cow;

use memchr::memchr2;
use serde::Serialize;
use serde_json::value::RawValue;

pub use super::timing::Gaps;
use crate::event::ConnectionId;
pub use crate::http::TraceContext;
use crate::time::Timestamp;

/// A string that is mostly one of our constants.
pub type Name = Cow<'static, str>;

/// Numbers the calls of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

#[derive(Clone, Debug)]
pub struct Call {
    pub id: CallId,
    pub connection: ConnectionId,
    /// Which side of the call the traced process is; see [`crate::event::Role`].
    pub role: crate::event::Role,
    /// The thread that moved the head of the request.
    pub thread: Option<u32>,
    /// In a program of Go, the goroutine that asks or serves: one that writes for another does
    /// not count. See [`crate::event::Origin::goroutine`].
    pub goroutine: Option<u32>,
    /// The trace that the request says it belongs to.
    pub context: Option<TraceContext>,
    /// `gen_ai.operation.name`, or a name of our own where it has none.
    pub operation: Name,
    /// `gen_ai.provider.name`.
    pub provider: Name,
    /// Wire dialect, as `openai.chat`.
    pub dialect: &'static str,
    pub server: Server,
    pub request: Request,
    pub response: Response,
    pub usage: Usage,
    pub timing: Timing,
    pub error: Option<Failure>,
    pub capture: Capture,
    /// Attributes that only one provider or protocol has (`aws.bedrock.guardrail.id`,
    /// `openai.response.service_tier`, `mcp.method.name`, rate limits, …), each under
    /// its full name.
    pub extra: Vec<(Name, Value)>,
}

/// Under which a call that is a message has the id of the message, as text.
pub const MESSAGE_ID: &str = "jsonrpc.request.id";

impl Call {
    /// Of several calls under way on one connection it tells which; the same at both ends.
    pub fn message_id(&self) -> Option<&str> {
        match self.extra.iter().find(|(name, _)| name == MESSAGE_ID) {
            Some((_, Value::String(id))) => Some(id),
            _ => None,
        }
    }
}

/// Where the request went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    pub address: Option<Box<str>>,
    pub port: Option<u16>,
    /// Where in a cloud, as the host's name or the response says.
    pub region: Option<Box<str>>,
    /// The request's path without query.
    pub path: Option<Box<str>>,
    pub status: Option<u16>,
    /// The provider's id for the exchange (`x-request-id`, `request-id`, …).
    pub request_id: Option<Box<str>>,
    pub user_agent: Option<Box<str>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    pub model: Option<Box<str>>,
    pub stream: Option<bool>,
    pub max_tokens: Option<i64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub stop_sequences: Vec<Box<str>>,
    pub seed: Option<i64>,
    pub choice_count: Option<i64>,
    pub reasoning_level: Option<Box<str>>,
    /// `text`, `json`, `image`, `speech`.
    pub output_type: Option<Name>,
    pub encoding_formats: Vec<Box<str>>,
    pub embedding_dimensions: Option<i64>,
    pub conversation_id: Option<Box<str>>,
    pub system: Vec<Part>,
    pub messages: Vec<ChatMessage>,
    /// Their definitions, as `gen-ai-tool-definitions.json` has them.
    pub tools: Vec<JsonText>,
    /// Sum and length of the body: two requests with the same are the same. `None` where
    /// not all of it was seen.
    pub fingerprint: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    pub id: Option<Box<str>>,
    pub model: Option<Box<str>>,
    /// One a choice, as the provider spells it.
    pub finish_reasons: Vec<Box<str>>,
    /// One a choice.
    pub messages: Vec<ChatMessage>,
}

/// Tokens as the conventions count them: input includes cached, output includes
/// reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    pub reasoning: Option<u64>,
}

/// Kernel times of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// First byte of the request.
    pub start: Timestamp,
    /// Last byte of the response that was seen.
    pub end: Timestamp,
    /// Completion of the first event of a streamed response.
    pub first_chunk: Option<Timestamp>,
    /// Completion of the first event that carries content.
    pub first_content: Option<Timestamp>,
    /// Completion of the last event of a streamed response.
    pub last_chunk: Option<Timestamp>,
    /// Completion of the last event that carries content.
    pub last_content: Option<Timestamp>,
    /// Time between the events that carry content.
    pub gaps: Gaps,
    /// Events of a streamed response that carry content.
    pub chunks: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `error.type`: a status code, the provider's type, or `stream_interrupted`.
    pub kind: Name,
    /// The provider's words. Content: subject to redaction.
    pub message: Option<Box<str>>,
}

/// How much of the call was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    pub completeness: Completeness,
    /// Bytes of request and response known to be missing.
    pub lost_bytes: u64,
    /// A size limit cut the request or the response.
    pub truncated: bool,
    /// Some head field was unknown (joined amid an HTTP/2 connection), so that the
    /// provider or model may be less exact.
    pub inferred: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completeness {
    #[default]
    Complete,
    /// A limit cut it.
    Truncated,
    /// Bytes are missing.
    Gap,
    /// Its end was not seen.
    Unfinished,
}

/// A message as `gen-ai-input-messages.json` and `gen-ai-output-messages.json` have it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatMessage {
    pub role: Name,
    pub parts: Vec<Part>,
    pub name: Option<Box<str>>,
    /// Only in output messages.
    pub finish_reason: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(String),
    Reasoning(String),
    ToolCall {
        id: Option<Box<str>>,
        name: Box<str>,
        /// As sent: mostly JSON text, sometimes cut.
        arguments: Option<String>,
    },
    ToolCallResponse {
        id: Option<Box<str>>,
        response: serde_json::Value,
    },
    /// Image, audio, video or document by reference; bytes themselves are not kept.
    Media(Media),
    /// A kind the schemas leave open, as the provider sent it, with its `type`.
    Other(serde_json::Value),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `image`, `audio`, `video`, `document`.
    pub modality: Name,
    pub mime_type: Option<Box<str>>,
    pub source: MediaSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    Uri(Box<str>),
    File(Box<str>),
    /// Inline data of so many bytes (as encoded), not kept.
    Inline {
        bytes: u64,
    },
}

/// A JSON value as its text, on one line: what is passed on need not be taken apart.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// `None` where it is no JSON.
    pub fn of<T: Serialize>(value: &T) -> Option<Self> {
        serde_json::value::to_raw_value(value).map(Self).ok()
    }

    /// Of the text of a value; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        // Lines end between tokens alone, where that says nothing.
        match memchr2(b'\n', b'\r', text.as_bytes()) {
            Some(_) => Self::of(&serde_json::from_str::<serde_json::Value>(text).ok()?),
            None => Some(Self(raw.to_owned())),
        }
    }

    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The value built as a tree; `None` where it is nested too deep.
    pub fn value(&self) -> Option<serde_json::Value> {
        serde_json::from_str(self.text()).ok()
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Double(f64),
    String(Box<str>),
    Strings(Vec<Box<str>>),
}

#[cfg(test)]
mod tests {
    use super::JsonText;

    #[test]
    fn a_text_of_json_is_as_it_was_sent_but_on_one_line() {
        let text = |sent| JsonText::parse(sent).map(|json| json.text().to_owned());
        let sent = r#"{"b": 1.50, "a": "x\n"}"#;
        assert_eq!(text(sent).as_deref(), Some(sent));
        let lines = text("{\"b\":\n [1,\r\n2]}");
        assert_eq!(lines.as_deref(), Some(r#"{"b":[1,2]}"#));
        for none in ["", "{\"a\":", "{} {}"] {
            assert_eq!(text(none), None, "{none}");
        }
    }
}
