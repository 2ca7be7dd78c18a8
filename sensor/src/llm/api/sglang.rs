//! SGLang's own API: `POST /generate`.

use super::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::Part;
use crate::llm::error;
use crate::llm::json::{Bool, Int, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(super) struct Generate;

wire! {
    struct Request<'a> {
        text: Raw<'a>,
        parameters: Parameters<'a> = "sampling_params",
        stream: Bool,
        model: Str<'a>,
    }

    struct Parameters<'a> {
        max_tokens: Int = "max_new_tokens",
        temperature: Num,
        top_p: Num,
        top_k: Num,
        frequency_penalty: Num,
        presence_penalty: Num,
        n: Int,
        stop: Raw<'a>,
    }

    /// A reply, or an event that holds all of one so far.
    struct Response<'a> {
        text: Str<'a>,
        meta: Meta<'a> = "meta_info",
        error: Raw<'a>,
    }

    struct Meta<'a> {
        id: Str<'a>,
        finish: Finish<'a> = "finish_reason",
        input: Int = "prompt_tokens",
        output: Int = "completion_tokens",
        cached: Int = "cached_tokens",
        /// Its place, where several texts are asked for.
        index: Int,
    }

    struct Finish<'a> {
        kind: Str<'a> = "type",
    }
}

impl Dialect for Generate {
    fn name(&self) -> &'static str {
        "sglang"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn provider(&self) -> &'static str {
        "sglang"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        let parameters = &asked.parameters;
        request.model = asked.model.boxed().or(request.model.take());
        request.stream = asked.stream.0;
        request.max_tokens = parameters.max_tokens.0;
        request.temperature = parameters.temperature.0;
        request.top_p = parameters.top_p.0;
        request.top_k = parameters.top_k.0;
        request.frequency_penalty = parameters.frequency_penalty.0;
        request.presence_penalty = parameters.presence_penalty.0;
        request.choice_count = parameters.n.0;
        request.stop_sequences = strings(parameters.stop);
        if ask.content {
            let texts = strings(asked.text).into_iter();
            let messages = texts.map(|text| user_message(Part::Text(text.into())));
            request.messages = messages.collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let responses = Raw::of(body.trim_start()).one_or_many::<Response<'_>>();
        for (at, response) in responses.iter().enumerate() {
            response.apply(at, reply);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: Response<'_> = read(event.data);
        let at = told.meta.index.index().unwrap_or_default();
        reply.restart(at);
        told.apply(at, reply);
        reply.ended |= told.meta.finish.kind.is_some();
    }
}

impl Response<'_> {
    fn apply(&self, at: usize, reply: &mut Reply) {
        let meta = &self.meta;
        reply.recognised |= meta.id.is_some();
        reply.set_id(meta.id);
        reply.text(at, None, self.text);
        reply.finish(at, meta.finish.kind);
        reply.tokens.update(Tokens {
            input: meta.input.count(),
            output: meta.output.count(),
            cache_read: meta.cached.count(),
            ..Tokens::default()
        });
        if let Some(failure) = error::member(self.error) {
            reply.fail(failure);
        }
    }
}
