//! Converse: `POST /model/{id}/converse` and `…/converse-stream`; Amazon Nova speaks
//! the same in InvokeModel.

use super::content::{self, Block, Message, Reasoning, Tool, ToolUse};
use crate::llm::api::{Ask, Dialect, Event, strings};
use crate::llm::attr::{self, Attributes};
use crate::llm::call::Value;
use crate::llm::json::{Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::{Reply, ToolFragment};
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(in crate::llm::api) struct Converse;

wire! {
    struct Request<'a> {
        messages: Raw<'a>,
        system: Raw<'a>,
        config: Config<'a> = "inferenceConfig",
        tools: Tools<'a> = "toolConfig",
        guardrail: Guardrail<'a> = "guardrailConfig",
        more: More<'a> = "additionalModelRequestFields",
        tier: Tier<'a> = "serviceTier",
        performance: Performance<'a> = "performanceConfig",
    }

    struct Config<'a> {
        max_tokens: Int = "maxTokens" | "max_new_tokens" | "maxNewTokens",
        temperature: Num,
        top_p: Num = "topP" | "top_p",
        top_k: Num = "topK" | "top_k",
        stop: Raw<'a> = "stopSequences" | "stop_sequences",
    }

    struct Tools<'a> {
        tools: List<Tool<'a>>,
    }

    struct Guardrail<'a> {
        id: Str<'a> = "guardrailIdentifier",
        version: Str<'a> = "guardrailVersion",
    }

    struct More<'a> {
        top_k: Num,
        thinking: Kind<'a>,
        reasoning_effort: Str<'a>,
    }

    struct Kind<'a> {
        kind: Str<'a> = "type",
    }

    struct Tier<'a> {
        kind: Str<'a> = "type",
    }

    struct Performance<'a> {
        latency: Str<'a>,
    }

    struct Response<'a> {
        output: Output<'a>,
        stop_reason: Str<'a> = "stopReason",
        usage: Usage,
        metrics: Metrics,
        trace: Raw<'a>,
        tier: Tier<'a> = "serviceTier",
    }

    struct Output<'a> {
        message: Message<'a>,
    }

    struct Usage {
        input: Int = "inputTokens",
        output: Int = "outputTokens",
        cache_read: Int = "cacheReadInputTokens" | "cacheReadInputTokenCount",
        cache_write: Int = "cacheWriteInputTokens" | "cacheWriteInputTokenCount",
    }

    struct Metrics {
        latency: Int = "latencyMs",
    }

    /// What an event says, of whatever type it is.
    struct StreamEvent<'a> {
        role: Str<'a>,
        place: Int = "contentBlockIndex",
        start: Start<'a>,
        delta: Delta<'a>,
        stop_reason: Str<'a> = "stopReason",
        usage: Usage,
        metrics: Metrics,
        trace: Raw<'a>,
        tier: Tier<'a> = "serviceTier",
        // The same, inside of a member named after the event's type (Nova).
        nested_start: Raw<'a> = "messageStart",
        nested_block: Raw<'a> = "contentBlockStart",
        nested_delta: Raw<'a> = "contentBlockDelta",
        nested_stop: Raw<'a> = "messageStop",
        nested_metadata: Raw<'a> = "metadata",
    }

    struct Start<'a> {
        tool_use: ToolUse<'a> = "toolUse",
    }

    struct Delta<'a> {
        text: Str<'a>,
        tool_use: ToolUse<'a> = "toolUse",
        reasoning: Reasoning<'a> = "reasoningContent",
    }
}

impl Dialect for Converse {
    fn name(&self) -> &'static str {
        "bedrock.converse"
    }

    fn operation(&self) -> &'static str {
        "chat"
    }

    fn provider(&self) -> &'static str {
        super::BEDROCK
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        let config = &asked.config;
        request.max_tokens = config.max_tokens.0;
        request.temperature = config.temperature.0;
        request.top_p = config.top_p.0;
        request.top_k = config.top_k.0.or(asked.more.top_k.0);
        request.stop_sequences = strings(config.stop);
        request.reasoning_level = asked
            .more
            .reasoning_effort
            .or(asked.more.thinking.kind)
            .boxed();
        let attributes = &mut ask.attributes;
        attributes.text(attr::GUARDRAIL_ID, asked.guardrail.id);
        attributes.text(attr::GUARDRAIL_VERSION, asked.guardrail.version);
        attributes.text(
            attr::REQUEST_TIER,
            asked.tier.kind.or(asked.performance.latency),
        );
        if ask.content {
            ask.request.system = content::parts(asked.system);
            let list: List<Message<'_>> = asked.messages.one_or_many();
            ask.request.messages = list.iter().flat_map(Message::messages).collect();
            ask.request.tools = asked.tools.tools.iter().filter_map(Tool::value).collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.stop_reason.is_some();
        reply.finish(0, response.stop_reason);
        response.usage.apply(reply);
        metadata(
            &response.metrics,
            response.trace,
            &response.tier,
            &mut reply.attributes,
        );
        let message = &response.output.message;
        reply.role(0, message.role);
        for (place, raw) in message.content.iter().enumerate() {
            let block: Block<'_> = raw.parse();
            block.add_to(u64::try_from(place).unwrap_or_default(), *raw, reply);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: StreamEvent<'_> = read(event.data);
        told.apply(reply);
        let nested = told
            .nested_start
            .or(told.nested_block)
            .or(told.nested_delta)
            .or(told.nested_stop);
        for raw in [nested, told.nested_metadata] {
            if raw.is_some() {
                raw.parse::<StreamEvent<'_>>().apply(reply);
            }
        }
    }
}

impl StreamEvent<'_> {
    fn apply(&self, reply: &mut Reply) {
        let key = Some(self.place.count().unwrap_or_default());
        reply.recognised |=
            self.role.is_some() || self.stop_reason.is_some() || self.place.0.is_some();
        reply.role(0, self.role);
        reply.finish(0, self.stop_reason);
        self.usage.apply(reply);
        metadata(&self.metrics, self.trace, &self.tier, &mut reply.attributes);
        if self.start.tool_use.is_the_clients() {
            reply.tool(
                0,
                ToolFragment {
                    key,
                    ..self.start.tool_use.fragment()
                },
            );
        }
        reply.text(0, key, self.delta.text);
        reply.reasoning(0, key, self.delta.reasoning.text());
        let arguments = self.delta.tool_use.input;
        if arguments.is_some() {
            reply.tool(
                0,
                ToolFragment {
                    key,
                    arguments,
                    ..ToolFragment::default()
                },
            );
        }
        // Metadata is the last event.
        reply.ended |= self.usage.output.0.is_some();
    }
}

impl Usage {
    fn apply(&self, reply: &mut Reply) {
        reply.tokens.update(Tokens {
            input: self.input.count(),
            output: self.output.count(),
            cache_read: self.cache_read.count(),
            cache_write: self.cache_write.count(),
            cache_is_apart: true,
            ..Tokens::default()
        });
    }
}

fn metadata(metrics: &Metrics, trace: Raw<'_>, tier: &Tier<'_>, attributes: &mut Attributes) {
    attributes.int(attr::PROCESSING_MS, metrics.latency);
    attributes.text(attr::SERVICE_TIER, tier.kind);
    if trace.text().contains("\"guardrail\"") {
        attributes.set(attr::GUARDRAIL_TRACED, Value::Bool(true));
    }
}
