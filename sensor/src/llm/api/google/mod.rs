//! Google's dialects.

pub(super) mod content;
pub(super) mod embed;
pub(super) mod generate;
pub(super) mod interactions;
pub(super) mod proto;

/// `gen_ai.provider.name` of a server whose host is nobody's known.
pub(super) const UNKNOWN: &str = "gcp.gen_ai";
