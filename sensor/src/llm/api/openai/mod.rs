//! OpenAI's dialects, and those of everybody who speaks them.

pub(super) mod assistants;
pub(super) mod audio;
pub(super) mod chat;
pub(super) mod completions;
pub(super) mod content;
pub(super) mod embeddings;
pub(super) mod images;
pub(super) mod items;
pub(super) mod moderations;
pub(super) mod responses;
pub(super) mod usage;

/// `gen_ai.provider.name` of a server whose host is nobody's known.
pub(super) const COMPATIBLE: &str = "openai_compatible";
