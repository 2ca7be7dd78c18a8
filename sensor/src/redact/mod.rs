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
use crate::llm::call::Request;
use crate::time::ClockOffset;

#[doc(hidden)]
pub mod fuzz;
mod json;
mod rewrite;
pub mod rules;
pub mod select;
mod stream;

use rewrite::Rewrite;
pub use rewrite::{InvalidPattern, Patterns};
pub use select::{Rule, Selection, Share};
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
    weight: usize,
    share: f64,
    retry_of: Option<SpanRef>,
}

/// Names the span of another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanRef {
    pub trace: u128,
    pub span: u64,
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

    /// Bytes of memory, roughly.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Of how many calls like it one is to be kept whole, from 0 to 1; metrics count
    /// them all.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// The call that failed before, of which this is another attempt.
    pub fn retry_of(&self) -> Option<SpanRef> {
        self.retry_of
    }

    pub(crate) fn link_retry(&mut self, earlier: SpanRef) {
        self.retry_of = Some(earlier);
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
    share: f64,
}

impl ServedRecord {
    /// Of how many like it one is to be kept, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Whether the process could not answer.
    pub fn has_failed(&self) -> bool {
        self.answer.status.is_some_and(|status| status >= 500)
    }

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
    pub fn apply_served(&self, enriched: EnrichedRequest) -> ServedRecord {
        let rewrite = Rewrite {
            mask: self.content != Content::Full,
            ..Rewrite::default()
        };
        served_record(enriched, &rewrite, 1.0)
    }

    pub fn apply(&self, enriched: EnrichedCall) -> Record {
        let rewrite = Rewrite {
            mask: self.content == Content::Redacted,
            ..Rewrite::default()
        };
        record(enriched, self.content, &rewrite, 1.0)
    }

    /// What to pass the text of one call through while it streams.
    pub fn text_stream(&self) -> TextStream {
        TextStream::new(self.content)
    }
}

/// The one place where a [`Record`] is made. `share`: of how many alike it is to be kept.
fn record(enriched: EnrichedCall, content: Content, rewrite: &Rewrite<'_>, share: f64) -> Record {
    let EnrichedCall {
        mut call,
        origin,
        host,
        clock,
        mut trace,
        cost,
        is_estimated,
    } = enriched;
    if content == Content::Off {
        drop_content(&mut call);
    }
    rewrite.call(&mut call);
    Rewrite::ids(&mut call);
    mask_fact(&mut call.server.path, rewrite);
    mask_fact(&mut call.server.user_agent, rewrite);
    mask_state(&mut trace, rewrite);
    Record {
        weight: weight(&call),
        call,
        origin: without_keys(origin, rewrite),
        host,
        clock,
        trace,
        cost,
        is_estimated,
        share,
        retry_of: None,
    }
}

/// The same for a request that was served. Paths of a service of the user's own may name
/// people.
fn served_record(enriched: EnrichedRequest, rewrite: &Rewrite<'_>, share: f64) -> ServedRecord {
    let EnrichedRequest {
        mut served,
        answer,
        origin,
        host,
        clock,
        mut trace,
    } = enriched;
    mask_fact(&mut served.path, rewrite);
    mask_state(&mut trace, rewrite);
    ServedRecord {
        served,
        answer,
        origin: without_keys(origin, rewrite),
        host,
        clock,
        trace,
        share,
    }
}

fn without_keys(mut origin: Arc<Origin>, rewrite: &Rewrite<'_>) -> Arc<Origin> {
    if let Some(masked) = origin.command_line.as_deref().and_then(|l| rewrite.fact(l)) {
        Arc::make_mut(&mut origin).command_line = Some(masked.into());
    }
    origin
}

fn mask_fact(fact: &mut Option<Box<str>>, rewrite: &Rewrite<'_>) {
    if let Some(masked) = fact.as_deref().and_then(|fact| rewrite.fact(fact)) {
        *fact = Some(masked.into());
    }
}

fn mask_state(trace: &mut Trace, rewrite: &Rewrite<'_>) {
    if let Some(masked) = trace.state.as_deref().and_then(|s| rewrite.fact(s)) {
        trace.state = Some(masked.into());
    }
}

/// Attributes among [`Call::extra`] that hold content.
fn is_content(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.definitions",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.retrieval.query.text",
        "gen_ai.retrieval.documents",
        "llmtap.request.file_name",
        "llmtap.response.stop_sequence",
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

/// About what a call without content takes.
const BARE: usize = 2 << 10;

fn weight(call: &Call) -> usize {
    let Request {
        system,
        messages,
        tools,
        ..
    } = &call.request;
    let said = messages.iter().chain(&call.response.messages);
    let parts = system.iter().chain(said.flat_map(|message| &message.parts));
    let of_tools = tools.iter().map(|tool| tool.text().len()).sum::<usize>();
    let of_extra = call
        .extra
        .iter()
        .map(|(_, value)| rewrite::value_weight(value));
    BARE + parts.map(rewrite::part_weight).sum::<usize>() + of_tools + of_extra.sum::<usize>()
}
