//! Interactions: `POST …/interactions`.

use super::content;
use super::generate::Config;
use crate::llm::api::openai::content as openai;
use crate::llm::api::{Ask, Dialect, Event, media, user_message};
use crate::llm::attr;
use crate::llm::call::{ChatMessage, Name, Part};
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Raw, Str, read, wire};
use crate::llm::reply::{Reply, ToolFragment};
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(in crate::llm::api) struct Interactions;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        agent: Str<'a>,
        input: Raw<'a>,
        system: Raw<'a> = "system_instruction",
        tools: Raw<'a>,
        stream: Bool,
        config: Config<'a> = "generation_config",
        previous: Str<'a> = "previous_interaction_id",
    }

    /// An interaction, whole or as an event carries it.
    struct Interaction<'a> {
        id: Str<'a>,
        model: Str<'a>,
        agent: Str<'a>,
        status: Str<'a>,
        outputs: List<Raw<'a>> = "steps" | "outputs",
        usage: Usage,
        service_tier: Str<'a>,
        error: Raw<'a>,
    }

    struct Usage {
        input: Int = "total_input_tokens",
        output: Int = "total_output_tokens",
        thought: Int = "total_thought_tokens" | "total_reasoning_tokens",
        cached: Int = "total_cached_tokens",
        tool_use: Int = "total_tool_use_tokens",
    }

    struct StreamEvent<'a> {
        kind: Str<'a> = "event_type",
        interaction: Interaction<'a>,
        index: Int,
        step: Raw<'a> = "step" | "content",
        delta: Raw<'a>,
        error: Raw<'a>,
    }

    /// A step of an interaction, a content of a step, or a piece of one.
    struct Step<'a> {
        kind: Str<'a> = "type",
        role: Str<'a>,
        text: Raw<'a>,
        summary: Raw<'a>,
        thought: Str<'a>,
        content: Raw<'a>,
        id: Str<'a> = "id" | "call_id",
        name: Str<'a>,
        arguments: Raw<'a>,
        result: Raw<'a>,
        data: Str<'a>,
        uri: Str<'a>,
        mime: Str<'a> = "mime_type",
    }
}

impl Dialect for Interactions {
    fn name(&self) -> &'static str {
        "gemini.interactions"
    }

    fn operation(&self) -> &'static str {
        "generate_content"
    }

    fn provider(&self) -> &'static str {
        super::UNKNOWN
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        asked.config.apply(ask);
        ask.request.model = asked.model.boxed();
        ask.request.stream = asked.stream.0;
        ask.attributes.text(attr::AGENT_NAME, asked.agent);
        ask.attributes
            .text(attr::PREVIOUS_RESPONSE_ID, asked.previous);
        if ask.content {
            ask.request.system = content::parts(asked.system);
            ask.request.messages = messages(asked.input);
            ask.request.tools = openai::tools(asked.tools);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let interaction: Interaction<'_> = read(body);
        interaction.close(reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: StreamEvent<'_> = read(event.data);
        let place = told.index.count();
        match told.kind.key() {
            "interaction.created" | "interaction.start" => told.interaction.apply(reply),
            "step.start" | "content.start" => {
                told.step.parse::<Step<'_>>().begin(place, told.step, reply)
            }
            "step.delta" | "content.delta" => {
                told.delta.parse::<Step<'_>>().add_delta(place, reply)
            }
            "interaction.completed" | "interaction.complete" | "interaction.failed" => {
                told.interaction.close(reply);
                reply.ended = true;
            }
            "error" => reply.fail(error::member(told.error).unwrap_or_else(error::unknown)),
            _ => {}
        }
    }
}

impl Interaction<'_> {
    fn apply(&self, reply: &mut Reply) {
        reply.recognised |= self.status.is_some();
        reply.set_id(self.id);
        reply.set_model(self.model);
        reply.attributes.text(attr::AGENT_NAME, self.agent);
        reply.attributes.text(attr::SERVICE_TIER, self.service_tier);
        reply.tokens.update(Tokens {
            input: self.usage.input.count(),
            output: self.usage.output.count(),
            cache_read: self.usage.cached.count(),
            reasoning: self.usage.thought.count(),
            tool_prompt: self.usage.tool_use.count(),
            reasoning_is_apart: true,
            ..Tokens::default()
        });
        if let Some(failure) = error::member(self.error) {
            reply.fail(failure);
        }
    }

    /// The interaction as it ends; its steps where no event told them.
    fn close(&self, reply: &mut Reply) {
        self.apply(reply);
        reply.finish(0, self.status);
        if reply.has_content() {
            return;
        }
        for (place, raw) in self.outputs.iter().enumerate() {
            let step: Step<'_> = raw.parse();
            step.add_whole(u64::try_from(place).ok(), *raw, reply);
        }
    }
}

