//! The one place where names of attributes are spelled.
//!
//! In: a [`Record`]. Out: name, ids, resource and attributes as the OpenTelemetry
//! GenAI conventions have them, for every exporter alike. Unknown is left out.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use super::message::{Messages, OutputMessages, Parts};
use crate::enrich::cost::Usd;
use crate::enrich::trace::{Known, Trace};
use crate::event::{Origin, Role};
use crate::llm::Call;
use crate::llm::call::{Request, Response, Timing, Usage, Value};
use crate::redact::{Record, ServedRecord};

pub mod metrics;
mod openinference;
mod place;

use place::peer;
pub use place::{resource, served_resource, service_name};

/// The event that carries the content of a call.
pub const OPERATION_DETAILS: &str = "gen_ai.client.inference.operation.details";

/// Whose names attributes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conventions {
    /// Those of OpenTelemetry.
    #[default]
    Otel,
    /// Those of OpenInference, and of OpenTelemetry what they have no names for.
    OpenInference,
    Both,
}

/// Attributes in the order they were set; each name once.
#[derive(Debug, Default)]
pub struct Attributes<'a>(Vec<(Cow<'a, str>, Attribute<'a>)>);

/// A value, borrowed from its record.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Attribute<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    String(Cow<'a, str>),
    Strings(&'a [Box<str>]),
    /// JSON where the format takes it, else a string of JSON.
    Input(Messages<'a>),
    Output(OutputMessages<'a>),
    Parts(Parts<'a>),
    Json(&'a [crate::llm::call::JsonText]),
}

impl<'a> Attributes<'a> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attribute<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Leaves out what people and models wrote.
    pub fn drop_content(&mut self) {
        self.0.retain(|(name, _)| !is_content(name));
    }

    fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Attribute<'a>>) {
        let name = name.into();
        if self.0.iter().all(|(known, _)| *known != name) {
            self.0.push((name, value.into()));
        }
    }

    fn known<T: Into<Attribute<'a>>>(&mut self, name: impl Into<Cow<'a, str>>, value: Option<T>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn strings(&mut self, name: &'a str, values: &'a [Box<str>]) {
        if !values.is_empty() {
            self.set(name, Attribute::Strings(values));
        }
    }
}

impl From<bool> for Attribute<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Attribute<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Attribute<'_> {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Attribute<'_> {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

impl<'a> From<&'a str> for Attribute<'a> {
    fn from(value: &'a str) -> Self {
        Self::String(Cow::Borrowed(value))
    }
}

impl From<String> for Attribute<'_> {
    fn from(value: String) -> Self {
        Self::String(Cow::Owned(value))
    }
}

impl From<Duration> for Attribute<'_> {
    fn from(value: Duration) -> Self {
        Self::Double(value.as_secs_f64())
    }
}

impl<'a> From<&'a Value> for Attribute<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Bool(v) => Self::Bool(*v),
            Value::Int(v) => Self::Int(*v),
            Value::Double(v) => Self::Double(*v),
            Value::String(v) => Self::String(Cow::Borrowed(v)),
            Value::Strings(v) => Self::Strings(v),
        }
    }
}

/// `{operation} {what it is done with}`; in MCP `{method} {tool or prompt}`.
pub fn span_name(call: &Call) -> String {
    let text = |name| extra_text(call, name);
    let (operation, target) = match text("mcp.method.name") {
        Some(method) => (
            method,
            text("gen_ai.tool.name").or(text("gen_ai.prompt.name")),
        ),
        None => (&*call.operation, call.request.model.as_deref()),
    };
    match target {
        Some(target) => format!("{operation} {target}"),
        None => operation.to_owned(),
    }
}

pub(super) fn extra_text<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    match call.extra.iter().find(|(known, _)| known == name) {
        Some((_, Value::String(text))) => Some(text),
        _ => None,
    }
}

pub fn span_kind(call: &Call) -> &'static str {
    match call.role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

/// All that is known of the call, under the names that are asked for.
pub fn spelled(record: &Record, conventions: Conventions) -> Attributes<'_> {
    let mut out = match conventions {
        Conventions::Otel | Conventions::Both => attributes(record),
        Conventions::OpenInference => {
            let mut rest = attributes(record);
            rest.0.retain(|(name, _)| !openinference::has_own(name));
            rest
        }
    };
    if conventions != Conventions::Otel {
        openinference::add(&mut out, record);
    }
    out
}

