//! Text Generation Inference's own API: `POST /generate` and `/generate_stream`; also
//! what most containers at SageMaker speak. Beside it that of Text Embeddings Inference,
//! `POST /embed`.

use super::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::Part;
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(super) struct Tgi;

#[derive(Debug)]
pub(super) struct Embed;

wire! {
    struct Request<'a> {
        inputs: Raw<'a>,
        parameters: Parameters<'a>,
        stream: Bool,
        model: Str<'a>,
    }

    struct Parameters<'a> {
        max_new_tokens: Int,
        temperature: Num,
        top_p: Num,
        top_k: Num,
        seed: Int,
        stop: Raw<'a>,
    }

    struct Response<'a> {
        text: Str<'a> = "generated_text",
        token: Token<'a>,
        details: Details<'a>,
        error: Raw<'a>,
        error_type: Str<'a>,
    }

    struct Token<'a> {
        text: Str<'a>,
        special: Bool,
    }

    struct Details<'a> {
        finish_reason: Str<'a>,
        generated: Int = "generated_tokens",
        input: Int = "input_length" | "prompt_tokens",
        prefill: List<Raw<'a>>,
    }
}

impl Dialect for Tgi {
    fn name(&self) -> &'static str {
        "tgi"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn provider(&self) -> &'static str {
        "huggingface"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        request.model = asked.model.boxed().or(request.model.take());
        request.stream = asked.stream.0.or(request.stream);
        request.max_tokens = asked.parameters.max_new_tokens.0;
        request.temperature = asked.parameters.temperature.0;
        request.top_p = asked.parameters.top_p.0;
        request.top_k = asked.parameters.top_k.0;
        request.seed = asked.parameters.seed.0;
        request.stop_sequences = strings(asked.parameters.stop);
        if ask.content {
            let inputs = strings(asked.inputs).into_iter();
            request.messages = inputs
                .map(|text| user_message(Part::Text(text.into())))
                .collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        if is_vectors(body) {
            // What the model makes does not show before.
            reply.operation = Some(Embed.operation());
            return Embed.whole(body, reply);
        }
        for (at, response) in Raw::of(body.trim_start())
            .one_or_many::<Response<'_>>()
            .iter()
            .enumerate()
        {
            response.apply(at, reply);
            reply.text(at, None, response.text);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        for told in &Raw::of(event.data).one_or_many::<Response<'_>>() {
            told.apply(0, reply);
            if told.token.special.0 != Some(true) {
                reply.text(0, None, told.token.text);
            }
            if !reply.has_content() {
                reply.text(0, None, told.text);
            }
            reply.ended |= told.text.is_some();
        }
    }
}

impl Response<'_> {
    /// Everything but the text.
    fn apply(&self, at: usize, reply: &mut Reply) {
        reply.recognised |= self.text.is_some() || self.token.text.is_some();
        reply.finish(at, self.details.finish_reason);
        let prefill = u64::try_from(self.details.prefill.len())
            .ok()
            .filter(|n| *n > 0);
        reply.tokens.update(Tokens {
            input: self.details.input.count().or(prefill),
            output: self.details.generated.count(),
            ..Tokens::default()
        });
        if self.error.is_string() {
            reply.fail(error::failure(self.error_type, self.error.string()));
        }
    }
}

impl Dialect for Embed {
    fn name(&self) -> &'static str {
        "tgi.embed"
    }

    fn operation(&self) -> &'static str {
        "embeddings"
    }

    fn provider(&self) -> &'static str {
        "huggingface"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        Tgi.request(body, ask);
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        reply.recognised |= is_vectors(body);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}

/// Whether a reply is numbers, or lists of them.
fn is_vectors(body: &str) -> bool {
    let inner = body.trim_start_matches(['[', ' ', '\n', '\r', '\t']);
    body.trim_start().starts_with('[')
        && inner.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}
