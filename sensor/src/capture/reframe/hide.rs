//! Replaces what people and models wrote by asterisks, and keeps what a protocol is
//! made of.
//!
//! In: one document of JSON, or anything else. Out: the same with every string hidden
//! but those under keys that hold names, ids and kinds. What is not known is hidden.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Keys whose values are words of a protocol.
const NAMES: [&str; 86] = [
    "__type",
    "action",
    "agent",
    "agentId",
    "amazon-bedrock-guardrailAction",
    "api_version",
    "assistant_id",
    "call_id",
    "code",
    "completionReason",
    "conversation",
    "conversation_id",
    "created_at",
    "detail",
    "done_reason",
    "effort",
    "embeddingTypes",
    "embedding_types",
    "encoding_format",
    "environment_id",
    "errorCode",
    "errorType",
    "error_code",
    "error_type",
    "event",
    "finishReason",
    "finish_reason",
    "format",
    "guardrailId",
    "guardrailIdentifier",
    "guardrailVersion",
    "id",
    "incomplete_details",
    "interaction_id",
    "item_id",
    "jsonrpc",
    "kind",
    "level",
    "log_id",
    "media_type",
    "method",
    "mimeType",
    "mime_type",
    "model",
    "modelId",
    "modelVersion",
    "model_id",
    "name",
    "native_finish_reason",
    "object",
    "output_dtype",
    "previous_response_id",
    "protocolVersion",
    "provider",
    "quality",
    "reason",
    "reasoning_effort",
    "requestId",
    "request_id",
    "responseId",
    "response_id",
    "role",
    "serviceTier",
    "service_tier",
    "sessionId",
    "session_id",
    "size",
    "status",
    "stopReason",
    "stop_reason",
    "system_fingerprint",
    "thinkingLevel",
    "thinking_level",
    "thread_id",
    "tier",
    "toolUseId",
    "tool_call_id",
    "tool_choice",
    "tool_use_id",
    "traceparent",
    "tracestate",
    "trafficType",
    "truncation",
    "type",
    "version",
    "voice",
];

/// Keys of objects in which every text is content, whatever its key.
const CONTENT: [&str; 11] = [
    "args",
    "arguments",
    "input",
    "input_schema",
    "parameters",
    "properties",
    "requestedSchema",
    "resources",
    "response_format",
    "roots",
    "schema",
];

/// Of these, the keys of objects in which numbers are, too.
const CALL_ARGUMENTS: [&str; 4] = ["args", "arguments", "input", "structuredContent"];

/// Keys of numbers that stand for content.
const VECTORS: [&str; 4] = ["embedding", "embeddings", "values", "vector"];

/// No name is longer.
const MAX_NAME: usize = 128;

/// Integers from here on may name somebody.
const MAX_NUMBER: u64 = 100_000_000_000;

/// Hides the content of `data`.
pub fn hide(data: &[u8]) -> Vec<u8> {
    const END_OF_STREAM: &[u8] = b"[DONE]";
    if data.trim_ascii() == END_OF_STREAM {
        return data.to_vec();
    }
    match serde_json::from_slice::<Value>(data) {
        Ok(mut value) => {
            hide_value(&mut value, "", Within::Protocol);
            serde_json::to_vec(&value).unwrap_or_default()
        }
        Err(_) => hidden_text(data),
    }
}

/// As many asterisks.
pub fn hidden_text(data: &[u8]) -> Vec<u8> {
    vec![b'*'; data.len()]
}

/// What a value is part of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Within {
    Protocol,
    /// Texts are content.
    Content,
    /// Numbers are, too.
    Arguments,
}

