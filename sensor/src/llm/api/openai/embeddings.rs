//! Embeddings: `POST …/embeddings`.

use super::usage::Usage;
use crate::llm::api::{Ask, Dialect, Event, strings, user_message};
use crate::llm::attr;
use crate::llm::call::Part;
use crate::llm::error;
use crate::llm::json::{Int, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(in crate::llm::api) struct Embeddings;

wire! {
    struct Request<'a> {
        model: Str<'a> = "model" | "model_id",
        input: Raw<'a> = "input" | "inputs" | "text",
        dimensions: Int = "dimensions" | "output_dimension",
        format: Str<'a> = "encoding_format",
        dtype: Str<'a> = "output_dtype",
        user: Str<'a>,
    }

    struct Response<'a> {
        id: Str<'a>,
        model: Str<'a> = "model" | "model_id",
        data: Raw<'a> = "data" | "results",
        usage: Usage<'a>,
        /// Beside the usage, not in it (watsonx).
        counted: Int = "input_token_count",
        error: Raw<'a>,
    }
}

impl Dialect for Embeddings {
    fn name(&self) -> &'static str {
        "openai.embeddings"
    }

    fn operation(&self) -> &'static str {
        "embeddings"
    }

    fn provider(&self) -> &'static str {
        super::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        request.model = asked.model.boxed().or(request.model.take());
        request.embedding_dimensions = asked.dimensions.0;
        let formats = [asked.format, asked.dtype];
        request.encoding_formats = formats.into_iter().filter_map(Str::boxed).collect();
        ask.attributes.text(attr::END_USER, asked.user);
        if ask.content {
            let texts = strings(asked.input).into_iter();
            let messages = texts.map(|text| user_message(Part::Text(text.into())));
            ask.request.messages = messages.collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.data.is_list();
        reply.set_id(response.id);
        reply.set_model(response.model);
        reply.tokens.update(response.usage.input_only());
        reply.tokens.update(Tokens {
            input: response.counted.count(),
            ..Tokens::default()
        });
        response.usage.extras(&mut reply.attributes);
        if let Some(failure) = error::member(response.error) {
            reply.fail(failure);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}
