//! Anthropic's Messages.

use serde_json::{Value, json};

use super::{Reply, Said, tokens};

pub fn messages(request: &Value, said: Said) -> Reply {
    let id = format!("msg_{}", said.id);
    // As the conventions count, the input has what was cached; on the wire it has not.
    let cached = said.input_tokens / 2;
    let said = Said { id, ..said };
    let usage = |output: u64| {
        json!({
            "input_tokens": said.input_tokens - cached, "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0, "output_tokens": output,
            "service_tier": "standard",
        })
    };
    let message = |content: Value, stop: Value, output: u64| {
        json!({
            "id": said.id, "type": "message", "role": "assistant", "model": said.model,
            "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": usage(output),
        })
    };
    if request["stream"] != true {
        let content = json!([{"type": "text", "text": said.text}]);
        let body = message(content, json!("end_turn"), said.output_tokens);
        return Reply::json(said, &body);
    }
    let event = |name: &'static str, mut data: Value| {
        data["type"] = name.into();
        (name, data.to_string())
    };
    let mut events = vec![
        event(
            "message_start",
            json!({"message": message(json!([]), Value::Null, 1)}),
        ),
        event(
            "content_block_start",
            json!({"index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
        event("ping", json!({})),
    ];
    events.extend(tokens(&said.text).map(|token| {
        event(
            "content_block_delta",
            json!({"index": 0, "delta": {"type": "text_delta", "text": token}}),
        )
    }));
    events.extend([
        event("content_block_stop", json!({"index": 0})),
        event(
            "message_delta",
            json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null},
                   "usage": {"output_tokens": said.output_tokens}}),
        ),
        event("message_stop", json!({})),
    ]);
    Reply::events(said, events)
}

pub fn error(status: u16, serial: &str) -> Value {
    let (kind, message) = match status {
        401 => ("authentication_error", "invalid x-api-key"),
        404 => ("not_found_error", "Not found"),
        429 => ("rate_limit_error", "This would exceed your rate limit."),
        _ => ("api_error", "Internal server error"),
    };
    json!({
        "type": "error", "error": {"type": kind, "message": message},
        "request_id": format!("req_{serial}"),
    })
}
