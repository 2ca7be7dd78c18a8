//! Generate: `POST /v1/generate`, and Command in Bedrock's InvokeModel.

use super::meta::Meta;
use crate::llm::api::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::Part;
use crate::llm::json::{Bool, Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(in crate::llm::api) struct Generate;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        stream: Bool,
        prompt: Str<'a>,
        max_tokens: Int,
        temperature: Num,
        top_p: Num = "p",
        top_k: Num = "k",
        frequency_penalty: Num,
        presence_penalty: Num,
        stop: Raw<'a> = "stop_sequences",
        seed: Int,
        generations: Int = "num_generations",
    }

    /// A reply, or a line of one.
    struct Response<'a> {
        id: Str<'a>,
        generations: List<Generation<'a>>,
        meta: Meta,
        text: Str<'a>,
        index: Int,
        finished: Bool = "is_finished",
        finish_reason: Str<'a>,
        /// The reply as a whole, at the end of a stream.
        response: Raw<'a>,
    }

    struct Generation<'a> {
        text: Str<'a>,
        finish_reason: Str<'a>,
    }
}

impl Dialect for Generate {
    fn name(&self) -> &'static str {
        "cohere.generate"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
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
        response.apply(reply);
        for (at, generation) in response.generations.iter().enumerate() {
            reply.text(at, None, generation.text);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: Response<'_> = read(event.data);
        told.apply(reply);
        let at = told.index.index().unwrap_or_default();
        reply.text(at, None, told.text);
        reply.finish(at, told.finish_reason);
        for (at, generation) in told.generations.iter().enumerate() {
            reply.text(at, None, generation.text);
        }
        if told.response.is_some() {
            told.response.parse::<Response<'_>>().apply(reply);
        }
        reply.ended |= told.finished.0 == Some(true);
    }
}

impl Response<'_> {
    /// Everything but the text.
    fn apply(&self, reply: &mut Reply) {
        reply.recognised |= !self.generations.is_empty();
        reply.set_id(self.id);
        self.meta.apply(reply);
        for (at, generation) in self.generations.iter().enumerate() {
            reply.finish(at, generation.finish_reason);
        }
    }
}
