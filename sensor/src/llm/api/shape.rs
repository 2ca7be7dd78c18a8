//! Which dialect a request's body has the shape of, where its path was not seen or
//! says nothing.

use super::route::Route;
use super::{
    Dialect, a2a, anthropic, aws, cohere, google, mcp, ollama, openai, rerank, sglang, tgi, watsonx,
};
use crate::llm::json::{List, Raw, Str, parse, wire};

wire! {
    /// The members that tell dialects apart.
    pub(super) struct Shape<'a> {
        model: Str<'a>,
        messages: Raw<'a>,
        message: Raw<'a>,
        prompt: Raw<'a>,
        input: Raw<'a>,
        inputs: Raw<'a>,
        query: Raw<'a>,
        documents: Raw<'a>,
        texts: Raw<'a> = "texts" | "images",
        text: Raw<'a>,
        sampling: Raw<'a> = "sampling_params",
        contents: Raw<'a>,
        content: Raw<'a>,
        requests: Raw<'a>,
        instances: Raw<'a>,
        request: Raw<'a>,
        voice: Raw<'a>,
        size: Raw<'a> = "size" | "aspect_ratio" | "quality",
        file: Raw<'a> = "file.filename" | "input_audio" | "file",
        assistant: Raw<'a> = "assistant_id" | "tool_outputs",
        embeds: Raw<'a> = "encoding_format" | "input_type" | "output_dimension" | "output_dtype",
        to_sample: Raw<'a> = "max_tokens_to_sample",
        max_tokens: Raw<'a>,
        anthropic: Raw<'a> = "anthropic_version" | "system",
        converse: Raw<'a> = "inferenceConfig" | "toolConfig" | "guardrailConfig" | "additionalModelRequestFields",
        schema: Raw<'a> = "schemaVersion" | "taskType",
        input_text: Raw<'a> = "inputText",
        agent: Raw<'a> = "enableTrace" | "sessionState" | "endSession" | "retrieveAndGenerateConfiguration",
        watsonx: Raw<'a> = "model_id",
        ollama: Raw<'a> = "options" | "keep_alive" | "raw" | "think",
        tools: List<Tool<'a>>,
    }

    struct Tool<'a> {
        input_schema: Raw<'a>,
    }

    struct Message<'a> {
        content: List<Block<'a>>,
    }

    struct Block<'a> {
        kind: Str<'a> = "type",
    }
}

/// A dialect found by shape.
pub(super) fn route(provider: &str, body: &str) -> Option<Route> {
    let raw = Raw::of(body.trim_start());
    let batch: List<mcp::Request<'_>> = raw.one_or_many();
    if batch.first().is_some_and(mcp::Request::is_mcp) {
        return Some(Route::to(&mcp::Mcp));
    }
    if raw.parse::<a2a::Request<'_>>().is_a2a() {
        return Some(Route::guess(&a2a::Agent));
    }
    let shape = Shape::of(body)?;
    let dialect = shape.own(provider).or_else(|| shape.common(provider))?;
    Some(Route::guess(dialect))
}

wire! {
    struct Answer<'a> {
        kind: Str<'a> = "type",
        bytes: Raw<'a>,
        data: List<Element<'a>>,
        results: List<Element<'a>>,
        choices: Raw<'a>,
        message: Raw<'a>,
        done: Raw<'a>,
    }

    struct Element<'a> {
        embedding: Raw<'a>,
        image: Raw<'a> = "b64_json" | "url",
        flagged: Raw<'a>,
        score: Raw<'a> = "relevance_score",
    }
}

