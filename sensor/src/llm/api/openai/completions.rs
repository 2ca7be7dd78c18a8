//! Completions: `POST …/completions`, text in and text out.

use super::chat::Request;
use super::usage::Usage;
use crate::llm::api::{Ask, Dialect, Event, strings, user_message};
use crate::llm::attr;
use crate::llm::call::Part;
use crate::llm::error;
use crate::llm::json::{Int, List, Raw, Str, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(in crate::llm::api) struct Completions;

wire! {
    struct Response<'a> {
        id: Str<'a>,
        model: Str<'a>,
        choices: List<Choice<'a>>,
        usage: Raw<'a>,
        system_fingerprint: Str<'a>,
        error: Raw<'a>,
        /// A piece of text outside of any choice (Writer).
        value: Str<'a>,
    }

    struct Choice<'a> {
        index: Int,
        text: Str<'a>,
        finish_reason: Str<'a>,
        delta: Delta<'a> = "delta" | "message",
    }

    struct Delta<'a> {
        content: Str<'a>,
    }
}

impl Dialect for Completions {
    fn name(&self) -> &'static str {
        "openai.completions"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn provider(&self) -> &'static str {
        super::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let request: Request<'_> = read(body);
        request.apply(ask);
        if ask.content {
            let prompts = strings(request.prompt).into_iter();
            let messages = prompts.map(|text| user_message(Part::Text(text.into())));
            ask.request.messages = messages.collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= !response.choices.is_empty();
        reply.set_id(response.id);
        reply.set_model(response.model);
        if response.usage.is_some() {
            response.usage.parse::<Usage<'_>>().apply(reply);
        }
        reply
            .attributes
            .text(attr::SYSTEM_FINGERPRINT, response.system_fingerprint);
        for (place, choice) in response.choices.iter().enumerate() {
            let at = choice.index.index().unwrap_or(place);
            reply.finish(at, choice.finish_reason);
            reply.text(at, None, choice.text.or(choice.delta.content));
        }
        reply.text(0, None, response.value);
        if let Some(failure) = error::member(response.error) {
            reply.fail(failure);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}
