//! InvokeModel: `POST /model/{id}/invoke` and `…/invoke-with-response-stream`. Bodies
//! are of the model's vendor; around them Bedrock has its own counts and guardrails.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{converse::Converse, titan::Titan};
use crate::llm::api::anthropic::{complete::Complete, messages::Messages};
use crate::llm::api::cohere::{chat, embed, generate};
use crate::llm::api::openai::chat::Chat;
use crate::llm::api::openai::images::Images;
use crate::llm::api::rerank::Rerank;
use crate::llm::api::{Ask, Dialect, Event};
use crate::llm::attr;
use crate::llm::json::{Int, List, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::text::text;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(in crate::llm::api) struct Invoke;

wire! {
    /// The members that tell vendors apart, in requests and in replies.
    struct Shape<'a> {
        messages: Raw<'a>,
        anthropic_version: Raw<'a>,
        inference_config: Raw<'a> = "inferenceConfig" | "schemaVersion",
        message: Raw<'a>,
        chat_history: Raw<'a>,
        prompt: Raw<'a>,
        to_sample: Raw<'a> = "max_tokens_to_sample",
        input_text: Raw<'a> = "inputText",
        text_config: Raw<'a> = "textGenerationConfig",
        embedding: Raw<'a> = "embeddingConfig" | "singleEmbeddingParams" | "segmentedEmbeddingParams" | "dimensions" | "embeddingTypes" | "inputImage",
        texts: Raw<'a> = "texts" | "images" | "inputs",
        query: Raw<'a>,
        documents: Raw<'a>,
        image: Raw<'a> = "taskType" | "text_prompts" | "imageGenerationConfig" | "aspect_ratio",
        k: Raw<'a> = "k" | "p" | "return_likelihoods" | "num_generations",
    }

    struct Answer<'a> {
        kind: Str<'a> = "type",
        completion: Raw<'a>,
        choices: Raw<'a>,
        output: Raw<'a>,
        nova: Raw<'a> = "messageStart" | "contentBlockStart" | "contentBlockDelta" | "contentBlockStop" | "messageStop" | "metadata",
        event_type: Raw<'a>,
        response_id: Raw<'a>,
        generations: Raw<'a>,
        finished: Raw<'a> = "is_finished",
        text: Raw<'a>,
        results: Raw<'a>,
        embedding: Raw<'a> = "embedding" | "embeddings" | "embeddingsByType",
        images: Raw<'a> = "images" | "artifacts",
        input_count: Int = "inputTextTokenCount",
        guardrail: Str<'a> = "amazon-bedrock-guardrailAction",
        metrics: Metrics = "amazon-bedrock-invocationMetrics",
    }

    struct Choice<'a> {
        delta: Raw<'a>,
    }

    struct Metrics {
        input: Int = "inputTokenCount",
        output: Int = "outputTokenCount",
        cache_read: Int = "cacheReadInputTokenCount",
        cache_write: Int = "cacheWriteInputTokenCount",
        latency: Int = "invocationLatency",
        first_byte: Int = "firstByteLatency",
    }

    struct Chunk<'a> {
        bytes: Str<'a>,
    }
}

impl Dialect for Invoke {
    fn name(&self) -> &'static str {
        "bedrock.invoke"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn provider(&self) -> &'static str {
        super::BEDROCK
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let shape: Shape<'_> = read(body);
        let model = ask.request.model.as_deref().unwrap_or_default();
        let vendor = shape.vendor(model);
        ask.operation = Some(shape.operation(model, vendor));
        let (model, stream) = (ask.request.model.take(), ask.request.stream);
        vendor.request(body, ask);
        ask.request.model = model;
        ask.request.stream = stream;
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let answer: Answer<'_> = read(body);
        let vendor = answer.vendor();
        vendor.whole(body, reply);
        answer.apply(vendor, reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let chunk: Chunk<'_> = read(event.data);
        let mut bytes = std::mem::take(&mut reply.scratch);
        bytes.clear();
        if BASE64_STANDARD
            .decode_vec(chunk.bytes.key(), &mut bytes)
            .is_ok()
        {
            let data = text(&bytes);
            let answer: Answer<'_> = read(&data);
            let inner = Event {
                name: None,
                data: &data,
            };
            let vendor = answer.vendor();
            if answer.has_pieces() {
                vendor.event(&inner, reply);
            } else {
                vendor.whole(&data, reply);
            }
            answer.apply(vendor, reply);
        }
        reply.scratch = bytes;
    }
}

