//! What is said in reply to which request.

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::protobuf;

mod anthropic;
mod bedrock;
mod gemini;
mod ollama;
mod openai;
mod xai;

/// A secret that every reply sets; it must turn up nowhere.
pub const SET_COOKIE: &str = "session=canary-cookie-3f9a61";

/// The rate limit that every reply tells.
pub const RATE_LIMIT_LEFT: u64 = 4_999;

/// A reply before coding.
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    /// One piece, or the pieces of a stream.
    pub pieces: Vec<Bytes>,
    pub streamed: bool,
    /// `grpc-status` and its words; the pieces are messages without their frames.
    pub grpc: Option<(u8, &'static str)>,
    pub said: Said,
}

/// The meaning of a reply, however it is spelled.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub id: String,
    pub model: String,
    pub text: String,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// A request as far as a reply depends on it.
pub struct Asked<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub body: &'a [u8],
    /// An error to give.
    pub status: Option<u16>,
    /// Words to add.
    pub words: usize,
    /// Unique among all exchanges.
    pub serial: String,
}

impl Reply {
    fn json(said: Said, body: &Value) -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            pieces: vec![body.to_string().into()],
            streamed: false,
            grpc: None,
            said,
        }
    }

    /// A reply that went well, in messages.
    fn grpc(said: Said, messages: impl IntoIterator<Item = protobuf::Message>) -> Self {
        let messages = messages.into_iter();
        Self {
            content_type: "application/grpc",
            pieces: messages.map(|m| m.into_bytes().into()).collect(),
            grpc: Some((0, "")),
            ..Self::json(said, &Value::Null)
        }
    }

    /// A stream of server-sent events; a name may be empty.
    fn events(said: Said, events: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let pieces = events
            .into_iter()
            .map(|(name, data)| match name {
                "" => format!("data: {data}\n\n").into(),
                _ => format!("event: {name}\ndata: {data}\n\n").into(),
            })
            .collect();
        Self {
            status: 200,
            content_type: "text/event-stream; charset=utf-8",
            pieces,
            streamed: true,
            grpc: None,
            said,
        }
    }
}

/// The reply to a request.
pub fn to(asked: &Asked<'_>) -> Reply {
    if let Some(status) = asked.status {
        return error(asked, status);
    }
    let request: Value = serde_json::from_slice(asked.body).unwrap_or_default();
    let said = say(asked, &request);
    match (asked.method, asked.path) {
        (&Method::POST, "/v1/chat/completions") => openai::chat(&request, said),
        (&Method::POST, "/v1/responses") => openai::responses(&request, said),
        (&Method::POST, "/v1/embeddings") => openai::embeddings(said),
        (&Method::POST, "/v1/messages") => anthropic::messages(&request, said),
        (&Method::POST, "/api/chat") => ollama::chat(&request, said),
        (&Method::POST, "/xai_api.Chat/GetCompletion") => xai::completion(said),
        (&Method::POST, "/xai_api.Chat/GetCompletionChunk") => xai::chunks(said),
        (&Method::POST, path) if path.starts_with("/model/") => {
            let action = path.rsplit('/').next().unwrap_or_default();
            bedrock::model(action, said).unwrap_or_else(|| error(asked, 404))
        }
        (&Method::POST, path) if path.contains("/models/") => {
            let place = path.rsplit('/').next().unwrap_or_default();
            gemini::models(place, said).unwrap_or_else(|| error(asked, 404))
        }
        (&Method::GET, path) if path.starts_with("/bytes/") => bytes(path),
        (&Method::POST, "/echo") => Reply {
            content_type: "application/octet-stream",
            pieces: vec![Bytes::copy_from_slice(asked.body)],
            ..Reply::json(Said::default(), &Value::Null)
        },
        _ => error(asked, 404),
    }
}

fn say(asked: &Asked<'_>, request: &Value) -> Said {
    let text = text_of(asked.body, asked.words);
    Said {
        id: asked.serial.clone(),
        model: request["model"].as_str().unwrap_or("unnamed").to_owned(),
        input_tokens: asked.body.len() as u64 / 4 + 1,
        output_tokens: tokens(&text).count() as u64,
        text,
    }
}

/// What is said in reply to a request whose body is `body`.
pub fn text_of(body: &[u8], words: usize) -> String {
    let mut text = format!(
        "{} bytes came, with the sum {}. Grüße, 漢字, 🦀!",
        body.len(),
        hex(&Sha256::digest(body))
    );
    for n in 0..words {
        text += &format!(" word{n}");
    }
    text
}

/// The text in the pieces in which it is streamed.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A document of so many bytes that is no reply of a model.
fn bytes(path: &str) -> Reply {
    let length = path
        .trim_start_matches("/bytes/")
        .parse()
        .unwrap_or(0_usize)
        .min(64 << 20);
    Reply {
        content_type: "application/octet-stream",
        pieces: vec![vec![b'.'; length].into()],
        ..Reply::json(Said::default(), &Value::Null)
    }
}

fn error(asked: &Asked<'_>, status: u16) -> Reply {
    if asked.path.starts_with("/xai_api.") {
        let grpc = match status {
            401 => (16, "Invalid%20API%20key."),
            404 => (5, "No such model."),
            429 => (8, "Rate limit reached."),
            _ => (13, "The server had an error."),
        };
        return Reply {
            grpc: Some(grpc),
            ..Reply::grpc(Said::default(), [])
        };
    }
    let body = if asked.path == "/v1/messages" {
        anthropic::error(status, &asked.serial)
    } else {
        openai::error(status)
    };
    Reply {
        status,
        ..Reply::json(Said::default(), &body)
    }
}
