//! Wire dialects: what requests, replies and events of a stream say.
//!
//! In: JSON text. Out: [`Ask`] and [`Reply`]. Must not know: hosts, heads, times.

mod a2a;
mod anthropic;
mod aws;
mod cohere;
mod google;
mod llamacpp;
pub(super) mod mcp;
mod media;
mod mistral;
mod ollama;
mod openai;
pub(super) mod realtime;
mod rerank;
pub(super) mod route;
mod rpc;
mod sglang;
mod shape;
mod tgi;
mod watsonx;
mod workers;
mod xai;

use super::attr::Attributes;
use super::call::{ChatMessage, Name, Part, Request, TraceContext};
use super::json::{List, Raw, Str};
use super::reply::Reply;
pub(super) use rpc::Method;

/// Stop sequences, inputs and the like that are kept of one list.
const MAX_STRINGS: usize = 4096;

/// One way to speak of a call.
///
/// A dialect holds no state: what it reads goes into [`Ask`] and [`Reply`], and only
/// what it can read goes there.
pub(super) trait Dialect: std::fmt::Debug + Sync {
    /// As [`Call::dialect`](super::Call) has it.
    fn name(&self) -> &'static str;

    /// `gen_ai.operation.name`, unless the request says otherwise.
    fn operation(&self) -> &'static str;

    /// `gen_ai.provider.name` where the host says nothing.
    fn provider(&self) -> &'static str;

    /// Reads the body of a request.
    fn request(&self, body: &str, ask: &mut Ask);

    /// Reads a reply that is one document.
    fn whole(&self, body: &str, reply: &mut Reply);

    /// Reads one event of a streamed reply.
    fn event(&self, event: &Event<'_>, reply: &mut Reply);
}

/// What a request says, as it is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    /// Whether messages and tools are kept.
    pub(super) content: bool,
    /// Whether the request has no holes, so that its lists may be counted.
    pub(super) whole: bool,
    pub(super) operation: Option<&'static str>,
    pub(super) request: Request,
    /// The trace that the body says it belongs to.
    pub(super) context: Option<TraceContext>,
    pub(super) attributes: Attributes,
}

/// One event of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event<'a> {
    /// What the framing calls it.
    pub(super) name: Option<&'a str>,
    pub(super) data: &'a str,
}

/// A string or a list of strings.
fn strings(raw: Raw<'_>) -> Vec<Box<str>> {
    if raw.is_string() {
        return raw.string().boxed().into_iter().collect();
    }
    let list: List<Str<'_>> = raw.parse();
    list.iter()
        .take(MAX_STRINGS)
        .filter_map(|s| s.boxed())
        .collect()
}

fn user_message(part: Part) -> ChatMessage {
    ChatMessage {
        role: Name::Borrowed("user"),
        parts: vec![part],
        ..ChatMessage::default()
    }
}
