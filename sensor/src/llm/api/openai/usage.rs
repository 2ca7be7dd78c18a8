//! The `usage` object of OpenAI's dialects, with the fields that others added.

use crate::llm::attr::{self, Attributes};
use crate::llm::json::{Int, Num, Raw, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

wire! {
    pub(in crate::llm::api) struct Usage<'a> {
        prompt: Int = "prompt_tokens" | "input_tokens" | "promptTokens",
        completion: Int = "completion_tokens" | "output_tokens" | "completionTokens",
        total: Int = "total_tokens",
        input_details: Details = "prompt_tokens_details" | "input_tokens_details" | "prompt_token_details" | "input_token_details",
        output_details: Details = "completion_tokens_details" | "output_tokens_details" | "completion_token_details" | "output_token_details",
        cached: Int = "cached_tokens" | "num_cached_tokens",
        cache_hit: Int = "prompt_cache_hit_tokens",
        cache_read: Int = "cache_read_input_tokens",
        cache_creation: Int = "cache_creation_input_tokens",
        reasoning: Int = "reasoning_tokens",
        cost: Raw<'a>,
        seconds: Num = "seconds" | "prompt_audio_seconds",
    }

    struct Details {
        cached: Int = "cached_tokens",
        cache_write: Int = "cache_write_tokens" | "cache_creation_tokens",
        reasoning: Int = "reasoning_tokens",
        audio: Int = "audio_tokens",
        image: Int = "image_tokens",
    }

    struct Cost {
        total: Num = "total_cost",
    }
}

impl Usage<'_> {
    pub(in crate::llm::api) fn apply(&self, reply: &mut Reply) {
        reply.tokens.update(self.tokens());
        self.extras(&mut reply.attributes);
    }

    pub(in crate::llm::api) fn tokens(&self) -> Tokens {
        Tokens {
            input: self.prompt.count(),
            output: self.completion.count(),
            cache_read: self
                .input_details
                .cached
                .count()
                .or(self.cached.count())
                .or(self.cache_hit.count())
                .or(self.cache_read.count()),
            cache_write: self
                .input_details
                .cache_write
                .count()
                .or(self.cache_creation.count()),
            reasoning: self
                .output_details
                .reasoning
                .count()
                .or(self.reasoning.count()),
            ..Tokens::default()
        }
    }

    /// The counts of a call that writes no tokens, where a total is all that some
    /// servers give.
    pub(in crate::llm::api) fn input_only(&self) -> Tokens {
        let tokens = self.tokens();
        Tokens {
            input: tokens.input.or(self.total.count()),
            ..tokens
        }
    }

    pub(in crate::llm::api) fn extras(&self, attributes: &mut Attributes) {
        let cost: Cost = self.cost.parse();
        attributes.double(attr::PROVIDER_COST, self.cost.parse());
        attributes.double(attr::PROVIDER_COST, cost.total);
        attributes.double(attr::AUDIO_SECONDS, self.seconds);
        let (input, output) = (&self.input_details, &self.output_details);
        for (name, count) in [
            (attr::AUDIO_INPUT_TOKENS, input.audio),
            (attr::AUDIO_OUTPUT_TOKENS, output.audio),
            (attr::IMAGE_INPUT_TOKENS, input.image),
            (attr::IMAGE_OUTPUT_TOKENS, output.image),
        ] {
            positive(attributes, name, count);
        }
    }
}

fn positive(attributes: &mut Attributes, name: &'static str, count: Int) {
    if count.0.is_some_and(|n| n > 0) {
        attributes.int(name, count);
    }
}