/// `key`: under which the value stands, or the array that holds it.
fn hide_value(value: &mut Value, key: &str, within: Within) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            let is_large = number.as_u64().is_some_and(|n| n > MAX_NUMBER);
            if within == Within::Arguments || is_large || VECTORS.contains(&key) {
                *value = Value::from(0);
            }
        }
        Value::String(text) => {
            let is_name = NAMES.contains(&key) && text.len() <= MAX_NAME;
            if within > Within::Protocol || !is_name {
                *text = match key {
                    // Bedrock wraps each event of some models in base64.
                    "bytes" => hidden_inner(text),
                    _ => text.chars().map(|_| '*').collect(),
                };
            }
        }
        Value::Array(items) => {
            for item in items {
                hide_value(item, key, within);
            }
        }
        Value::Object(fields) => {
            let here = match key {
                _ if CALL_ARGUMENTS.contains(&key) => Within::Arguments,
                _ if CONTENT.contains(&key) => Within::Content,
                _ => Within::Protocol,
            };
            // What a person has filled in (MCP, elicitation).
            let is_form = fields.contains_key("action");
            for (key, value) in fields {
                let here = match key.as_str() {
                    "content" if is_form => Within::Arguments,
                    _ => here,
                };
                hide_value(value, key, within.max(here));
            }
        }
    }
}

fn hidden_inner(text: &str) -> String {
    let inner = STANDARD.decode(text).ok();
    let inner = inner.and_then(|inner| serde_json::from_slice::<Value>(&inner).ok());
    match inner {
        Some(mut inner) => {
            hide_value(&mut inner, "", Within::Protocol);
            STANDARD.encode(inner.to_string())
        }
        None => text.chars().map(|_| '*').collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hidden(value: Value) -> Value {
        serde_json::from_slice(&hide(value.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn names_and_numbers_stay_and_words_go() {
        let request = json!({
            "model": "gpt-4o", "max_tokens": 9, "stop": ["END"], "user": "jo",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi ü"}]}],
            "tools": [{"type": "function", "function": {
                "name": "f", "parameters": {"type": "object", "description": "d"}}}],
        });
        assert_eq!(
            hidden(request),
            json!({
                "model": "gpt-4o", "max_tokens": 9, "stop": ["***"], "user": "**",
                "messages": [{"role": "user", "content": [{"type": "text", "text": "****"}]}],
                "tools": [{"type": "function", "function": {
                    "name": "f", "parameters": {"type": "******", "description": "*"}}}],
            })
        );
    }

    #[test]
    fn arguments_hide_whole_whatever_their_keys() {
        let part = json!({"type": "tool_use", "name": "f", "input": {"id": "x", "n": [4, "y"]}});
        assert_eq!(
            hidden(part),
            json!({"type": "tool_use", "name": "f", "input": {"id": "*", "n": [0, "*"]}})
        );
        let long = "x".repeat(200);
        assert_eq!(hidden(json!({"id": long}))["id"], "*".repeat(200));
        assert_eq!(
            hidden(json!({"n": 4_111_111_111_111_111_u64})),
            json!({"n": 0})
        );
        assert_eq!(
            hidden(json!({"embedding": [0.25]})),
            json!({"embedding": [0]})
        );
    }

    #[test]
    fn results_and_forms_of_mcp_hide_whole() {
        let result = json!({"id": 1, "result": {
            "content": [{"type": "text", "text": "Jo"}],
            "structuredContent": {"name": "Jo", "age": 44}}});
        assert_eq!(
            hidden(result),
            json!({"id": 1, "result": {
                "content": [{"type": "text", "text": "**"}],
                "structuredContent": {"name": "**", "age": 0}}})
        );
        let form = json!({"action": "accept", "content": {"name": "Jo", "age": 44}});
        assert_eq!(
            hidden(form),
            json!({"action": "accept", "content": {"name": "**", "age": 0}})
        );
        let roots = json!({"roots": [{"name": "Jo", "uri": "file:///jo"}]});
        assert_eq!(
            hidden(roots),
            json!({"roots": [{"name": "**", "uri": "**********"}]})
        );
    }

    #[test]
    fn what_is_no_json_hides_whole() {
        assert_eq!(hide(b"[DONE]"), b"[DONE]");
        assert_eq!(hide(b"{\"text\": \"cut"), b"*************");
        let inner = STANDARD.encode(json!({"text": "secret", "type": "delta"}).to_string());
        let outer = hidden(json!({"bytes": inner}));
        let inner = STANDARD.decode(outer["bytes"].as_str().unwrap()).unwrap();
        let inner: Value = serde_json::from_slice(&inner).unwrap();
        assert_eq!(inner, json!({"text": "******", "type": "delta"}));
    }
}
