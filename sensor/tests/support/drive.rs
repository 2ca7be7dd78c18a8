//! Feeds one interaction to a draft.

use std::io::Read;

use base64::Engine;
use llmtap::content::{Body, Message, MessageKind};
use llmtap::event::{ConnectionId, Missing, Origin, Role};
use llmtap::http::head::{Fields, RequestHead, ResponseHead, Version};
use llmtap::llm::call::{Call, CallId, Capture};
use llmtap::llm::{Draft, Options, Session};
use llmtap::time::Timestamp;
use serde_json::Value;

use super::framing::{Unit, units};

/// A request and its response, framing removed.
pub struct Interaction {
    pub method: String,
    pub url: String,
    pub request_fields: Fields,
    pub request: Vec<u8>,
    pub status: u16,
    pub response_fields: Fields,
    pub response: Vec<Unit>,
    pub trailers: Fields,
}

impl Interaction {
    /// From a case of our own.
    pub fn of_case(case: &Value) -> Self {
        let (request, response) = (&case["request"], &case["response"]);
        let bytes = |body: &Value| match body {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        };
        let event = |event: &Value| {
            let name = event["event"].as_str().map(str::to_owned);
            let data = match event["message"].as_str() {
                Some(message) => decoded_base64(message),
                None => bytes(&event["data"]),
            };
            match event["exception"].as_str() {
                Some(exception) => Unit::Exception {
                    name: Some(exception.to_owned()),
                    data,
                },
                None => Unit::Event { name, data },
            }
        };
        let units = match response["events"].as_array() {
            Some(events) => events.iter().map(event).collect(),
            None => vec![Unit::Whole(bytes(&response["body"]))],
        };
        Self {
            method: request["method"].as_str().unwrap_or("POST").to_owned(),
            url: request["url"].as_str().expect("a URL").to_owned(),
            request_fields: named(&request["fields"]),
            request: match request["message"].as_str() {
                Some(message) => grpc(&decoded_base64(message)),
                None => bytes(&request["body"]),
            },
            status: response["status"].as_u64().unwrap_or(200) as u16,
            response_fields: named(&response["fields"]),
            response: units,
            trailers: named(&response["trailers"]),
        }
    }

    /// From a line of a recording of gRPC, whose messages stand alone.
    pub fn of_grpc(record: &Value) -> Self {
        let messages = |key: &str| {
            let list = record[key].as_array().into_iter().flatten();
            let texts = list.filter_map(Value::as_str);
            texts.map(decoded_base64).collect::<Vec<_>>()
        };
        let events = messages("resp_messages_b64").into_iter();
        Self {
            request: messages("req_messages_b64")
                .iter()
                .flat_map(|m| grpc(m))
                .collect(),
            response: events
                .map(|data| Unit::Event { name: None, data })
                .collect(),
            trailers: named(&serde_json::json!({ "grpc-status": "0" })),
            ..Self::of(record)
        }
    }

    /// From a line of a recording.
    pub fn of(record: &Value) -> Self {
        let bytes = |key: &str| decoded_base64(record[key].as_str().unwrap_or_default());
        let mut response = bytes("resp_body");
        let response_fields = fields(&record["resp_headers"]);
        if record["resp_compressed"] == true {
            response = decoded(response_fields.first("content-encoding"), &response);
        }
        let content_type = response_fields.first("content-type").unwrap_or_default();
        let response = units(content_type, &response);
        Self {
            method: record["method"].as_str().unwrap_or("POST").to_owned(),
            url: record["url"].as_str().unwrap_or_default().to_owned(),
            request_fields: fields(&record["req_headers"]),
            request: bytes("req_body"),
            status: record["status"].as_u64().unwrap_or(200) as u16,
            response_fields,
            response,
            trailers: Fields::default(),
        }
    }
}

fn decoded_base64(text: &str) -> Vec<u8> {
    base64::prelude::BASE64_STANDARD
        .decode(text)
        .expect("base64")
}

/// A message with its length before it.
fn grpc(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

fn decoded(coding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // What was recorded of a stream may lack its end.
    let _ = match coding {
        Some("br") => brotli_decompressor::Decompressor::new(body, 4096).read_to_end(&mut out),
        _ => flate2::read::MultiGzDecoder::new(body).read_to_end(&mut out),
    };
    out
}

fn named(object: &Value) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in object.as_object().into_iter().flatten() {
        fields.push(name, value.as_str().expect("text"));
    }
    fields
}