impl Step<'_> {
    fn call(&self, key: Option<u64>) -> ToolFragment<'_> {
        ToolFragment {
            key,
            id: self.id,
            name: self.name,
            arguments: self.arguments,
        }
    }

    fn begin(&self, place: Option<u64>, raw: Raw<'_>, reply: &mut Reply) {
        match self.kind.key() {
            "function_call" => {
                let given = if self.arguments.text().len() > 2 {
                    self.arguments
                } else {
                    Raw::default()
                };
                reply.tool(
                    0,
                    ToolFragment {
                        arguments: given,
                        ..self.call(place)
                    },
                );
            }
            _ => self.add_whole(place, raw, reply),
        }
    }

    fn add_delta(&self, place: Option<u64>, reply: &mut Reply) {
        match self.kind.key() {
            "text" => reply.text(0, place, self.text.string()),
            "thought" | "thought_summary" | "thought_signature" => {
                let summary: Step<'_> = self.content.parse();
                let text = self
                    .text
                    .string()
                    .or(self.thought)
                    .or(summary.text.string());
                reply.reasoning(0, place, text);
            }
            "arguments_delta" => reply.tool(0, self.call(place)),
            "function_call" => reply.tool(0, self.call(place)),
            _ => reply.progressed(),
        }
    }

    fn add_whole(&self, place: Option<u64>, raw: Raw<'_>, reply: &mut Reply) {
        match self.kind.key() {
            "text" => reply.text(0, place, self.text.string()),
            "model_output" | "message" => {
                for raw in &self.content.one_or_many::<Raw<'_>>() {
                    raw.parse::<Step<'_>>().add_whole(place, *raw, reply);
                }
            }
            "thought" => {
                for piece in &self.summary.one_or_many::<Step<'_>>() {
                    reply.reasoning(0, place, piece.text.string());
                }
            }
            "function_call" => reply.whole_tool(0, self.call(place)),
            "user_input" | "function_result" | "" => {}
            kind => reply.part(0, place, || self.part(kind, raw)),
        }
    }

    /// A content that is neither text nor a call.
    fn part(&self, kind: &str, raw: Raw<'_>) -> Option<Part> {
        let modality = match kind {
            "image" => "image",
            "audio" => "audio",
            "video" => "video",
            "document" => "document",
            _ => return media::other(kind, raw),
        };
        if self.uri.is_empty() {
            return Some(media::inline(modality, self.mime, self.data.key().len()));
        }
        media::from_url(modality, self.uri)
    }

    /// This step as a message of a request, or as one part of one.
    fn message(&self, raw: Raw<'_>) -> ChatMessage {
        let (role, parts) = match self.kind.key() {
            "function_call" => ("assistant", vec![self.call(None).into_part()]),
            "function_result" => {
                let id = self.id.boxed();
                let response = self.result.value().unwrap_or_default();
                ("tool", vec![Part::ToolCallResponse { id, response }])
            }
            "text" => (
                "user",
                self.text
                    .string()
                    .string()
                    .map(Part::Text)
                    .into_iter()
                    .collect(),
            ),
            "model_output" => ("assistant", contents(self.content)),
            "user_input" => ("user", contents(self.content)),
            "" if self.content.is_some() => (self.role.key(), contents(self.content)),
            kind => ("user", self.part(kind, raw).into_iter().collect()),
        };
        ChatMessage {
            role: match role {
                "" | "user" => Name::Borrowed("user"),
                "tool" => Name::Borrowed("tool"),
                _ => Name::Borrowed("assistant"),
            },
            parts,
            ..ChatMessage::default()
        }
    }
}

/// The parts of a content: a string, or a list of typed contents.
fn contents(raw: Raw<'_>) -> Vec<Part> {
    messages(raw).into_iter().flat_map(|m| m.parts).collect()
}

/// The messages of an `input`: a string, contents, or turns.
fn messages(input: Raw<'_>) -> Vec<ChatMessage> {
    if input.is_string() {
        let text = input.string().string().unwrap_or_default();
        return vec![user_message(Part::Text(text))];
    }
    let list: List<Raw<'_>> = input.one_or_many();
    list.iter()
        .map(|raw| raw.parse::<Step<'_>>().message(*raw))
        .collect()
}
