//! `…:generateContent` and `…:streamGenerateContent`, at the Gemini API, at Vertex AI
//! and, in an envelope, at Code Assist.

use super::content::{self, Content};
use crate::llm::api::{Ask, Dialect, Event, strings};
use crate::llm::attr::{self, Attributes};
use crate::llm::call::Name;
use crate::llm::error;
use crate::llm::json::{Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(in crate::llm::api) struct Generate;

wire! {
    struct Request<'a> {
        /// Where the path does not name it.
        model: Str<'a>,
        contents: Raw<'a>,
        system: Raw<'a> = "systemInstruction" | "system_instruction",
        tools: Raw<'a>,
        config: Config<'a> = "generationConfig" | "generation_config",
        service_tier: Str<'a> = "serviceTier" | "service_tier",
        /// The request itself, where this is its envelope.
        request: Raw<'a>,
    }

    pub(in crate::llm::api) struct Config<'a> {
        max_tokens: Int = "maxOutputTokens" | "max_output_tokens",
        temperature: Num,
        top_p: Num = "topP" | "top_p",
        top_k: Num = "topK" | "top_k",
        frequency_penalty: Num = "frequencyPenalty" | "frequency_penalty",
        presence_penalty: Num = "presencePenalty" | "presence_penalty",
        candidates: Int = "candidateCount" | "candidate_count",
        stop: Raw<'a> = "stopSequences" | "stop_sequences",
        seed: Int,
        mime: Str<'a> = "responseMimeType" | "response_mime_type",
        modalities: List<Str<'a>> = "responseModalities" | "response_modalities",
        thinking: Thinking<'a> = "thinkingConfig" | "thinking_config",
        level: Str<'a> = "thinking_level",
    }

    struct Thinking<'a> {
        level: Str<'a> = "thinkingLevel" | "thinking_level",
    }

    struct Response<'a> {
        id: Str<'a> = "responseId" | "response_id",
        model: Str<'a> = "modelVersion" | "model_version",
        candidates: List<Candidate<'a>>,
        feedback: Feedback<'a> = "promptFeedback" | "prompt_feedback",
        usage: Usage<'a> = "usageMetadata" | "usage_metadata",
        error: Raw<'a>,
        /// The response itself, where this is its envelope.
        response: Raw<'a>,
    }

    struct Candidate<'a> {
        index: Int,
        content: Content<'a>,
        finish_reason: Str<'a> = "finishReason" | "finish_reason",
    }

    struct Feedback<'a> {
        block_reason: Str<'a> = "blockReason" | "block_reason",
    }

    pub(in crate::llm::api) struct Usage<'a> {
        prompt: Int = "promptTokenCount" | "prompt_token_count",
        candidates: Int = "candidatesTokenCount" | "candidates_token_count" | "responseTokenCount" | "response_token_count",
        thoughts: Int = "thoughtsTokenCount" | "thoughts_token_count",
        cached: Int = "cachedContentTokenCount" | "cached_content_token_count",
        tool_prompt: Int = "toolUsePromptTokenCount" | "tool_use_prompt_token_count",
        tier: Str<'a> = "serviceTier" | "service_tier" | "trafficType" | "traffic_type",
        input_parts: List<Portion<'a>> = "promptTokensDetails" | "prompt_tokens_details",
        output_parts: List<Portion<'a>> = "candidatesTokensDetails" | "candidates_tokens_details" | "responseTokensDetails" | "response_tokens_details",
    }

    /// The tokens of one modality.
    struct Portion<'a> {
        modality: Str<'a>,
        count: Int = "tokenCount" | "token_count",
    }
}

