//! Embeddings: `…:embedContent`, `…:batchEmbedContents`, and `…:predict` at Vertex AI.

use super::content::{self, Content};
use super::generate::{self, Usage};
use crate::llm::api::{Ask, Dialect, Event, user_message};
use crate::llm::call::Part;
use crate::llm::error;
use crate::llm::json::{Int, List, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(in crate::llm::api) struct Embed;

wire! {
    struct Request<'a> {
        /// Where the path does not name it.
        model: Str<'a>,
        content: Raw<'a>,
        requests: List<Single<'a>>,
        instances: List<Instance<'a>>,
        parameters: Parameters,
        dimensions: Int = "outputDimensionality" | "output_dimensionality",
    }

    struct Single<'a> {
        content: Content<'a>,
        dimensions: Int = "outputDimensionality" | "output_dimensionality",
    }

    struct Instance<'a> {
        content: Str<'a>,
    }

    struct Parameters {
        dimensions: Int = "outputDimensionality" | "output_dimensionality",
    }

    struct Response<'a> {
        embedding: Raw<'a>,
        embeddings: Raw<'a>,
        predictions: List<Prediction>,
        usage: Usage<'a> = "usageMetadata" | "usage_metadata",
        error: Raw<'a>,
    }

    struct Prediction {
        embeddings: Embedding,
    }

    struct Embedding {
        statistics: Statistics,
    }

    struct Statistics {
        token_count: Int = "token_count" | "tokenCount",
    }
}

impl Dialect for Embed {
    fn name(&self) -> &'static str {
        "gemini.embed"
    }

    fn operation(&self) -> &'static str {
        "embeddings"
    }

    fn provider(&self) -> &'static str {
        super::UNKNOWN
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let model = generate::named(asked.model).boxed();
        ask.request.model = ask.request.model.take().or(model);
        let first = asked.requests.first().and_then(|r| r.dimensions.0);
        ask.request.embedding_dimensions = asked
            .dimensions
            .0
            .or(asked.parameters.dimensions.0)
            .or(first);
        if ask.content {
            let messages = &mut ask.request.messages;
            messages.extend(content::messages(asked.content));
            messages.extend(asked.requests.iter().map(|r| r.content.message()));
            let texts = asked.instances.iter().filter_map(|i| i.content.string());
            messages.extend(texts.map(|text| user_message(Part::Text(text))));
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.embedding.is_object()
            || response.embeddings.is_list()
            || !response.predictions.is_empty();
        reply.tokens.update(response.usage.tokens());
        let counts = response
            .predictions
            .iter()
            .filter_map(|p| p.embeddings.statistics.token_count.count());
        reply.tokens.update(Tokens {
            input: counts.reduce(u64::saturating_add),
            ..Tokens::default()
        });
        if let Some(failure) = error::member(response.error) {
            reply.fail(failure);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}
