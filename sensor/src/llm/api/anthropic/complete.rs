//! Text Completions, Anthropic's former API: `POST …/v1/complete`.

use crate::llm::api::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::Part;
use crate::llm::error;
use crate::llm::json::{Bool, Int, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(in crate::llm::api) struct Complete;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        stream: Bool,
        prompt: Str<'a>,
        max_tokens: Int = "max_tokens_to_sample",
        temperature: Num,
        top_p: Num,
        top_k: Num,
        stop_sequences: Raw<'a>,
    }

    struct Response<'a> {
        id: Str<'a> = "log_id" | "id",
        kind: Str<'a> = "type",
        model: Str<'a>,
        completion: Str<'a>,
        stop_reason: Str<'a>,
        error: Raw<'a>,
    }
}

impl Dialect for Complete {
    fn name(&self) -> &'static str {
        "anthropic.complete"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
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
        if ask.content {
            let prompt = asked
                .prompt
                .string()
                .map(|text| user_message(Part::Text(text)));
            request.messages.extend(prompt);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.completion.is_some();
        reply.set_id(response.id);
        reply.set_model(response.model);
        reply.text(0, None, response.completion);
        reply.finish(0, response.stop_reason);
        if let Some(failure) = error::member(response.error) {
            reply.fail(failure);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}
