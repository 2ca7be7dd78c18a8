//! What the fields of a head tell of a call: ids, rate limits, counts.

use super::attr::{self, Attributes};
use super::call::{Name, Value};
use super::usage::Tokens;
use crate::http::Fields;

/// Names under which providers and gateways give the id of an exchange; the earlier
/// is the nearer to the provider.
const REQUEST_IDS: [&str; 9] = [
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "mistral-correlation-id",
    "x-generation-id",
    "x-ds-trace-id",
    "x-debug-trace-id",
    "x-goog-request-id",
];

/// The provider's id for the exchange.
pub(super) fn request_id(fields: &Fields) -> Option<Box<str>> {
    let mut ids = REQUEST_IDS.iter().filter_map(|name| fields.first(name));
    ids.find(|id| !id.is_empty()).map(Into::into)
}

/// Attributes that a response's head gives.
pub(super) fn response(fields: &Fields, attributes: &mut Attributes) {
    for (name, value) in fields.iter() {
        if let Some(limit) = rate_limit(name) {
            attributes.header(limit, Some(value));
        }
    }
    for (field, name) in [
        ("retry-after", attr::RETRY_AFTER),
        ("mcp-session-id", attr::MCP_SESSION),
        ("x-ms-served-model", attr::SERVED_BY),
    ] {
        attributes.header(name, fields.first(field));
    }
    for field in [
        "openai-processing-ms",
        "x-amzn-bedrock-invocation-latency",
        "x-envoy-upstream-service-time",
    ] {
        let taken = attributes.get(attr::PROCESSING_MS).is_some();
        if let Some(ms) = fields
            .first(field)
            .and_then(|v| v.parse().ok())
            .filter(|_| !taken)
        {
            attributes.set(attr::PROCESSING_MS, Value::Int(ms));
        }
    }
    let gateways = [
        ("x-litellm-version", "litellm"),
        ("x-portkey-trace-id", "portkey"),
        ("helicone-id", "helicone"),
    ];
    for (field, gateway) in gateways {
        if fields.first(field).is_some() {
            attributes.header(attr::GATEWAY, Some(gateway));
        }
    }
}

/// The attribute for a field: `….remaining.tokens` for `x-ratelimit-remaining-tokens` and
/// for `anthropic-ratelimit-tokens-remaining`.
fn rate_limit(name: &str) -> Option<Name> {
    let name = name.strip_prefix("x-").unwrap_or(name);
    let name = name.strip_prefix("anthropic-").unwrap_or(name);
    let rest = name.strip_prefix("ratelimit-")?;
    for kind in ["limit", "remaining", "reset"] {
        let what = match rest.strip_prefix(kind) {
            Some(what) => what.strip_prefix('-'),
            None => rest
                .strip_suffix(kind)
                .and_then(|what| what.strip_suffix('-')),
        };
        if let Some(what) = what {
            return Some(name_of(kind, what));
        }
        if rest == kind {
            return Some(Name::Owned([attr::RATE_LIMIT, kind].concat()));
        }
    }
    None
}

fn name_of(kind: &str, what: &str) -> Name {
    Name::Borrowed(match (kind, what) {
        ("limit", "requests") => "llmtap.rate_limit.limit.requests",
        ("limit", "tokens") => "llmtap.rate_limit.limit.tokens",
        ("remaining", "requests") => "llmtap.rate_limit.remaining.requests",
        ("remaining", "tokens") => "llmtap.rate_limit.remaining.tokens",
        ("reset", "requests") => "llmtap.rate_limit.reset.requests",
        ("reset", "tokens") => "llmtap.rate_limit.reset.tokens",
        _ => return Name::Owned([attr::RATE_LIMIT, kind, ".", what].concat()),
    })
}

/// Counts that a response's head gives (Bedrock).
pub(super) fn tokens(fields: &Fields) -> Tokens {
    let count = |name| fields.first(name)?.parse().ok();
    Tokens {
        input: count("x-amzn-bedrock-input-token-count"),
        output: count("x-amzn-bedrock-output-token-count"),
        cache_read: count("x-amzn-bedrock-cache-read-input-token-count"),
        cache_write: count("x-amzn-bedrock-cache-write-input-token-count"),
        cache_is_apart: true,
        ..Tokens::default()
    }
}

/// Whether a content type is of bytes that hold no text.
pub(super) fn is_binary(content_type: &str) -> bool {
    let mime = content_type.trim_start();
    ["audio/", "image/", "video/"]
        .iter()
        .any(|t| mime.starts_with(t))
}

#[cfg(test)]
mod tests {
    use super::rate_limit;

    #[test]
    fn rate_limits_have_one_spelling() {
        for (field, want) in [
            ("x-ratelimit-remaining-tokens", Some("remaining.tokens")),
            (
                "anthropic-ratelimit-input-tokens-reset",
                Some("reset.input-tokens"),
            ),
            ("x-ratelimit-limit", Some("limit")),
            ("x-ratelimit-abusepenalty-active", None),
            ("x-request-id", None),
        ] {
            let want = want.map(|rest| format!("llmtap.rate_limit.{rest}"));
            assert_eq!(rate_limit(field).as_deref(), want.as_deref(), "{field}");
        }
    }
}
