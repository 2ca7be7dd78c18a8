//! Messages: `POST …/v1/messages`, and the same bodies at Vertex and Bedrock.

use super::content::{self, Block, Delta};
use crate::llm::api::openai::content as openai;
use crate::llm::api::{Ask, Dialect, Event, strings};
use crate::llm::attr::{self, Attributes};
use crate::llm::call::Name;
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(in crate::llm::api) struct Messages;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        stream: Bool,
        messages: Raw<'a>,
        system: Raw<'a>,
        tools: Raw<'a>,
        tool_choice: Kind<'a>,
        max_tokens: Int,
        temperature: Num,
        top_p: Num,
        top_k: Num,
        stop_sequences: Raw<'a>,
        service_tier: Str<'a>,
        metadata: Metadata<'a>,
        thinking: Kind<'a>,
        output_config: OutputConfig<'a>,
        output_format: Kind<'a>,
        container: Raw<'a>,
    }

    struct Kind<'a> {
        kind: Str<'a> = "type",
    }

    struct Metadata<'a> {
        user_id: Str<'a>,
    }

    struct OutputConfig<'a> {
        effort: Str<'a>,
        format: Kind<'a>,
    }

    struct Response<'a> {
        kind: Str<'a> = "type",
        id: Str<'a>,
        model: Str<'a>,
        role: Str<'a>,
        content: List<Raw<'a>>,
        stop_reason: Str<'a>,
        stop_sequence: Str<'a>,
        usage: Usage<'a>,
        error: Raw<'a>,
    }

    struct StreamEvent<'a> {
        kind: Str<'a> = "type",
        message: Raw<'a>,
        index: Int,
        content_block: Raw<'a>,
        delta: Delta<'a>,
        usage: Raw<'a>,
        error: Raw<'a>,
        metrics: Metrics = "amazon-bedrock-invocationMetrics",
    }

    struct Usage<'a> {
        input_tokens: Int,
        output_tokens: Int,
        cache_read_input_tokens: Int,
        cache_creation_input_tokens: Int,
        cache_creation: CacheCreation,
        output_tokens_details: OutputDetails,
        server_tool_use: ServerTools,
        service_tier: Str<'a>,
        speed: Str<'a>,
        cost: Num,
    }

    struct CacheCreation {
        five_minutes: Int = "ephemeral_5m_input_tokens",
        one_hour: Int = "ephemeral_1h_input_tokens",
    }

    struct OutputDetails {
        thinking: Int = "thinking_tokens" | "reasoning_tokens",
    }

    struct ServerTools {
        web_search_requests: Int,
    }

    struct Metrics {
        first_byte_latency: Int = "firstByteLatency",
    }
}

impl Dialect for Messages {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn operation(&self) -> &'static str {
        "chat"
    }

    fn provider(&self) -> &'static str {
        "anthropic"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        request.model = asked.model.boxed().or(request.model.take());
        request.stream = asked.stream.0.or(request.stream);
        request.max_tokens = asked.max_tokens.0;
        request.temperature = asked.temperature.0;
        request.top_p = asked.top_p.0;
        request.top_k = asked.top_k.0;
        request.stop_sequences = strings(asked.stop_sequences);
        request.reasoning_level = asked.output_config.effort.or(asked.thinking.kind).boxed();
        let format = asked.output_config.format.kind.or(asked.output_format.kind);
        request.output_type = (!format.is_empty()).then_some(Name::Borrowed("json"));
        let attributes = &mut ask.attributes;
        attributes.text(attr::REQUEST_TIER, asked.service_tier);
        attributes.text(attr::TOOL_CHOICE, asked.tool_choice.kind);
        attributes.text(attr::END_USER, asked.metadata.user_id);
        if ask.content {
            ask.request.system = content::parts(asked.system);
            ask.request.messages = content::messages(asked.messages);
            ask.request.tools = openai::tools(asked.tools);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        response.apply(reply);
        for (place, raw) in response.content.iter().enumerate() {
            let block: Block<'_> = raw.parse();
            block.add_to(u64::try_from(place).unwrap_or_default(), *raw, reply);
        }
        if let Some(failure) = error::member(response.error) {
            reply.fail(failure);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: StreamEvent<'_> = read(event.data);
        told.apply(reply);
    }
}

impl StreamEvent<'_> {
    fn apply(&self, reply: &mut Reply) {
        let place = self.index.count().unwrap_or_default();
        reply.recognised |= ["message_", "content_block_"]
            .iter()
            .any(|k| self.kind.key().starts_with(k));
        match self.kind.key() {
            "message_start" => {
                self.message.parse::<Response<'_>>().apply(reply);
                // A provisional count; the one that holds comes at the end.
                reply.tokens.output = None;
            }
            "content_block_start" => {
                let block: Block<'_> = self.content_block.parse();
                block.begin(place, self.content_block, reply);
            }
            "content_block_delta" => self.delta.add_to(place, reply),
            "message_delta" => {
                reply.finish(0, self.delta.stop_reason);
                reply
                    .attributes
                    .text(attr::STOP_SEQUENCE, self.delta.stop_sequence);
                self.usage.parse::<Usage<'_>>().apply(reply);
            }
            "message_stop" => {
                reply.ended = true;
                reply
                    .attributes
                    .int(attr::FIRST_TOKEN_MS, self.metrics.first_byte_latency);
            }
            "error" => reply.fail(error::member(self.error).unwrap_or_else(error::unknown)),
            _ => {}
        }
    }
}

impl Response<'_> {
    fn apply(&self, reply: &mut Reply) {
        reply.recognised |= self.kind.key() == "message";
        reply.set_id(self.id);
        reply.set_model(self.model);
        reply.role(0, self.role);
        reply.finish(0, self.stop_reason);
        reply
            .attributes
            .text(attr::STOP_SEQUENCE, self.stop_sequence);
        self.usage.apply(reply);
    }
}

impl Usage<'_> {
    fn apply(&self, reply: &mut Reply) {
        let parts = &self.cache_creation;
        let created = [parts.five_minutes.count(), parts.one_hour.count()];
        let created = created.into_iter().flatten().reduce(u64::saturating_add);
        reply.tokens.update(Tokens {
            input: self.input_tokens.count(),
            output: self.output_tokens.count(),
            cache_read: self.cache_read_input_tokens.count(),
            cache_write: self.cache_creation_input_tokens.count().or(created),
            reasoning: self.output_tokens_details.thinking.count(),
            cache_is_apart: true,
            ..Tokens::default()
        });
        self.extras(&mut reply.attributes);
    }

    fn extras(&self, attributes: &mut Attributes) {
        for (name, count) in [
            (attr::CACHE_WRITE_1H, self.cache_creation.one_hour),
            (attr::WEB_SEARCHES, self.server_tool_use.web_search_requests),
        ] {
            if count.0.is_some_and(|n| n > 0) {
                attributes.int(name, count);
            }
        }
        attributes.text(attr::SERVICE_TIER, self.service_tier);
        attributes.text(attr::SPEED, self.speed);
        attributes.double(attr::PROVIDER_COST, self.cost);
    }
}
