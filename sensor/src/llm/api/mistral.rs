//! Mistral's conversations: `POST /v1/conversations` and `/v1/conversations/{id}`.

use super::openai::content;
use super::openai::usage::Usage;
use super::{Ask, Dialect, Event, media, strings, user_message};
use crate::llm::attr;
use crate::llm::call::{ChatMessage, Name, Part};
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::{Reply, ToolFragment};

#[derive(Debug)]
pub(super) struct Conversations;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        agent: Str<'a> = "agent_id",
        stream: Bool,
        inputs: Raw<'a>,
        instructions: Str<'a>,
        tools: Raw<'a>,
        arguments: Arguments<'a> = "completion_args",
    }

    struct Arguments<'a> {
        max_tokens: Int,
        temperature: Num,
        top_p: Num,
        frequency_penalty: Num,
        presence_penalty: Num,
        seed: Int = "random_seed",
        stop: Raw<'a>,
    }

    struct Response<'a> {
        conversation: Str<'a> = "conversation_id",
        outputs: List<Raw<'a>>,
        usage: Usage<'a>,
    }

    /// An entry of a conversation, or an event that brings a piece of one.
    struct Entry<'a> {
        kind: Str<'a> = "type",
        role: Str<'a>,
        model: Str<'a>,
        agent: Str<'a> = "agent_id",
        content: Raw<'a>,
        id: Str<'a> = "tool_call_id",
        name: Str<'a>,
        arguments: Raw<'a>,
        result: Raw<'a>,
        place: Int = "output_index",
        conversation: Str<'a> = "conversation_id",
        usage: Usage<'a>,
        message: Str<'a>,
        code: Str<'a>,
    }

    struct Piece<'a> {
        kind: Str<'a> = "type",
        text: Str<'a>,
    }
}

impl Dialect for Conversations {
    fn name(&self) -> &'static str {
        "mistral.conversations"
    }

    fn operation(&self) -> &'static str {
        "chat"
    }

    fn provider(&self) -> &'static str {
        "mistral_ai"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        let arguments = &asked.arguments;
        request.model = asked.model.boxed();
        request.stream = asked.stream.0.or(request.stream);
        request.max_tokens = arguments.max_tokens.0;
        request.temperature = arguments.temperature.0;
        request.top_p = arguments.top_p.0;
        request.frequency_penalty = arguments.frequency_penalty.0;
        request.presence_penalty = arguments.presence_penalty.0;
        request.seed = arguments.seed.0;
        request.stop_sequences = strings(arguments.stop);
        if !asked.agent.is_empty() {
            ask.operation = Some("invoke_agent");
            ask.attributes.text(attr::AGENT_ID, asked.agent);
        }
        if ask.content {
            request
                .system
                .extend(asked.instructions.string().map(Part::Text));
            request.messages = messages(asked.inputs);
            request.tools = content::tools(asked.tools);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= !response.outputs.is_empty();
        reply.conversation_id = response.conversation.boxed();
        reply.tokens.update(response.usage.tokens());
        for raw in &response.outputs {
            raw.parse::<Entry<'_>>().add_to(None, *raw, reply);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: Entry<'_> = read(event.data);
        match told.kind.key() {
            "conversation.response.started" => {
                reply.recognised = true;
                reply.conversation_id = told.conversation.boxed();
            }
            "conversation.response.done" => {
                reply.tokens.update(told.usage.tokens());
                reply.ended = true;
            }
            "conversation.response.error" => reply.fail(error::failure(told.code, told.message)),
            "message.output.delta" | "function.call.delta" => {
                told.add_to(told.place.count(), Raw::of(event.data), reply);
            }
            _ => {}
        }
    }
}

impl Entry<'_> {
    /// Adds an entry, or a piece of the one at `place`.
    fn add_to(&self, place: Option<u64>, raw: Raw<'_>, reply: &mut Reply) {
        reply.set_model(self.model);
        reply.attributes.text(attr::AGENT_ID, self.agent);
        let kind = self.kind.key();
        if kind.starts_with("message.output") {
            reply.role(0, self.role);
            if self.content.is_string() {
                return reply.text(0, place, self.content.string());
            }
            for piece in &self.content.one_or_many::<Raw<'_>>() {
                let text: Piece<'_> = piece.parse();
                match text.kind.key() {
                    "text" => reply.text(0, place, text.text),
                    _ => reply.part(0, place, || content::part(*piece)),
                }
            }
        } else if kind.starts_with("function.call") {
            let call = ToolFragment {
                key: place,
                ..self.call()
            };
            match place {
                Some(_) => reply.tool(0, call),
                None => reply.whole_tool(0, call),
            }
        } else {
            reply.part(0, place, || media::other(kind, raw));
        }
    }

    fn call(&self) -> ToolFragment<'_> {
        ToolFragment {
            key: None,
            id: self.id,
            name: self.name,
            arguments: self.arguments,
        }
    }

    fn message(&self) -> ChatMessage {
        let mut parts = Vec::new();
        let role = match self.kind.key() {
            "function.result" => {
                parts.push(Part::ToolCallResponse {
                    id: self.id.boxed(),
                    response: self.result.value().unwrap_or_default(),
                });
                Name::Borrowed("tool")
            }
            "function.call" => {
                parts.push(self.call().into_part());
                Name::Borrowed("assistant")
            }
            _ => {
                content::parts(self.content, &mut parts);
                content::role(self.role)
            }
        };
        ChatMessage {
            role,
            parts,
            ..ChatMessage::default()
        }
    }
}

/// The messages of `inputs`: a string, or entries.
fn messages(inputs: Raw<'_>) -> Vec<ChatMessage> {
    if inputs.is_string() {
        let text = inputs.string().string().unwrap_or_default();
        return vec![user_message(Part::Text(text))];
    }
    let list: List<Entry<'_>> = inputs.one_or_many();
    list.iter().map(Entry::message).collect()
}