/// Whether something that people or models wrote was kept.
pub fn has_content(record: &Record) -> bool {
    let call = record.call();
    let texts = call.extra.iter().any(|(name, _)| is_content(name));
    texts
        || !call.request.system.is_empty()
        || !call.request.messages.is_empty()
        || !call.response.messages.is_empty()
}

/// Whether an attribute holds what people or models wrote.
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
    NAMES.contains(&name) || openinference::is_content(name)
}

/// Whether a trace is one of those that are kept; the same for all spans of a trace.
pub fn is_sampled(trace: &Trace, share: f64) -> bool {
    // The random part of an id is its end (W3C Trace Context, 3.2.2.3).
    const BITS: u32 = 56;
    let random = trace.trace & ((1 << BITS) - 1);
    #[allow(
        clippy::cast_precision_loss,
        reason = "a share of traces is no exact number"
    )]
    let place = random as f64 / (1_u64 << BITS) as f64;
    place < share
}

/// All that is known of a served request; its name is its method alone, because what of
/// its path is fixed is not known.
pub fn served_attributes(record: &ServedRecord) -> Attributes<'_> {
    let (served, origin) = (record.served(), record.origin());
    let mut out = Attributes::default();
    out.set("http.request.method", &*served.method);
    out.known("url.path", served.path.as_deref());
    let scheme = |tls: &str| if tls == "none" { "http" } else { "https" };
    out.known("url.scheme", origin.tls.as_deref().map(scheme));
    out.known("server.address", served.host.as_deref());
    let port = served.port.or(origin.local.map(|local| local.port()));
    out.known("server.port", port.map(i64::from));
    let status = record.answer().status;
    out.known("http.response.status_code", status.map(i64::from));
    let failed = status.filter(|status| *status >= 500);
    out.known("error.type", failed.map(|status| status.to_string()));
    sockets(&mut out, origin);
    out.set("llmtap.connection.id", served.connection.0);
    parent(&mut out, record.trace());
    out
}

/// All that is known of the call.
pub fn attributes(record: &Record) -> Attributes<'_> {
    let call = record.call();
    let mut out = Attributes::default();
    // A method of MCP that calls no tool has no operation there.
    if call.operation != "mcp" {
        out.set("gen_ai.operation.name", &*call.operation);
    }
    if call.dialect != "mcp" {
        out.set("gen_ai.provider.name", &*call.provider);
    }
    request(&mut out, &call.request);
    response(&mut out, &call.response);
    usage(&mut out, call.usage);
    let estimated = record.is_estimated().then_some(true);
    out.known("llmtap.usage.estimated", estimated);
    cost(&mut out, record);
    timing(&mut out, call.timing);
    out.known("error.type", call.error.as_ref().map(|e| &*e.kind));
    server(&mut out, record);
    capture(&mut out, record);
    parent(&mut out, record.trace());
    content(&mut out, call);
    for (name, value) in &call.extra {
        out.set(&**name, value);
    }
    out
}

fn request<'a>(out: &mut Attributes<'a>, request: &'a Request) {
    out.known("gen_ai.request.model", request.model.as_deref());
    // Absent means that the call was not streamed.
    out.known("gen_ai.request.stream", request.stream.filter(|s| *s));
    out.known("gen_ai.request.max_tokens", request.max_tokens);
    out.known("gen_ai.request.temperature", request.temperature);
    out.known("gen_ai.request.top_p", request.top_p);
    out.known("gen_ai.request.top_k", request.top_k);
    out.known(
        "gen_ai.request.frequency_penalty",
        request.frequency_penalty,
    );
    out.known("gen_ai.request.presence_penalty", request.presence_penalty);
    out.strings("gen_ai.request.stop_sequences", &request.stop_sequences);
    out.known("gen_ai.request.seed", request.seed);
    let choices = request.choice_count.filter(|count| *count != 1);
    out.known("gen_ai.request.choice.count", choices);
    let level = request.reasoning_level.as_deref();
    out.known("gen_ai.request.reasoning.level", level);
    out.known("gen_ai.output.type", request.output_type.as_deref());
    out.strings("gen_ai.request.encoding_formats", &request.encoding_formats);
    let dimensions = request.embedding_dimensions;
    out.known("gen_ai.embeddings.dimension.count", dimensions);
    out.known("gen_ai.conversation.id", request.conversation_id.as_deref());
}

