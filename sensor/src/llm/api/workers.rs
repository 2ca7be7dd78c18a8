//! Workers AI, Cloudflare's: `POST …/ai/run/{model}`. Around what a model gives there is an
//! envelope, and many models give what OpenAI's do.

use super::openai::chat::Chat;
use super::openai::responses::Responses;
use super::openai::{content, usage::Usage};
use super::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::Part;
use crate::llm::json::{List, Raw, Str, read, wire};
use crate::llm::reply::{Reply, ToolFragment};

#[derive(Debug)]
pub(super) struct Run;

wire! {
    struct Request<'a> {
        messages: Raw<'a>,
        prompt: Raw<'a>,
        input: Raw<'a>,
        text: Raw<'a>,
    }

    struct Envelope<'a> {
        result: Raw<'a>,
    }

    /// What a model gives, whole or as an event.
    struct Response<'a> {
        text: Raw<'a> = "response",
        calls: List<Raw<'a>> = "tool_calls",
        usage: Usage<'a>,
        choices: Raw<'a>,
        object: Str<'a>,
        kind: Str<'a> = "type",
        /// Vectors.
        data: Raw<'a>,
    }

    /// A call without an id; some models give them as OpenAI's do.
    struct Call<'a> {
        name: Str<'a>,
        arguments: Raw<'a>,
    }
}

impl Dialect for Run {
    fn name(&self) -> &'static str {
        "workers"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn provider(&self) -> &'static str {
        "cloudflare"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        if asked.messages.is_some() {
            ask.operation = Some(Chat.operation());
            return Chat.request(body, ask);
        }
        if asked.input.is_some() {
            ask.operation = Some(Responses.operation());
            return Responses.request(body, ask);
        }
        if asked.prompt.is_some() {
            return Chat.request(body, ask);
        }
        ask.operation = Some("embeddings");
        if ask.content {
            let texts = strings(asked.text).into_iter();
            let messages = texts.map(|text| user_message(Part::Text(text.into())));
            ask.request.messages = messages.collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let envelope: Envelope<'_> = read(body);
        let response: Response<'_> = envelope.result.parse();
        if response.choices.is_list() {
            return Chat.whole(envelope.result.text(), reply);
        }
        if response.object.key() == "response" {
            return Responses.whole(envelope.result.text(), reply);
        }
        reply.recognised |= response.data.is_list();
        response.apply(false, reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let response: Response<'_> = read(event.data);
        if response.choices.is_list() {
            return Chat.event(event, reply);
        }
        if response.kind.key().starts_with("response.") {
            return Responses.event(event, reply);
        }
        response.apply(true, reply);
    }
}

impl Response<'_> {
    /// `delta`: calls that are like OpenAI's come in pieces.
    fn apply(&self, delta: bool, reply: &mut Reply) {
        reply.recognised |= self.text.is_some() || !self.calls.is_empty();
        if self.text.is_object() {
            // JSON that was asked for.
            reply.plain_text(0, self.text.text());
        }
        reply.text(0, None, self.text.string());
        for raw in &self.calls {
            let call: Call<'_> = raw.parse();
            let like_openai = raw.parse::<content::ToolCall<'_>>().fragment();
            if call.name.is_some() {
                let (name, arguments) = (call.name, call.arguments);
                let none = ToolFragment::default();
                reply.whole_tool(
                    0,
                    ToolFragment {
                        name,
                        arguments,
                        ..none
                    },
                );
            } else if delta {
                reply.tool(0, like_openai);
            } else {
                reply.whole_tool(0, like_openai);
            }
        }
        self.usage.apply(reply);
    }
}
