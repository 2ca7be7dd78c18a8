//! Anthropic's Messages.

use serde_json::{Value, json};

use super::{Reply, Said, tokens};

pub fn messages(request: &Value, said: Said) -> Reply {
    if request["stream"] == true {
        let (said, events) = events(said);
        let events = events.into_iter();
        return Reply::events(said, events.map(|(name, data)| (name, data.to_string())));
    }
    let said = named(said);
    let content = json!([{"type": "text", "text": said.text}]);
    let body = message(&said, content, json!("end_turn"), said.output_tokens);
    Reply::json(said, &body)
}

/// The events of a streamed reply, with their names.
pub fn events(said: Said) -> (Said, Vec<(&'static str, Value)>) {
    let said = named(said);
    let event = |name: &'static str, mut data: Value| {
        data["type"] = name.into();
        (name, data)
    };
    let mut events = vec![
        event(
            "message_start",
            json!({"message": message(&said, json!([]), Value::Null, 1)}),
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
    (said, events)
}

fn named(said: Said) -> Said {
    Said {
        id: format!("msg_{}", said.id),
        ..said
    }
}

fn message(said: &Said, content: Value, stop: Value, output: u64) -> Value {
    // As the conventions count, the input has what was cached; on the wire it has not.
    let cached = said.input_tokens / 2;
    json!({
        "id": said.id, "type": "message", "role": "assistant", "model": said.model,
        "content": content, "stop_reason": stop, "stop_sequence": null,
        "usage": {
            "input_tokens": said.input_tokens - cached, "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0, "output_tokens": output,
            "service_tier": "standard",
        },
    })
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
