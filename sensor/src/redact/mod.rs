//! Decides what of a call may leave this process.
//!
//! In: [`EnrichedCall`]s. Out: [`Record`]s, which nothing else can make. Must not
//! know: where they go.

use std::sync::Arc;

use crate::engine::{Answered, Served};
use crate::enrich::cost::{self, Cost};
use crate::enrich::trace::Trace;
use crate::enrich::{EnrichedCall, EnrichedRequest};
use crate::event::Origin;
use crate::llm::Call;
use crate::llm::call::{ChatMessage, MediaSource, Part, Value};
use crate::time::ClockOffset;

pub mod rules;
mod stream;

pub use stream::TextStream;

/// How much of what people and models wrote is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// None: numbers and names alone.
    #[default]
    Off,
    /// With keys, addresses and numbers of people masked; see [`rules`].
    Redacted,
    Full,
}

/// What to hide.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    pub content: Content,
}

/// A finished call with everything removed that was to be hidden: all that an
/// exporter ever sees.
#[derive(Clone, Debug)]
pub struct Record {
    call: Call,
    origin: Arc<Origin>,
    host: Option<Arc<str>>,
    clock: ClockOffset,
    trace: Trace,
    cost: Option<Cost>,
    is_estimated: bool,
}

impl Record {
    pub fn call(&self) -> &Call {
        &self.call
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Where its span stands.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    pub fn cost(&self) -> Option<&Cost> {
        self.cost.as_ref()
    }

    /// Whether its tokens were counted by us, not by its provider.
    pub fn is_estimated(&self) -> bool {
        self.is_estimated
    }

    /// Whether it should have a cost and has none.
    pub fn is_unpriced(&self) -> bool {
        cost::is_unpriced(&self.call, self.cost())
    }

    pub fn start_unix_nanos(&self) -> u64 {
        self.clock.unix_nanos(self.call.timing.start)
    }

    pub fn end_unix_nanos(&self) -> u64 {
        self.clock.unix_nanos(self.call.timing.end)
    }
}

/// A request that a process served, for which it made calls, with everything removed that
/// was to be hidden: the span that those calls stand below.
#[derive(Clone, Debug)]
pub struct ServedRecord {
    served: Box<Served>,
    answer: Answered,
    origin: Arc<Origin>,
    host: Option<Arc<str>>,
    clock: ClockOffset,
    trace: Trace,
}

impl ServedRecord {
    pub fn served(&self) -> &Served {
        &self.served
    }

    pub fn answer(&self) -> &Answered {
        &self.answer
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Where its span stands.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    pub fn start_unix_nanos(&self) -> u64 {
        self.clock.unix_nanos(self.served.began)
    }

    pub fn end_unix_nanos(&self) -> u64 {
        self.clock.unix_nanos(self.answer.at)
    }
}

impl Policy {
    /// Paths of a service of the user's own may name people.
    pub fn apply_served(&self, enriched: EnrichedRequest) -> ServedRecord {
        let EnrichedRequest {
            mut served,
            answer,
            origin,
            host,
            clock,
            trace,
        } = enriched;
        if self.content != Content::Full
            && let Some(path) = &mut served.path
        {
            mask_boxed(path);
        }
        ServedRecord {
            served,
            answer,
            origin,
            host,
            clock,
            trace,
        }
    }

    pub fn apply(&self, enriched: EnrichedCall) -> Record {
        let EnrichedCall {
            mut call,
            origin,
            host,
            clock,
            trace,
            cost,
            is_estimated,
        } = enriched;
        match self.content {
            Content::Off => drop_content(&mut call),
            Content::Redacted => mask_content(&mut call),
            Content::Full => {}
        }
        Record {
            call,
            origin,
            host,
            clock,
            trace,
            cost,
            is_estimated,
        }
    }

    /// What to pass the text of one call through while it streams.
    pub fn text_stream(&self) -> TextStream {
        TextStream::new(self.content)
    }
}

/// Attributes among [`Call::extra`] that hold content.
fn is_content(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.definitions",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.retrieval.query.text",
        "gen_ai.retrieval.documents",
    ];
    NAMES.contains(&name)
}

fn drop_content(call: &mut Call) {
    call.request.system = Vec::new();
    call.request.messages = Vec::new();
    call.request.tools = Vec::new();
    call.request.stop_sequences = Vec::new();
    call.response.messages = Vec::new();
    if let Some(error) = &mut call.error {
        error.message = None;
    }
    call.extra.retain(|(name, _)| !is_content(name));
}

fn mask_content(call: &mut Call) {
    mask_parts(&mut call.request.system);
    mask_messages(&mut call.request.messages);
    mask_messages(&mut call.response.messages);
    call.request.tools.iter_mut().for_each(mask_json);
    mask_all(&mut call.request.stop_sequences);
    if let Some(message) = call.error.as_mut().and_then(|e| e.message.as_mut()) {
        mask_boxed(message);
    }
    for (_, value) in &mut call.extra {
        match value {
            Value::String(text) => mask_boxed(text),
            Value::Strings(texts) => mask_all(texts),
            Value::Bool(_) | Value::Int(_) | Value::Double(_) => {}
        }
    }
}

fn mask_messages(messages: &mut [ChatMessage]) {
    for message in messages {
        mask_parts(&mut message.parts);
        if let Some(name) = &mut message.name {
            mask_boxed(name);
        }
    }
}

fn mask_parts(parts: &mut [Part]) {
    for part in parts {
        match part {
            Part::Text(text) | Part::Reasoning(text) => mask_string(text),
            Part::ToolCall { arguments, .. } => {
                if let Some(arguments) = arguments {
                    mask_string(arguments);
                }
            }
            Part::ToolCallResponse { response, .. } => mask_json(response),
            Part::Media(media) => match &mut media.source {
                MediaSource::Uri(uri) => mask_uri(uri),
                MediaSource::File(_) | MediaSource::Inline { .. } => {}
            },
            Part::Other(value) => mask_json(value),
        }
    }
}

/// A query may hold a signature that opens the file.
fn mask_uri(uri: &mut Box<str>) {
    if let Some((place, _)) = uri.split_once(['?', '#']) {
        *uri = format!("{place}?[query]").into();
    }
    mask_boxed(uri);
}

fn mask_string(text: &mut String) {
    if let Some(masked) = rules::mask(text) {
        *text = masked;
    }
}

fn mask_boxed(text: &mut Box<str>) {
    if let Some(masked) = rules::mask(text) {
        *text = masked.into();
    }
}

fn mask_all(texts: &mut [Box<str>]) {
    texts.iter_mut().for_each(mask_boxed);
}

fn mask_json(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => mask_string(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(mask_json),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(mask_json),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}