/// The dialect that a reply has the unmistakable shape of.
pub(super) fn by_reply(guess: &'static dyn Dialect, body: &str) -> Option<&'static dyn Dialect> {
    let answer: Answer<'_> = parse(body)?;
    if guess.name().starts_with("bedrock.") {
        let nova = guess.name() == "bedrock.converse" && answer.bytes.is_some();
        return nova.then_some(&aws::invoke::Invoke);
    }
    if answer.choices.is_list() {
        let asked = matches!(guess.name(), "openai.chat" | "openai.completions");
        return if asked {
            None
        } else {
            Some(&openai::chat::Chat)
        };
    }
    if answer.done.is_some() {
        let chats = answer.message.is_object();
        return Some(if chats {
            &ollama::Chat
        } else {
            &ollama::Generate
        });
    }
    if matches!(answer.kind.key(), "message" | "message_start") {
        return Some(&anthropic::messages::Messages);
    }
    let first = answer.data.first().or(answer.results.first())?;
    if first.embedding.is_some() {
        Some(&openai::embeddings::Embeddings)
    } else if first.image.is_some() {
        Some(&openai::images::Images)
    } else if first.flagged.is_some() {
        Some(&openai::moderations::Moderations)
    } else if first.score.is_some() {
        Some(&rerank::Rerank)
    } else {
        None
    }
}

/// The dialect of a request to a container that may hold any model.
pub(super) fn invoked(body: &str) -> Option<&'static dyn Dialect> {
    let shape = Shape::of(body)?;
    Some(if shape.messages.is_list() {
        &openai::chat::Chat
    } else if shape.prompt.is_some() {
        &openai::completions::Completions
    } else if shape.inputs.is_some() {
        &tgi::Tgi
    } else if shape.text.is_some() && shape.sampling.is_object() {
        &sglang::Generate
    } else if shape.input.is_string() || shape.input.is_list() {
        shape.reads_input()
    } else {
        return None;
    })
}

impl<'a> Shape<'a> {
    pub(super) fn of(body: &'a str) -> Option<Self> {
        Raw::of(body.trim_start())
            .is_object()
            .then(|| parse(body))?
    }

