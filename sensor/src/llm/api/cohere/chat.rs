//! Chat: `POST /v2/chat` with typed events, and `POST /v1/chat` with lines of JSON.

use super::meta::Meta;
use crate::llm::api::openai::content;
use crate::llm::api::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::{ChatMessage, Name, Part};
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::{Reply, ToolFragment};

#[derive(Debug)]
pub(in crate::llm::api) struct Chat;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        stream: Bool,
        messages: Raw<'a>,
        message: Str<'a>,
        chat_history: List<Turn<'a>>,
        preamble: Str<'a>,
        tools: Raw<'a>,
        max_tokens: Int,
        temperature: Num,
        top_p: Num = "p" | "top_p",
        top_k: Num = "k" | "top_k",
        frequency_penalty: Num,
        presence_penalty: Num,
        stop: Raw<'a> = "stop_sequences",
        seed: Int,
        generations: Int = "num_generations",
        format: Kind<'a> = "response_format",
        thinking: Kind<'a>,
        conversation: Str<'a> = "conversation_id",
    }

    struct Kind<'a> {
        kind: Str<'a> = "type",
    }

    /// A turn of the first API.
    struct Turn<'a> {
        role: Str<'a>,
        message: Str<'a>,
    }

    /// A reply of either API, or the event that ends one.
    struct Response<'a> {
        id: Str<'a> = "id" | "response_id",
        message: Message<'a>,
        text: Str<'a>,
        tool_calls: List<OldCall<'a>>,
        finish_reason: Str<'a>,
        usage: Meta = "usage" | "meta",
        error: Raw<'a>,
    }

    struct Message<'a> {
        role: Str<'a>,
        content: Raw<'a>,
        tool_plan: Str<'a>,
        tool_calls: Raw<'a>,
    }

    struct Content<'a> {
        text: Str<'a>,
        thinking: Str<'a>,
    }

    struct OldCall<'a> {
        name: Str<'a>,
        parameters: Raw<'a>,
    }

    struct StreamEvent<'a> {
        kind: Str<'a> = "type" | "event_type",
        id: Str<'a> = "id" | "response_id",
        index: Int,
        delta: Delta<'a>,
        text: Str<'a>,
        tool_calls: List<OldCall<'a>>,
        response: Response<'a>,
        finish_reason: Str<'a>,
        error: Raw<'a>,
    }

    struct Delta<'a> {
        message: Message<'a>,
        finish_reason: Str<'a>,
        usage: Meta,
        error: Raw<'a>,
        error_type: Str<'a>,
    }
}

impl Dialect for Chat {
    fn name(&self) -> &'static str {
        "cohere.chat"
    }

    fn operation(&self) -> &'static str {
        "chat"
    }

    fn provider(&self) -> &'static str {
        super::COHERE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        request.model = asked.model.boxed();
        request.stream = asked.stream.0;
        request.max_tokens = asked.max_tokens.0;
        request.temperature = asked.temperature.0;
        request.top_p = asked.top_p.0;
        request.top_k = asked.top_k.0;
        request.frequency_penalty = asked.frequency_penalty.0;
        request.presence_penalty = asked.presence_penalty.0;
        request.stop_sequences = strings(asked.stop);
        request.seed = asked.seed.0;
        request.choice_count = asked.generations.0;
        request.reasoning_level = asked.thinking.kind.boxed();
        request.conversation_id = asked.conversation.boxed();
        request.output_type = match asked.format.kind.key() {
            "json_object" => Some(Name::Borrowed("json")),
            "text" => Some(Name::Borrowed("text")),
            _ => None,
        };
        if ask.content {
            request
                .system
                .extend(asked.preamble.string().map(Part::Text));
            request.messages = content::messages(asked.messages);
            request
                .messages
                .extend(asked.chat_history.iter().map(Turn::message));
            let last = asked
                .message
                .string()
                .map(|text| user_message(Part::Text(text)));
            request.messages.extend(last);
            request.tools = content::tools(asked.tools);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.finish_reason.is_some() || response.text.is_some();
        response.apply(reply);
        response.message.add_to(None, reply);
        reply.text(0, None, response.text);
        for call in &response.tool_calls {
            call.add_to(reply);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: StreamEvent<'_> = read(event.data);
        let place = told.index.count();
        match told.kind.key() {
            "message-start" | "stream-start" => {
                reply.recognised = true;
                reply.set_id(told.id);
                reply.role(0, told.delta.message.role);
            }
            "content-start" | "content-delta" | "tool-plan-delta" | "tool-call-start"
            | "tool-call-delta" => {
                told.delta.message.add_to(place, reply);
            }
            "text-generation" => reply.text(0, None, told.text),
            "tool-calls-generation" => {
                for call in &told.tool_calls {
                    call.add_to(reply);
                }
            }
            "message-end" => {
                reply.finish(0, told.delta.finish_reason);
                told.delta.usage.apply(reply);
                reply.ended = true;
                if told.delta.error.is_string() {
                    let words = told.delta.error.string();
                    reply.fail(error::failure(told.delta.error_type, words));
                }
            }
            "stream-end" => {
                told.response.apply(reply);
                reply.finish(0, told.finish_reason);
                reply.ended = true;
            }
            _ => {}
        }
        if let Some(failure) = error::member(told.error) {
            reply.fail(failure);
        }
    }
}

impl Response<'_> {
    /// Everything but the text.
    fn apply(&self, reply: &mut Reply) {
        reply.set_id(self.id);
        reply.finish(0, self.finish_reason);
        self.usage.apply(reply);
        if let Some(failure) = error::member(self.error) {
            reply.fail(failure);
        }
    }
}

impl Message<'_> {
    /// Adds a message, or block `place` or a piece of it.
    fn add_to(&self, place: Option<u64>, reply: &mut Reply) {
        reply.role(0, self.role);
        reply.reasoning(0, None, self.tool_plan);
        if self.content.is_string() {
            reply.text(0, place, self.content.string());
        } else {
            for content in &self.content.one_or_many::<Content<'_>>() {
                reply.reasoning(0, place, content.thinking);
                reply.text(0, place, content.text);
            }
        }
        for call in &self.tool_calls.one_or_many::<content::ToolCall<'_>>() {
            let fragment = call.fragment();
            match place {
                Some(_) => reply.tool(
                    0,
                    ToolFragment {
                        key: place,
                        ..fragment
                    },
                ),
                None => reply.whole_tool(0, fragment),
            }
        }
    }
}

impl OldCall<'_> {
    fn add_to(&self, reply: &mut Reply) {
        reply.whole_tool(
            0,
            ToolFragment {
                name: self.name,
                arguments: self.parameters,
                ..ToolFragment::default()
            },
        );
    }
}

impl Turn<'_> {
    fn message(&self) -> ChatMessage {
        ChatMessage {
            role: content::role(self.role),
            parts: self.message.string().map(Part::Text).into_iter().collect(),
            ..ChatMessage::default()
        }
    }
}
