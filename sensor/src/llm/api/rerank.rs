//! Rerank: `POST …/rerank`, of Cohere, Voyage, Jina and all who follow them.

use super::cohere::meta::Meta;
use super::openai::usage::Usage;
use super::{Ask, Dialect, Event, user_message};
use crate::llm::attr;
use crate::llm::call::{Part, Value};
use crate::llm::error;
use crate::llm::json::{Int, List, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(super) struct Rerank;

wire! {
    struct Request<'a> {
        model: Str<'a> = "model" | "model_id",
        query: Str<'a>,
        documents: Raw<'a> = "documents" | "texts" | "inputs",
    }

    struct Response<'a> {
        id: Str<'a>,
        model: Str<'a> = "model" | "model_id",
        results: Raw<'a> = "results" | "data" | "rankings",
        meta: Meta,
        usage: Usage<'a>,
        /// Beside the usage, not in it (watsonx).
        counted: Int = "input_token_count",
        error: Raw<'a>,
    }
}

impl Dialect for Rerank {
    fn name(&self) -> &'static str {
        "rerank"
    }

    fn operation(&self) -> &'static str {
        "rerank"
    }

    fn provider(&self) -> &'static str {
        super::openai::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        ask.request.model = asked.model.boxed().or(ask.request.model.take());
        let documents: List<Raw<'_>> = asked.documents.parse();
        let counts = ask.whole && asked.documents.is_list();
        if let (true, Ok(count)) = (counts, i64::try_from(documents.len())) {
            ask.attributes.set(attr::DOCUMENT_COUNT, Value::Int(count));
        }
        if ask.content {
            let query = asked
                .query
                .string()
                .map(|text| user_message(Part::Text(text)));
            ask.request.messages.extend(query);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.results.is_list();
        reply.set_id(response.id);
        reply.set_model(response.model);
        response.meta.apply(reply);
        reply.tokens.update(response.usage.tokens());
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