    /// What only this provider speaks.
    fn own(&self, provider: &str) -> Option<&'static dyn Dialect> {
        match provider {
            "aws.bedrock" => self.bedrock(),
            "aws.sagemaker" => Some(&tgi::Tgi),
            "cohere" => self.cohere(),
            "gcp.gemini" | "gcp.vertex_ai" | "gcp.gen_ai" => self.google(),
            "ollama" if self.ollama.is_some() && self.messages.is_list() => Some(&ollama::Chat),
            "ollama" if self.ollama.is_some() => Some(&ollama::Generate),
            "ibm.watsonx.ai" if self.messages.is_some() => Some(&openai::chat::Chat),
            "ibm.watsonx.ai" if self.watsonx.is_some() => Some(&watsonx::Watsonx),
            _ => None,
        }
    }

    fn bedrock(&self) -> Option<&'static dyn Dialect> {
        if self.agent.is_some() {
            return Some(&aws::agent::Agent);
        }
        // The model stands in the path of Bedrock's own APIs.
        if !self.model.is_empty() {
            return None;
        }
        let messages: List<Message<'_>> = self.messages.parse();
        let untyped = messages
            .first()
            .and_then(|message| message.content.first())
            .is_some_and(|block| block.kind.is_empty());
        if !self.schema.is_some() && (self.converse.is_some() || untyped) {
            return Some(&aws::converse::Converse);
        }
        let asks = [
            self.messages,
            self.message,
            self.prompt,
            self.input_text,
            self.texts,
        ];
        let asks = asks.iter().any(|raw| raw.is_some());
        (asks || self.schema.is_some()).then_some(&aws::invoke::Invoke)
    }

    fn cohere(&self) -> Option<&'static dyn Dialect> {
        if self.query.is_some() && self.documents.is_some() {
            Some(&rerank::Rerank)
        } else if self.texts.is_some() || self.inputs.is_some() {
            Some(&cohere::embed::Embed)
        } else if self.messages.is_some() || self.message.is_some() {
            Some(&cohere::chat::Chat)
        } else if self.prompt.is_some() {
            Some(&cohere::generate::Generate)
        } else {
            None
        }
    }

    fn google(&self) -> Option<&'static dyn Dialect> {
        if self.input.is_some() {
            Some(&google::interactions::Interactions)
        } else {
            self.gemini()
        }
    }

    fn gemini(&self) -> Option<&'static dyn Dialect> {
        if self.contents.is_some() || self.request.is_object() {
            Some(&google::generate::Generate)
        } else if self.content.is_object() || self.requests.is_list() || self.instances.is_list() {
            Some(&google::embed::Embed)
        } else {
            None
        }
    }

    /// What anybody may speak.
    fn common(&self, provider: &str) -> Option<&'static dyn Dialect> {
        if self.contents.is_list() {
            return Some(&google::generate::Generate);
        }
        if self.model.is_empty() && provider.is_empty() {
            return None;
        }
        if self.assistant.is_some() {
            Some(&openai::assistants::Assistants)
        } else if self.messages.is_list() {
            Some(self.chat(provider))
        } else if self.query.is_some() && self.documents.is_some() {
            Some(&rerank::Rerank)
        } else if self.file.is_some() {
            Some(&openai::audio::Transcription)
        } else if self.input.is_string() || self.input.is_list() {
            Some(self.reads_input())
        } else if self.prompt.is_object() {
            Some(&openai::responses::Responses)
        } else if self.to_sample.is_some() {
            Some(&anthropic::complete::Complete)
        } else if self.prompt.is_some() {
            let images = ["image", "dall-e", "flux", "imagine"]
                .iter()
                .any(|m| self.model.key().contains(m));
            Some(if images || self.size.is_some() {
                &openai::images::Images
            } else {
                &openai::completions::Completions
            })
        } else if self.inputs.is_string() {
            Some(&tgi::Tgi)
        } else {
            None
        }
    }

    fn chat(&self, provider: &str) -> &'static dyn Dialect {
        let schemas = self.tools.iter().any(|tool| tool.input_schema.is_some());
        // Anthropic wants a limit of every call; what has none counts tokens.
        let spoken = provider == "anthropic" || self.anthropic.is_some() || schemas;
        if spoken && (self.max_tokens.is_some() || provider == "anthropic") {
            &anthropic::messages::Messages
        } else {
            &openai::chat::Chat
        }
    }

    fn reads_input(&self) -> &'static dyn Dialect {
        let named = |part: &str| self.model.key().contains(part);
        let first: List<Raw<'_>> = self.input.parse();
        let of_items = first.first().is_none_or(|raw| raw.is_object());
        if self.voice.is_some() || named("tts") {
            &openai::audio::Speech
        } else if self.embeds.is_some()
            || !of_items
            || ["embed", "voyage-", "bge-", "gte-", "e5-"]
                .into_iter()
                .any(named)
        {
            &openai::embeddings::Embeddings
        } else if named("moderation") || self.model.is_empty() {
            &openai::moderations::Moderations
        } else {
            &openai::responses::Responses
        }
    }

    /// Whether it could be a request in `dialect`, whose path it was sent to.
    pub(super) fn fits(&self, dialect: &str) -> bool {
        match dialect {
            "openai.chat" | "bedrock.converse" => self.messages.is_some() || self.prompt.is_some(),
            "anthropic" => self.messages.is_some(),
            "openai.responses" => self.input.is_some() || !self.model.is_empty(),
            "openai.completions" | "anthropic.complete" | "images" => {
                self.prompt.is_some() || self.instances.is_some()
            }
            "openai.embeddings" => self.input.is_some() || self.inputs.is_some(),
            "speech" | "moderations" => self.input.is_some(),
            "transcription" => self.file.is_some(),
            "rerank" => self.query.is_some(),
            "tgi" => self.inputs.is_some(),
            "sglang" => self.text.is_some(),
            "tgi.embed" => self.inputs.is_some(),
            "gemini" | "gemini.embed" => self.gemini().is_some(),
            "llamacpp.completion" => self.prompt.is_some(),
            "bedrock.agent" => self.input_text.is_some(),
            "watsonx" => self.watsonx.is_some(),
            "cohere.embed" => self.texts.is_some() || self.inputs.is_some(),
            _ => {
                !self.model.is_empty()
                    || self.schema.is_some()
                    || self.input_text.is_some()
                    || self.prompt.is_some()
                    || self.messages.is_some()
                    || self.input.is_some()
            }
        }
    }
}
