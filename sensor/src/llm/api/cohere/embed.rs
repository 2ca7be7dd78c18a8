//! Embed: `POST /v1/embed` and `/v2/embed`.

use super::meta::Meta;
use crate::llm::api::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::Part;
use crate::llm::json::{Int, Raw, Str, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(in crate::llm::api) struct Embed;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        texts: Raw<'a>,
        types: Raw<'a> = "embedding_types",
        dimensions: Int = "output_dimension",
    }

    struct Response<'a> {
        id: Str<'a>,
        embeddings: Raw<'a>,
        meta: Meta,
    }
}

impl Dialect for Embed {
    fn name(&self) -> &'static str {
        "cohere.embed"
    }

    fn operation(&self) -> &'static str {
        "embeddings"
    }

    fn provider(&self) -> &'static str {
        super::COHERE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        request.model = asked.model.boxed();
        request.embedding_dimensions = asked.dimensions.0;
        request.encoding_formats = strings(asked.types);
        if ask.content {
            let texts = strings(asked.texts).into_iter();
            request.messages = texts
                .map(|text| user_message(Part::Text(text.into())))
                .collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.embeddings.is_some();
        reply.set_id(response.id);
        response.meta.apply(reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}