impl Shape<'_> {
    /// Whose body this is; the model's name tells where the body does not.
    fn vendor(&self, model: &str) -> &'static dyn Dialect {
        let is = |vendor: &str| model.contains(vendor);
        if self.messages.is_some() {
            return if self.inference_config.is_some() || is("amazon.nova") {
                &Converse
            } else if self.anthropic_version.is_some() || is("anthropic.") {
                &Messages
            } else {
                &Chat
            };
        }
        if self.query.is_some() && self.documents.is_some() {
            &Rerank
        } else if self.message.is_some() || self.chat_history.is_some() {
            &chat::Chat
        } else if self.to_sample.is_some() || (is("anthropic.claude") && self.prompt.is_some()) {
            &Complete
        } else if self.texts.is_some() || is("cohere.embed") {
            &embed::Embed
        } else if self.makes_images(model) {
            &Images
        } else if is("cohere.") || self.k.is_some() {
            &generate::Generate
        } else {
            &Titan
        }
    }

    fn makes_images(&self, model: &str) -> bool {
        let named = ["image", "stability.", "canvas"]
            .iter()
            .any(|m| model.contains(m));
        (named || self.image.is_some()) && !self.embedding.is_some() && !model.contains("embed")
    }

    fn operation(&self, model: &str, vendor: &'static dyn Dialect) -> &'static str {
        let embeds = model.contains("embed") || self.embedding.is_some();
        if vendor.name() == "bedrock.invoke" && embeds {
            return "embeddings";
        }
        vendor.operation()
    }
}

impl Answer<'_> {
    /// Whose reply, or piece of one, this is.
    fn vendor(&self) -> &'static dyn Dialect {
        if self.nova.is_some() || self.output.is_some() {
            &Converse
        } else if self.completion.is_some() {
            &Complete
        } else if self.choices.is_list() {
            &Chat
        } else if self.generations.is_some() {
            &generate::Generate
        } else if self.event_type.is_some() || self.response_id.is_some() {
            &chat::Chat
        } else if self.finished.is_some() {
            &generate::Generate
        } else if self.text.is_string() {
            &chat::Chat
        } else if self.images.is_list() && !self.embedding.is_some() {
            &Images
        } else if self.kind.is_some() {
            &Messages
        } else {
            &Titan
        }
    }

    /// Whether an event has pieces where a reply has what they are pieces of. Mistral and
    /// DeepSeek name them alike.
    fn has_pieces(&self) -> bool {
        let choices: List<Choice<'_>> = self.choices.parse();
        choices.first().is_none_or(|choice| choice.delta.is_some())
    }

    /// What Bedrock adds.
    fn apply(&self, vendor: &'static dyn Dialect, reply: &mut Reply) {
        // Cohere counts what it wraps the prompt in, which Bedrock does not bill.
        reply.is_metered |= vendor.name().starts_with("cohere.");
        reply.recognised |= self.embedding.is_some() || self.metrics.output.0.is_some();
        if self.embedding.is_some() {
            reply.operation = Some("embeddings");
        }
        reply.metered.update(Tokens {
            input: self.metrics.input.count(),
            output: self.metrics.output.count(),
            cache_read: self.metrics.cache_read.count(),
            cache_write: self.metrics.cache_write.count(),
            cache_is_apart: true,
            ..Tokens::default()
        });
        reply.ended |= self.metrics.latency.0.is_some();
        let attributes = &mut reply.attributes;
        attributes.int(attr::PROCESSING_MS, self.metrics.latency);
        attributes.int(attr::FIRST_TOKEN_MS, self.metrics.first_byte);
        attributes.text(attr::GUARDRAIL_ACTION, self.guardrail);
    }
}