fn response<'a>(out: &mut Attributes<'a>, response: &'a Response) {
    out.known("gen_ai.response.id", response.id.as_deref());
    out.known("gen_ai.response.model", response.model.as_deref());
    out.strings("gen_ai.response.finish_reasons", &response.finish_reasons);
}

fn usage(out: &mut Attributes<'_>, usage: Usage) {
    out.known("gen_ai.usage.input_tokens", usage.input);
    out.known("gen_ai.usage.output_tokens", usage.output);
    out.known("gen_ai.usage.cache_read.input_tokens", usage.cache_read);
    out.known(
        "gen_ai.usage.cache_creation.input_tokens",
        usage.cache_write,
    );
    out.known("gen_ai.usage.reasoning.output_tokens", usage.reasoning);
}

/// US dollars: all of it, and the parts that add up to it.
fn cost(out: &mut Attributes<'_>, record: &Record) {
    let Some(cost) = record.cost() else {
        return;
    };
    let dollars = |amount: Option<Usd>| amount.map(Usd::as_dollars);
    out.set("llmtap.cost.usd", cost.total().as_dollars());
    out.known("llmtap.cost.input.usd", dollars(cost.input));
    out.known("llmtap.cost.output.usd", dollars(cost.output));
    out.known("llmtap.cost.cache_read.usd", dollars(cost.cache_read));
    out.known("llmtap.cost.cache_creation.usd", dollars(cost.cache_write));
    out.known("llmtap.cost.fees.usd", dollars(cost.fees));
}

fn timing(out: &mut Attributes<'_>, timing: Timing) {
    let first = timing.first_chunk.map(|at| at.since(timing.start));
    out.known("gen_ai.response.time_to_first_chunk", first);
}

fn server<'a>(out: &mut Attributes<'a>, record: &'a Record) {
    let (server, origin) = (&record.call().server, record.origin());
    out.known("server.address", server.address.as_deref());
    out.known("server.port", server.port.map(i64::from));
    out.known("llmtap.server.region", server.region.as_deref());
    out.known("url.path", server.path.as_deref());
    out.known("http.response.status_code", server.status.map(i64::from));
    out.known("user_agent.original", server.user_agent.as_deref());
    peer(out, record);
    sockets(out, origin);
    out.known("llmtap.server.request.id", server.request_id.as_deref());
}

fn sockets(out: &mut Attributes<'_>, origin: &Origin) {
    out.known(
        "network.peer.address",
        origin.peer.map(|a| a.ip().to_string()),
    );
    out.known(
        "network.peer.port",
        origin.peer.map(|a| i64::from(a.port())),
    );
    out.known(
        "network.local.address",
        origin.local.map(|a| a.ip().to_string()),
    );
    out.known(
        "network.local.port",
        origin.local.map(|a| i64::from(a.port())),
    );
}

fn capture<'a>(out: &mut Attributes<'a>, record: &'a Record) {
    let call = record.call();
    let present = |yes: bool| yes.then_some(true);
    out.set("llmtap.connection.id", call.connection.0);
    out.known("llmtap.tls.library", record.origin().tls.as_deref());
    let lost = Some(call.capture.lost_bytes).filter(|lost| *lost > 0);
    out.known("llmtap.capture.lost_bytes", lost);
    out.known("llmtap.capture.truncated", present(call.capture.truncated));
    out.known("llmtap.capture.inferred", present(call.capture.inferred));
}

/// How the parent span is known, which no field of a span says.
fn parent(out: &mut Attributes<'_>, trace: &Trace) {
    let known = trace.parent.map(|parent| parent.known);
    out.known("llmtap.trace.parent.source", known.map(Known::name));
    let confidence = known.map(|known| known.confidence().name());
    out.known("llmtap.trace.parent.confidence", confidence);
}

fn content<'a>(out: &mut Attributes<'a>, call: &'a Call) {
    let (request, response) = (&call.request, &call.response);
    if !request.system.is_empty() {
        let parts = Attribute::Parts(Parts(&request.system));
        out.set("gen_ai.system_instructions", parts);
    }
    if !request.messages.is_empty() {
        let messages = Attribute::Input(Messages(&request.messages));
        out.set("gen_ai.input.messages", messages);
    }
    if !response.messages.is_empty() {
        let messages = Attribute::Output(OutputMessages {
            messages: &response.messages,
            reasons: &response.finish_reasons,
        });
        out.set("gen_ai.output.messages", messages);
    }
    if !request.tools.is_empty() {
        out.set("gen_ai.tool.definitions", Attribute::Json(&request.tools));
    }
}
