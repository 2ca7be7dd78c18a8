//! Messages as the schemas of the GenAI conventions spell them in JSON.
//!
//! In: messages of a call. Out: JSON, by way of [`Serialize`]. Nothing is built
//! between.

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use crate::llm::call::{ChatMessage, Media, MediaSource, Part};

/// `gen_ai.input.messages`.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a>(pub &'a [ChatMessage]);

/// `gen_ai.output.messages`: each with a reason why it ended.
#[derive(Clone, Copy, Debug)]
pub struct OutputMessages<'a> {
    pub messages: &'a [ChatMessage],
    /// As the provider spells them, one a message.
    pub reasons: &'a [Box<str>],
}

/// `gen_ai.system_instructions`.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a>(pub &'a [Part]);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|message| Message {
            message,
            reason: None,
        }))
    }
}

impl Serialize for OutputMessages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.messages.len()))?;
        for (at, message) in self.messages.iter().enumerate() {
            let spelled = message.finish_reason.as_deref();
            let spelled = spelled.or_else(|| self.reasons.get(at).map(|r| &**r));
            // The schema asks for one. A reply without had its end cut off.
            let reason = Some(spelled.map_or("error", finish_reason));
            seq.serialize_element(&Message { message, reason })?;
        }
        seq.end()
    }
}

/// The conventions' word for a provider's reason, or the provider's.
fn finish_reason(spelled: &str) -> &str {
    match spelled {
        "tool_calls" | "tool_use" | "TOOL_CALL" | "function_call" => "tool_call",
        "end_turn" | "stop_sequence" | "STOP" | "COMPLETE" | "completed" => "stop",
        "max_tokens" | "max_output_tokens" | "MAX_TOKENS" => "length",
        "refusal" | "SAFETY" | "content_filtered" | "guardrail_intervened" => "content_filter",
        other => other,
    }
}

struct Message<'a> {
    message: &'a ChatMessage,
    reason: Option<&'a str>,
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", &self.message.role)?;
        map.serialize_entry("parts", &Parts(&self.message.parts))?;
        if let Some(name) = &self.message.name {
            map.serialize_entry("name", name)?;
        }
        if let Some(reason) = self.reason {
            map.serialize_entry("finish_reason", reason)?;
        }
        map.end()
    }
}

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Typed))
    }
}

struct Typed<'a>(&'a Part);

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Part::Other(value) = self.0 {
            return other(value, serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Part::Text(text) => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("content", text)?;
            }
            Part::Reasoning(text) => {
                map.serialize_entry("type", "reasoning")?;
                map.serialize_entry("content", text)?;
            }
            Part::ToolCall {
                id,
                name,
                arguments,
            } => {
                map.serialize_entry("type", "tool_call")?;
                map.serialize_entry("id", id)?;
                map.serialize_entry("name", name)?;
                if let Some(arguments) = arguments {
                    map.serialize_entry("arguments", &Arguments(arguments))?;
                }
            }
            Part::ToolCallResponse { id, response } => {
                map.serialize_entry("type", "tool_call_response")?;
                map.serialize_entry("id", id)?;
                map.serialize_entry("response", response)?;
            }
            Part::Media(media) => media_fields::<S>(&mut map, media)?,
            Part::Other(_) => {}
        }
        map.end()
    }
}

fn media_fields<S: Serializer>(map: &mut S::SerializeMap, media: &Media) -> Result<(), S::Error> {
    let kind = match media.source {
        MediaSource::Uri(_) => "uri",
        MediaSource::File(_) => "file",
        MediaSource::Inline { .. } => "blob",
    };
    map.serialize_entry("type", kind)?;
    map.serialize_entry("modality", &media.modality)?;
    if let Some(mime_type) = &media.mime_type {
        map.serialize_entry("mime_type", mime_type)?;
    }
    match &media.source {
        MediaSource::Uri(uri) => map.serialize_entry("uri", uri),
        MediaSource::File(id) => map.serialize_entry("file_id", id),
        MediaSource::Inline { bytes } => {
            // The schema asks for the content, which is not kept.
            map.serialize_entry("content", "")?;
            map.serialize_entry("llmtap.omitted_bytes", bytes)
        }
    }
}

/// A part of a kind of its own must be an object with a `type`.
fn other<S: Serializer>(value: &serde_json::Value, serializer: S) -> Result<S::Ok, S::Error> {
    if value.get("type").is_some_and(serde_json::Value::is_string) {
        return value.serialize(serializer);
    }
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("type", "unknown")?;
    map.serialize_entry("content", value)?;
    map.end()
}

/// Arguments of a tool as they are where they are JSON, else as a string.
struct Arguments<'a>(&'a str);

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(self.0) {
            // Kept as sent: order and numbers stand. A line of output may hold no line feed.
            Ok(raw) if !self.0.contains(['\n', '\r']) => raw.serialize(serializer),
            Ok(_) => match serde_json::from_str::<serde_json::Value>(self.0) {
                Ok(value) => value.serialize(serializer),
                Err(_) => self.0.serialize(serializer),
            },
            Err(_) => self.0.serialize(serializer),
        }
    }
}
