//! llama.cpp's own completions: `POST /completion` and `/infill`.

use super::{Ask, Dialect, Event, strings, user_message};
use crate::llm::attr;
use crate::llm::call::Part;
use crate::llm::error;
use crate::llm::json::{Bool, Int, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(super) struct Completion;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        prompt: Raw<'a> = "prompt" | "input_prefix",
        stream: Bool,
        max_tokens: Int = "n_predict",
        temperature: Num,
        top_p: Num,
        top_k: Num,
        frequency_penalty: Num,
        presence_penalty: Num,
        seed: Int,
        stop: Raw<'a>,
    }

    struct Response<'a> {
        model: Str<'a>,
        content: Str<'a>,
        stopped: Bool = "stop",
        stop_type: Str<'a>,
        stopping_word: Str<'a>,
        predicted: Int = "tokens_predicted",
        evaluated: Int = "tokens_evaluated",
        error: Raw<'a>,
    }
}

impl Dialect for Completion {
    fn name(&self) -> &'static str {
        "llamacpp.completion"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn provider(&self) -> &'static str {
        "llamacpp"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        request.model = asked.model.boxed();
        request.stream = asked.stream.0;
        request.max_tokens = asked.max_tokens.0.filter(|n| *n >= 0);
        request.temperature = asked.temperature.0;
        request.top_p = asked.top_p.0;
        request.top_k = asked.top_k.0;
        request.frequency_penalty = asked.frequency_penalty.0;
        request.presence_penalty = asked.presence_penalty.0;
        request.seed = asked.seed.0;
        request.stop_sequences = strings(asked.stop);
        if ask.content {
            let prompts = strings(asked.prompt).into_iter();
            let messages = prompts.map(|text| user_message(Part::Text(text.into())));
            request.messages = messages.collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.content.is_some() && response.stopped.0.is_some();
        reply.set_model(response.model);
        reply.text(0, None, response.content);
        reply.ended |= response.stopped.0 == Some(true);
        if reply.ended {
            reply.finish(0, response.stop_type);
            reply
                .attributes
                .text(attr::STOP_SEQUENCE, response.stopping_word);
            reply.tokens.update(Tokens {
                input: response.evaluated.count(),
                output: response.predicted.count(),
                ..Tokens::default()
            });
        }
        if let Some(failure) = error::member(response.error) {
            reply.fail(failure);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}
