//! How many tokens a call had, where its provider did not say.
//!
//! In: a finished [`Call`] with its content. Out: an estimate of its [`Usage`]. Must
//! not know: threads. Slow, and for text of any length: not for the thread that reads
//! events.
//!
//! The tokenizer is that of the model where it is one of OpenAI's; for other models,
//! whose tokenizers are not public, OpenAI's newest one comes near. Calls with pictures,
//! sound or files are left alone.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::arithmetic_side_effects,
        reason = "a test may fail loudly"
    )
)]

use tiktoken_rs::CoreBPE;
use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};

use crate::llm::Call;
use crate::llm::call::{ChatMessage, Completeness, Part, Usage};

/// Text is counted in pieces of this many bytes: the work then grows with its length,
/// whatever is in it, and the count is off by no more than a token a piece.
const PIECE: usize = 16 << 10;

/// Tokens that a chat format puts around a message, and before the reply.
const AROUND_MESSAGE: u64 = 3;
const BEFORE_REPLY: u64 = 3;

/// Whether `call` has text that can be counted and no counts: it was answered, all of
/// it was seen, and its provider said nothing of tokens.
pub fn can_estimate(call: &Call) -> bool {
    let Usage { input, output, .. } = call.usage;
    let is_whole = call.capture.lost_bytes == 0
        && !call.capture.truncated
        && matches!(
            call.capture.completeness,
            Completeness::Complete | Completeness::Unfinished
        );
    let is_of_text = ["chat", "text_completion", "generate_content"].contains(&&*call.operation);
    let (asked, told) = (&call.request.messages, &call.response.messages);
    let said = [asked, told].into_iter().flatten().flat_map(|m| &m.parts);
    let has_media = said
        .chain(&call.request.system)
        .any(|part| matches!(part, Part::Media(_)));
    input.is_none()
        && output.is_none()
        && is_whole
        && is_of_text
        && !has_media
        && !asked.is_empty()
        && !told.is_empty()
}

/// The tokens of the call's texts.
pub fn estimate(call: &Call) -> Usage {
    let model = call.response.model.as_deref();
    let count = Count(tokenizer(model.or(call.request.model.as_deref())));
    let request = &call.request;
    let tools = request.tools.iter().map(|tool| count.text(tool.text()));
    let asked = tools
        .chain([
            count.parts(&request.system),
            count.messages(&request.messages),
        ])
        .fold(0, u64::saturating_add);
    let around = match &*call.operation {
        "text_completion" => 0,
        _ => {
            let messages = request.messages.len() as u64;
            messages
                .saturating_mul(AROUND_MESSAGE)
                .saturating_add(BEFORE_REPLY)
        }
    };
    Usage {
        input: Some(asked.saturating_add(around)),
        output: Some(count.messages(&call.response.messages)),
        ..Usage::default()
    }
}

fn tokenizer(model: Option<&str>) -> &'static CoreBPE {
    match model.and_then(get_tokenizer) {
        Some(Tokenizer::Cl100kBase) => tiktoken_rs::cl100k_base_singleton(),
        _ => tiktoken_rs::o200k_base_singleton(),
    }
}

/// Counts with one tokenizer.
struct Count(&'static CoreBPE);

impl Count {
    fn text(&self, mut text: &str) -> u64 {
        let mut sum = 0_u64;
        while !text.is_empty() {
            let mut end = text.len().min(PIECE);
            while !text.is_char_boundary(end) {
                end = end.saturating_sub(1);
            }
            let (piece, rest) = text.split_at(end);
            sum = sum.saturating_add(self.0.encode_ordinary(piece).len() as u64);
            text = rest;
        }
        sum
    }

    fn json(&self, value: &serde_json::Value) -> u64 {
        match value {
            serde_json::Value::String(text) => self.text(text),
            other => self.text(&other.to_string()),
        }
    }

    fn messages(&self, messages: &[ChatMessage]) -> u64 {
        let parts = messages.iter().map(|message| self.parts(&message.parts));
        parts.fold(0, u64::saturating_add)
    }

    fn parts(&self, parts: &[Part]) -> u64 {
        let counts = parts.iter().map(|part| match part {
            Part::Text(text) | Part::Reasoning(text) => self.text(text),
            Part::ToolCall {
                name, arguments, ..
            } => {
                let arguments = arguments.as_deref().unwrap_or_default();
                self.text(name).saturating_add(self.text(arguments))
            }
            Part::ToolCallResponse { response, .. } => self.json(response),
            Part::Other(value) => self.json(value),
            Part::Media(_) => 0,
        });
        counts.fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> u64 {
        Count(tokenizer(Some("gpt-4o"))).text(text)
    }

    /// Known counts of `o200k_base` and, for an older model, of `cl100k_base`.
    #[test]
    fn the_tokenizer_is_that_of_the_model() {
        let text = "こんにちは世界";
        assert_eq!(count("hello world"), 2);
        assert_eq!(count(text), 2);
        assert_eq!(Count(tokenizer(Some("gpt-4-0613"))).text(text), 4);
        assert_eq!(Count(tokenizer(Some("claude-sonnet-5"))).text(text), 2);
        assert_eq!(Count(tokenizer(None)).text(""), 0);
    }

    #[test]
    fn long_texts_are_counted_piece_by_piece() {
        let words = "hello world ".repeat(10_000);
        let (pieces, count) = (words.len() / PIECE + 1, count(&words));
        assert!(count.abs_diff(20_000) <= 2 * pieces as u64, "{count}");
        // Nothing here to cut at, and characters of three bytes.
        assert!(self::count(&"世".repeat(PIECE)) > 1_000);
        assert!(self::count(&" ".repeat(4 * PIECE)) > 4);
    }
}
