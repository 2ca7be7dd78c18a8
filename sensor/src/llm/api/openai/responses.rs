//! Responses: `POST …/responses`.

use super::content;
use super::items::{self, Item};
use super::usage::Usage;
use crate::llm::api::{Ask, Dialect, Event};
use crate::llm::attr;
use crate::llm::call::Name;
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::{Reply, ToolFragment};

#[derive(Debug)]
pub(in crate::llm::api) struct Responses;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        stream: Bool,
        input: Raw<'a>,
        instructions: Raw<'a>,
        tools: Raw<'a>,
        tool_choice: Str<'a>,
        max_output_tokens: Int,
        temperature: Num,
        top_p: Num,
        reasoning: Reasoning<'a>,
        text: Text<'a>,
        conversation: Raw<'a>,
        previous_response_id: Str<'a>,
        prompt: Reference<'a>,
        service_tier: Str<'a>,
        user: Str<'a> = "user" | "safety_identifier",
    }

    struct Reasoning<'a> {
        effort: Str<'a>,
    }

    struct Text<'a> {
        format: Kind<'a>,
    }

    struct Kind<'a> {
        kind: Str<'a> = "type",
    }

    struct Reference<'a> {
        id: Str<'a>,
    }

    /// A response, whole or as an event carries it.
    pub(in crate::llm::api) struct Response<'a> {
        id: Str<'a>,
        model: Str<'a>,
        status: Str<'a>,
        incomplete_details: Incomplete<'a>,
        status_details: Incomplete<'a>,
        output: List<Raw<'a>>,
        usage: Usage<'a>,
        error: Raw<'a>,
        service_tier: Str<'a>,
        conversation: Raw<'a>,
        object: Str<'a>,
    }

    struct Incomplete<'a> {
        reason: Str<'a>,
    }

    struct StreamEvent<'a> {
        kind: Str<'a> = "type",
        response: Raw<'a>,
        output_index: Int,
        item: Raw<'a>,
        delta: Raw<'a>,
        error: Raw<'a>,
        message: Str<'a>,
        code: Str<'a>,
    }
}

impl Dialect for Responses {
    fn name(&self) -> &'static str {
        "openai.responses"
    }

    fn operation(&self) -> &'static str {
        "chat"
    }

    fn provider(&self) -> &'static str {
        super::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        request.model = asked.model.boxed().or(request.model.take());
        request.stream = asked.stream.0;
        request.max_tokens = asked.max_output_tokens.0;
        request.temperature = asked.temperature.0;
        request.top_p = asked.top_p.0;
        request.reasoning_level = asked.reasoning.effort.boxed();
        request.output_type = match asked.text.format.kind.key() {
            "json_object" | "json_schema" => Some(Name::Borrowed("json")),
            "text" => Some(Name::Borrowed("text")),
            _ => None,
        };
        request.conversation_id = conversation(asked.conversation);
        let attributes = &mut ask.attributes;
        attributes.text(attr::PREVIOUS_RESPONSE_ID, asked.previous_response_id);
        attributes.text(attr::PROMPT_NAME, asked.prompt.id);
        attributes.text(attr::REQUEST_SERVICE_TIER, asked.service_tier);
        attributes.text(attr::TOOL_CHOICE, asked.tool_choice);
        attributes.text(attr::END_USER, asked.user);
        if ask.content {
            content::parts(asked.instructions, &mut ask.request.system);
            ask.request.messages = items::messages(asked.input);
            ask.request.tools = content::tools(asked.tools);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        response.close(reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: StreamEvent<'_> = read(event.data);
        told.apply(reply);
    }
}

impl StreamEvent<'_> {
    fn apply(&self, reply: &mut Reply) {
        let kind = self.kind.key();
        let kind = kind.strip_prefix("response.").unwrap_or(kind);
        match kind {
            "created" | "in_progress" | "queued" => {
                self.response.parse::<Response<'_>>().apply(reply);
            }
            "output_item.added" => self.item_added(reply),
            "output_item.done" => self.item_done(reply),
            "completed" | "incomplete" | "failed" | "done" | "cancelled" => {
                self.response.parse::<Response<'_>>().close(reply);
                reply.ended = true;
            }
            "error" => {
                let failure = error::member(self.error);
                reply.fail(failure.unwrap_or_else(|| error::failure(self.code, self.message)));
            }
            kind if kind.ends_with("partial_image") => reply.progressed(),
            kind => self.delta(kind, reply),
        }
    }

    /// A piece of an item.
    fn delta(&self, kind: &str, reply: &mut Reply) {
        let key = self.output_index.count();
        let text = self.delta.string();
        match kind {
            "output_text.delta" | "text.delta" => reply.text(0, key, text),
            "output_audio_transcript.delta" | "audio_transcript.delta" => reply.transcript(0, text),
            "output_audio.delta" | "audio.delta" => {
                reply.media(0, "audio", Str::default(), text.key().len());
            }
            "refusal.delta" => reply.refusal(0, text),
            "reasoning_text.delta" | "reasoning_summary_text.delta" | "reasoning.delta" => {
                reply.reasoning(0, key, text);
            }
            "function_call_arguments.delta" | "custom_tool_call_input.delta" => {
                let arguments = self.delta;
                reply.tool(
                    0,
                    ToolFragment {
                        key,
                        arguments,
                        ..ToolFragment::default()
                    },
                );
            }
            _ => {}
        }
    }

    fn item_added(&self, reply: &mut Reply) {
        let key = self.output_index.count();
        if let Some(begun) = self.item.parse::<Item<'_>>().tool_call() {
            let arguments = Raw::default();
            reply.tool(
                0,
                ToolFragment {
                    key,
                    arguments,
                    ..begun
                },
            );
        }
    }

    /// The item as a whole takes the place of its pieces.
    fn item_done(&self, reply: &mut Reply) {
        let place = self.output_index.count().unwrap_or_default();
        let item: Item<'_> = self.item.parse();
        reply.restart_block(0, place);
        item.add_to(place, self.item, reply);
    }
}

impl Response<'_> {
    fn apply(&self, reply: &mut Reply) {
        let object = self.object.key();
        reply.recognised |=
            matches!(object, "response" | "response.compaction") || !self.status.is_empty();
        reply.set_id(self.id);
        reply.set_model(self.model);
        self.usage.apply(reply);
        if let Some(conversation) = conversation(self.conversation) {
            reply.conversation_id = Some(conversation);
        }
        if let Some(failure) = error::member(self.error) {
            reply.fail(failure);
        }
    }

    /// The response as it ends: why, and all of its output.
    pub(in crate::llm::api) fn close(&self, reply: &mut Reply) {
        self.apply(reply);
        // Until the end it is the tier that was asked for.
        reply
            .attributes
            .text(attr::RESPONSE_SERVICE_TIER, self.service_tier);
        let reason = self
            .incomplete_details
            .reason
            .or(self.status_details.reason);
        reply.finish(0, reason.or(self.status));
        if self.output.is_empty() {
            return;
        }
        reply.restart(0);
        for (place, raw) in self.output.iter().enumerate() {
            let item: Item<'_> = raw.parse();
            item.add_to(u64::try_from(place).unwrap_or_default(), *raw, reply);
        }
    }
}

/// A conversation's id, given as such or in an object.
fn conversation(raw: Raw<'_>) -> Option<Box<str>> {
    raw.string().or(raw.parse::<Reference<'_>>().id).boxed()
}
