//! Converse: `POST /model/{id}/converse` and `…/converse-stream`; Amazon Nova speaks
//! the same in InvokeModel.

use crate::llm::api::openai::content::{Definition, role};
use crate::llm::api::{Ask, Dialect, Event, media, strings};
use crate::llm::attr::{self, Attributes};
use crate::llm::call::{ChatMessage, Name, Part, Value};
use crate::llm::json::{Int, List, Num, Raw, Str, parse, wire};
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

    struct Tool<'a> {
        spec: Definition<'a> = "toolSpec",
        system: Definition<'a> = "systemTool",
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

    struct Message<'a> {
        role: Str<'a>,
        content: List<Raw<'a>>,
    }

    struct Block<'a> {
        text: Str<'a>,
        tool_use: ToolUse<'a> = "toolUse",
        tool_result: ToolResult<'a> = "toolResult",
        reasoning: Reasoning<'a> = "reasoningContent",
        image: Raw<'a>,
        document: Raw<'a>,
        video: Raw<'a>,
        audio: Raw<'a>,
    }

    struct ToolUse<'a> {
        id: Str<'a> = "toolUseId",
        name: Str<'a>,
        input: Raw<'a>,
        kind: Str<'a> = "type",
    }

    struct ToolResult<'a> {
        id: Str<'a> = "toolUseId",
        content: Raw<'a>,
    }

    struct Reasoning<'a> {
        /// In a stream, the text; else an object that holds it.
        text: Str<'a>,
        inner: Inner<'a> = "reasoningText",
    }

    struct Inner<'a> {
        text: Str<'a>,
    }

    struct Media<'a> {
        format: Str<'a>,
        source: Source<'a>,
    }

    struct Source<'a> {
        bytes: Str<'a>,
        s3: S3<'a> = "s3Location",
    }

    struct S3<'a> {
        uri: Str<'a>,
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
        let asked: Request<'_> = parse(body).unwrap_or_default();
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
            ask.request.system = parts(asked.system);
            let list: List<Message<'_>> = asked.messages.one_or_many();
            ask.request.messages = list.iter().flat_map(Message::messages).collect();
            ask.request.tools = asked.tools.tools.iter().map(Tool::value).collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = parse(body).unwrap_or_default();
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
        let told: StreamEvent<'_> = parse(event.data).unwrap_or_default();
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

impl<'a> ToolUse<'a> {
    fn is_the_clients(&self) -> bool {
        self.name.is_some() && self.kind.key() != "server_tool_use"
    }

    fn fragment(&self) -> ToolFragment<'a> {
        ToolFragment {
            key: None,
            id: self.id,
            name: self.name,
            arguments: self.input,
        }
    }
}

impl<'a> Reasoning<'a> {
    fn text(&self) -> Str<'a> {
        self.inner.text.or(self.text)
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

impl Block<'_> {
    fn add_to(&self, place: u64, raw: Raw<'_>, reply: &mut Reply) {
        let key = Some(place);
        if self.text.is_some() {
            reply.text(0, key, self.text);
        } else if self.tool_use.is_the_clients() {
            reply.whole_tool(
                0,
                ToolFragment {
                    key,
                    ..self.tool_use.fragment()
                },
            );
        } else if self.reasoning.text().is_some() {
            reply.reasoning(0, key, self.reasoning.text());
        } else {
            reply.part(0, key, || self.part(raw));
        }
    }

    fn part(&self, raw: Raw<'_>) -> Option<Part> {
        if self.text.is_some() {
            return self.text.string().map(Part::Text);
        }
        if self.tool_use.is_the_clients() {
            return Some(self.tool_use.fragment().into_part());
        }
        if self.tool_result.id.is_some() {
            return Some(Part::ToolCallResponse {
                id: self.tool_result.id.boxed(),
                response: answer(self.tool_result.content),
            });
        }
        if self.reasoning.text().is_some() {
            return self.reasoning.text().string().map(Part::Reasoning);
        }
        let media = [
            ("image", self.image),
            ("document", self.document),
            ("video", self.video),
            ("audio", self.audio),
        ];
        match media.into_iter().find(|(_, raw)| raw.is_some()) {
            Some((modality, raw)) => Some(place(modality, raw)),
            None => media::other(&only_key(raw)?, raw),
        }
    }
}

fn place(modality: &'static str, raw: Raw<'_>) -> Part {
    let media: Media<'_> = raw.parse();
    if let Some(part) = media::from_url(modality, media.source.s3.uri) {
        return part;
    }
    let top = if modality == "document" {
        "application"
    } else {
        modality
    };
    let mime = format!("{top}/{}", media.format.key());
    let mime = if media.format.is_empty() { "" } else { &mime };
    media::inline(modality, Str::plain(mime), media.source.bytes.key().len())
}

/// What a tool gave; large pieces by their size alone.
fn answer(content: Raw<'_>) -> serde_json::Value {
    let list: List<Raw<'_>> = content.one_or_many();
    let read = |raw: &Raw<'_>| {
        let block: Block<'_> = raw.parse();
        if block.image.is_some() || block.document.is_some() || block.video.is_some() {
            return Some(serde_json::json!({ "omitted_bytes": raw.text().len() }));
        }
        raw.value()
    };
    list.iter().filter_map(read).collect()
}

fn only_key(raw: Raw<'_>) -> Option<String> {
    raw.value()?.as_object()?.keys().next().cloned()
}

/// The parts of a list of blocks, or of a mere string.
fn parts(content: Raw<'_>) -> Vec<Part> {
    if content.is_string() {
        return content
            .string()
            .string()
            .map(Part::Text)
            .into_iter()
            .collect();
    }
    let list: List<Raw<'_>> = content.one_or_many();
    list.iter()
        .filter_map(|raw| raw.parse::<Block<'_>>().part(*raw))
        .collect()
}

impl Message<'_> {
    /// What a user's message says of tools is a message of its own.
    fn messages(&self) -> Vec<ChatMessage> {
        let all = self
            .content
            .iter()
            .filter_map(|raw| raw.parse::<Block<'_>>().part(*raw));
        let (answers, rest): (Vec<_>, Vec<_>) =
            all.partition(|part| matches!(part, Part::ToolCallResponse { .. }));
        let message = |role, parts: Vec<Part>| ChatMessage {
            role,
            parts,
            ..ChatMessage::default()
        };
        let mut messages = Vec::new();
        if !answers.is_empty() {
            messages.push(message(Name::Borrowed("tool"), answers));
        }
        if messages.is_empty() || !rest.is_empty() {
            messages.push(message(role(self.role), rest));
        }
        messages
    }
}

impl Tool<'_> {
    fn value(&self) -> serde_json::Value {
        if self.spec.name.is_some() {
            return self.spec.value("function");
        }
        self.system.value("system_tool")
    }
}
