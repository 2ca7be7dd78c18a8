//! Anthropic's dialects.

pub(super) mod complete;
pub(super) mod content;
pub(super) mod messages;