fn fields(list: &Value) -> Fields {
    let mut fields = Fields::default();
    for pair in list.as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (pair[0].as_str(), pair[1].as_str()) {
            fields.push(name, value);
        }
    }
    fields
}

/// The call that comes of an interaction; every step takes a microsecond.
pub fn drive(it: &Interaction, content: bool) -> Option<Call> {
    let mut steps = Steps::begin(it, content, true)?;
    steps.answer(it);
    steps.finish()
}

/// As [`drive`], but the path of the request was not seen.
pub fn drive_without_path(it: &Interaction) -> Option<Call> {
    let mut steps = Steps::begin(it, true, false)?;
    steps.answer(it);
    steps.finish()
}

/// As [`drive`], but of the reply only `body` was seen.
pub fn drive_cut(it: &Interaction, body: &[u8]) -> Option<Call> {
    let mut steps = Steps::begin(it, true, true)?;
    let at = steps.now();
    let missing = Missing { lost: 1, cut: 0 };
    let body = Body {
        missing,
        ..whole(body)
    };
    steps.draft.response_body(at, body);
    steps.finish()
}

/// A draft on its way.
struct Steps {
    draft: Box<Draft>,
    nanos: u64,
}

impl Steps {
    fn begin(it: &Interaction, content: bool, path: bool) -> Option<Self> {
        let rest = it.url.split_once("://").map_or(&*it.url, |(_, rest)| rest);
        let (authority, _) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
        let target = rest.strip_prefix(authority).unwrap_or_default();
        let head = RequestHead {
            method: it.method.as_str().into(),
            authority: Some(authority.into()),
            target: path.then(|| target.into()),
            fields: it.request_fields.clone(),
            version: Version::Http11,
            partial: !path,
        };
        let began = Timestamp::from_nanos(1_000);
        let mut draft = Draft::new(began, &head, &Origin::default(), Options { content })?;
        let asked = draft.request(whole(&it.request));
        let mut steps = Self {
            draft,
            nanos: 1_000,
        };
        let at = steps.now();
        let head = ResponseHead {
            status: Some(it.status),
            fields: it.response_fields.clone(),
            partial: false,
        };
        steps.draft.response_head(at, &head);
        asked.then_some(steps)
    }

    fn now(&mut self) -> Timestamp {
        self.nanos += 1_000;
        Timestamp::from_nanos(self.nanos)
    }

    fn answer(&mut self, it: &Interaction) {
        for unit in &it.response {
            let (kind, name, data) = match unit {
                Unit::Event { name, data } => (MessageKind::Event, name.as_deref(), data),
                Unit::Exception { name, data } => (MessageKind::Exception, name.as_deref(), data),
                Unit::Whole(data) => (MessageKind::Whole, None, data),
            };
            let at = self.now();
            self.draft.response_message(Message {
                at,
                kind,
                name,
                data,
            });
        }
        self.draft.response_trailers(&it.trailers);
    }

    fn finish(mut self) -> Option<Call> {
        let end = self.now();
        let call = self.draft.finish(
            CallId(1),
            ConnectionId(1),
            Role::Client,
            end,
            Capture::default(),
        );
        call.map(|call| *call)
    }
}

pub fn whole(bytes: &[u8]) -> Body<'_> {
    Body {
        head: bytes,
        tail: &[],
        missing: Missing::NONE,
    }
}

/// The calls of a recorded WebSocket; a path is made up where the recording has none.
pub fn converse(record: &Value) -> Vec<Call> {
    let target = match record["provider"].as_str() {
        Some("gcp.gemini") => "/ws/google.ai.v1beta.GenerativeService.BidiGenerateContent",
        _ => "/v1/realtime?model=gpt-realtime",
    };
    let mut fields = Fields::default();
    fields.push("Upgrade", "websocket");
    let head = RequestHead {
        method: "GET".into(),
        target: Some(target.into()),
        fields,
        ..RequestHead::default()
    };
    let options = Options { content: true };
    let mut session = Session::new(&head, &Origin::default(), options).expect("a session");
    let mut calls = Vec::new();
    let mut at = 0;
    for message in record["ws_messages"].as_array().into_iter().flatten() {
        at += 1_000;
        let data = match &message["data"] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let sender = match message["direction"].as_str() {
            Some("client") => Role::Client,
            _ => Role::Server,
        };
        let now = Timestamp::from_nanos(at);
        if let Some(draft) = session.message(now, sender, data.as_bytes()) {
            let capture = Capture::default();
            let call = draft.finish(CallId(1), ConnectionId(1), Role::Client, now, capture);
            calls.extend(call.map(|call| *call));
        }
    }
    calls
}
