//! Which dialect a request's body has the shape of.

use super::route::Route;
use super::{anthropic, openai};
use crate::llm::json::{List, Raw, Str, parse, wire};

wire! {
    /// The members that tell dialects apart.
    pub(super) struct Shape<'a> {
        model: Str<'a>,
        messages: Raw<'a>,
        prompt: Raw<'a>,
        input: Raw<'a>,
        inputs: Raw<'a>,
        max_tokens_to_sample: Raw<'a>,
        anthropic_version: Raw<'a>,
        system: Raw<'a>,
        instructions: Raw<'a>,
        encoding_format: Raw<'a>,
        max_output_tokens: Raw<'a>,
        tools: List<Tool<'a>>,
    }

    struct Tool<'a> {
        input_schema: Raw<'a>,
    }
}

impl<'a> Shape<'a> {
    pub(super) fn of(body: &'a str) -> Option<Self> {
        Raw::of(body.trim_start())
            .is_object()
            .then(|| parse(body))?
    }

    /// The dialect that this is, where there is one that is likely.
    pub(super) fn route(&self, _provider: &str) -> Option<Route> {
        if self.messages.is_list() && !self.model.is_empty() {
            return Some(if self.is_anthropic() {
                Route::to(&anthropic::messages::Messages)
            } else {
                Route::to(&openai::chat::Chat)
            });
        }
        None
    }

    /// Whether it could be a request in `dialect`, whose path it was sent to.
    pub(super) fn fits(&self, dialect: &str) -> bool {
        match dialect {
            "openai.chat" | "anthropic" => self.messages.is_some() || self.prompt.is_some(),
            "openai.responses" => self.input.is_some() || !self.model.is_empty(),
            "openai.completions" | "anthropic.complete" => self.prompt.is_some(),
            "openai.embeddings" => self.input.is_some() || self.inputs.is_some(),
            _ => true,
        }
    }

    fn is_anthropic(&self) -> bool {
        self.anthropic_version.is_some()
            || self.system.is_some()
            || self.tools.iter().any(|tool| tool.input_schema.is_some())
    }
}
