//! Counts, as Cohere gives them: `usage` in its second API, `meta` in its first.

use crate::llm::attr;
use crate::llm::json::{Int, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

wire! {
    pub(in crate::llm::api) struct Meta {
        tokens: Counts,
        billed: Counts = "billed_units",
        cached: Int = "cached_tokens",
    }

    struct Counts {
        input: Int = "input_tokens",
        output: Int = "output_tokens",
        reasoning: Int = "reasoning_tokens",
        search_units: Int = "search_units",
    }
}

impl Meta {
    /// What the model read and wrote; where that is not told, what is billed.
    pub(in crate::llm::api) fn apply(&self, reply: &mut Reply) {
        reply.tokens.update(Tokens {
            input: self.tokens.input.count().or(self.billed.input.count()),
            output: self.tokens.output.count().or(self.billed.output.count()),
            cache_read: self.cached.count(),
            reasoning: self.tokens.reasoning.count(),
            ..Tokens::default()
        });
        let attributes = &mut reply.attributes;
        attributes.int(attr::BILLED_INPUT, self.billed.input);
        attributes.int(attr::BILLED_OUTPUT, self.billed.output);
        attributes.int(attr::SEARCH_UNITS, self.billed.search_units);
    }
}
