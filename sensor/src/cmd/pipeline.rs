//! From a source to enriched calls: the one wiring of engine and joiner.

use llmtap::engine::{Counters, Engine, Options, Output};
use llmtap::enrich::service::Rules;
use llmtap::enrich::{EnrichedCall, EnrichedRequest, Joiner};
use llmtap::event::{ConnectionId, Event, Verdict};
use llmtap::llm::CallId;

use super::source::{Drained, Source};

/// What a pipeline gives.
#[derive(Debug)]
pub enum Step {
    Started(EnrichedCall),
    Text {
        call: CallId,
        text: String,
    },
    Finished(EnrichedCall),
    /// A request that a process served, for which it made calls; after them.
    Served(EnrichedRequest),
}

/// An engine with the facts of its connections.
#[derive(Debug)]
pub struct Pipeline {
    engine: Engine,
    joiner: Joiner,
    verdicts: Vec<(ConnectionId, Verdict)>,
}

impl Pipeline {
    pub fn new(options: Options, source: &dyn Source) -> Self {
        Self {
            engine: Engine::new(options),
            joiner: Joiner::new(source.clock(), source.host()),
            verdicts: Vec::new(),
        }
    }

    /// Takes one batch of the source.
    pub fn pump(
        &mut self,
        source: &mut dyn Source,
        out: &mut dyn FnMut(Step),
    ) -> anyhow::Result<Drained> {
        let drained = source.drain(&mut |event| self.feed(event, out));
        for (connection, verdict) in self.verdicts.drain(..) {
            source.verdict(connection, verdict);
        }
        if let Some(now) = source.now() {
            let (joiner, verdicts) = (&mut self.joiner, &mut self.verdicts);
            self.engine
                .advance(now, &mut |output| step(output, joiner, verdicts, out));
        }
        drained
    }

    pub fn feed(&mut self, event: Event<'_>, out: &mut dyn FnMut(Step)) {
        self.joiner.observe(&event);
        let (joiner, verdicts) = (&mut self.joiner, &mut self.verdicts);
        self.engine
            .feed(event, &mut |output| step(output, joiner, verdicts, out));
    }

    /// Ends what is under way.
    pub fn finish(&mut self, out: &mut dyn FnMut(Step)) {
        let (joiner, verdicts) = (&mut self.joiner, &mut self.verdicts);
        self.engine
            .finish(&mut |output| step(output, joiner, verdicts, out));
    }

    pub fn lost_bytes(&self) -> u64 {
        self.engine.counters().lost_bytes
    }

    pub fn counters(&self) -> Counters {
        self.engine.counters()
    }

    /// Calls that could not be put below one of the requests that their process had in hand.
    pub fn ambiguous(&self) -> u64 {
        self.joiner.ambiguous()
    }

    /// Connections that are followed.
    pub fn connections(&self) -> usize {
        self.engine.connections()
    }

    /// Applies to exchanges that begin from now on.
    pub fn set_options(&mut self, options: Options) {
        self.engine.set_options(options);
    }

    /// Names services by these rules.
    pub fn name_services(&mut self, rules: Rules) {
        self.joiner.name_services(rules);
    }
}

fn step(
    output: Output,
    joiner: &mut Joiner,
    verdicts: &mut Vec<(ConnectionId, Verdict)>,
    out: &mut dyn FnMut(Step),
) {
    match output {
        Output::Started(call) => out(Step::Started(joiner.started(*call))),
        Output::Text { call, text, .. } => out(Step::Text { call, text }),
        Output::Finished(call) => out(Step::Finished(joiner.finished(*call))),
        Output::Serving(served) => joiner.serving(served),
        Output::Answered(answer) => {
            if let Some(request) = joiner.answered(answer) {
                out(Step::Served(request));
            }
        }
        Output::Verdict {
            connection,
            verdict,
        } => verdicts.push((connection, verdict)),
    }
}
