//! Cohere's dialects.

pub(super) mod chat;
pub(super) mod embed;
pub(super) mod generate;
pub(super) mod meta;

pub(super) const COHERE: &str = "cohere";