impl Dialect for Generate {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn operation(&self) -> &'static str {
        "generate_content"
    }

    fn provider(&self) -> &'static str {
        super::UNKNOWN
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let mut asked: Request<'_> = read(body);
        if asked.request.is_object() {
            let model = asked.model;
            asked = asked.request.parse();
            asked.model = model;
        }
        let model = named(asked.model).boxed();
        ask.request.model = ask.request.model.take().or(model);
        asked.config.apply(ask);
        ask.attributes.text(attr::REQUEST_TIER, asked.service_tier);
        if ask.content {
            ask.request.system = content::parts(asked.system);
            ask.request.messages = content::messages(asked.contents);
            ask.request.tools = content::tools(asked.tools);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let mut response: Response<'_> = read(body);
        if response.response.is_object() {
            response = response.response.parse();
        }
        response.apply(reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}

/// The model of a name like `models/M` or `projects/…/models/M`, as a path has it.
pub(super) fn named(resource: Str<'_>) -> Str<'_> {
    match resource.key().rsplit_once("models/") {
        Some((before, model)) if before.is_empty() || before.ends_with('/') => Str::plain(model),
        _ => resource,
    }
}

impl Config<'_> {
    pub(in crate::llm::api) fn apply(&self, ask: &mut Ask) {
        let request = &mut ask.request;
        request.max_tokens = self.max_tokens.0;
        request.temperature = self.temperature.0;
        request.top_p = self.top_p.0;
        request.top_k = self.top_k.0;
        request.frequency_penalty = self.frequency_penalty.0;
        request.presence_penalty = self.presence_penalty.0;
        request.choice_count = self.candidates.0;
        request.stop_sequences = strings(self.stop);
        request.seed = self.seed.0;
        request.reasoning_level = self.thinking.level.or(self.level).boxed();
        let modality = |wanted: &str| {
            self.modalities
                .iter()
                .any(|m| m.key().eq_ignore_ascii_case(wanted))
        };
        request.output_type = match self.mime.key() {
            "application/json" => Some(Name::Borrowed("json")),
            _ if modality("image") => Some(Name::Borrowed("image")),
            _ if modality("audio") => Some(Name::Borrowed("speech")),
            "text/plain" => Some(Name::Borrowed("text")),
            _ => None,
        };
    }
}

impl Response<'_> {
    fn apply(&self, reply: &mut Reply) {
        reply.recognised |= !self.candidates.is_empty();
        reply.set_id(self.id);
        reply.set_model(self.model);
        reply.tokens.update(self.usage.tokens());
        self.usage.extras(&mut reply.attributes);
        reply
            .attributes
            .text(attr::BLOCK_REASON, self.feedback.block_reason);
        for candidate in &self.candidates {
            let at = candidate.index.index().unwrap_or_default();
            reply.finish(at, candidate.finish_reason);
            candidate.content.add_to(at, reply);
        }
        if let Some(failure) = error::member(self.error) {
            reply.fail(failure);
        }
    }
}

impl Usage<'_> {
    pub(in crate::llm::api) fn tokens(&self) -> Tokens {
        Tokens {
            input: self.prompt.count(),
            output: self.candidates.count(),
            cache_read: self.cached.count(),
            reasoning: self.thoughts.count(),
            tool_prompt: self.tool_prompt.count(),
            reasoning_is_apart: true,
            ..Tokens::default()
        }
    }

    pub(in crate::llm::api) fn extras(&self, attributes: &mut Attributes) {
        attributes.text(attr::SERVICE_TIER, self.tier);
        for (parts, [audio, image, video]) in [
            (
                &self.input_parts,
                [
                    attr::AUDIO_INPUT_TOKENS,
                    attr::IMAGE_INPUT_TOKENS,
                    attr::VIDEO_INPUT_TOKENS,
                ],
            ),
            (
                &self.output_parts,
                [
                    attr::AUDIO_OUTPUT_TOKENS,
                    attr::IMAGE_OUTPUT_TOKENS,
                    attr::VIDEO_OUTPUT_TOKENS,
                ],
            ),
        ] {
            for part in parts {
                match part.modality.key() {
                    "AUDIO" => attributes.int(audio, part.count),
                    "IMAGE" => attributes.int(image, part.count),
                    "VIDEO" => attributes.int(video, part.count),
                    _ => {}
                }
            }
        }
    }
}
