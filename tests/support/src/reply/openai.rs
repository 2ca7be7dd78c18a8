//! OpenAI's Chat Completions, Responses and Embeddings.

use serde_json::{Value, json};

use super::{Reply, Said, tokens};

const CREATED: u64 = 1_760_000_000;

pub fn chat(request: &Value, said: Said) -> Reply {
    let id = format!("chatcmpl-{}", said.id);
    let said = Said { id, ..said };
    let usage = json!({
        "prompt_tokens": said.input_tokens,
        "completion_tokens": said.output_tokens,
        "total_tokens": said.input_tokens + said.output_tokens,
        "prompt_tokens_details": {"cached_tokens": said.input_tokens / 2},
        "completion_tokens_details": {"reasoning_tokens": 0},
    });
    if request["stream"] != true {
        let body = json!({
            "id": said.id, "object": "chat.completion", "created": CREATED,
            "model": said.model, "service_tier": "default", "system_fingerprint": "fp_test",
            "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": null,
                "message": {"role": "assistant", "content": said.text, "refusal": null},
            }],
            "usage": usage,
        });
        return Reply::json(said, &body);
    }
    let chunk = |choices: Value, usage: Option<&Value>| {
        let mut chunk = json!({
            "id": said.id, "object": "chat.completion.chunk", "created": CREATED,
            "model": said.model, "system_fingerprint": "fp_test", "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage.clone();
        }
        ("", chunk.to_string())
    };
    let delta = |delta: Value, end: Value| {
        chunk(
            json!([{"index": 0, "delta": delta, "finish_reason": end}]),
            None,
        )
    };
    let mut events = vec![delta(
        json!({"role": "assistant", "content": ""}),
        Value::Null,
    )];
    events.extend(tokens(&said.text).map(|t| delta(json!({"content": t}), Value::Null)));
    events.push(delta(json!({}), json!("stop")));
    if request["stream_options"]["include_usage"] == true {
        events.push(chunk(json!([]), Some(&usage)));
    }
    events.push(("", "[DONE]".into()));
    Reply::events(said, events)
}

pub fn responses(request: &Value, said: Said) -> Reply {
    let id = format!("resp_{}", said.id);
    let said = Said { id, ..said };
    let item = format!("msg_{}", said.id);
    let part = json!({"type": "output_text", "text": said.text, "annotations": []});
    let message = json!({
        "id": item, "type": "message", "status": "completed", "role": "assistant",
        "content": [part],
    });
    let response = |status: &str, output: Value, usage: Value| {
        json!({
            "id": said.id, "object": "response", "created_at": CREATED, "status": status,
            "model": said.model, "output": output, "usage": usage, "error": null,
            "incomplete_details": null, "instructions": null, "metadata": {},
            "parallel_tool_calls": true, "temperature": 1.0, "tool_choice": "auto",
            "tools": [], "top_p": 1.0,
        })
    };
    let done = response(
        "completed",
        json!([message]),
        json!({
            "input_tokens": said.input_tokens, "output_tokens": said.output_tokens,
            "total_tokens": said.input_tokens + said.output_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }),
    );
    if request["stream"] != true {
        return Reply::json(said, &done);
    }
    let begun = response("in_progress", json!([]), Value::Null);
    let mut numbered = Vec::new();
    let mut event = |name: &'static str, mut data: Value| {
        data["type"] = name.into();
        data["sequence_number"] = numbered.len().into();
        numbered.push((name, data.to_string()));
    };
    let at = json!({"item_id": item, "output_index": 0, "content_index": 0});
    let with = |key: &str, value: Value| {
        let mut data = at.clone();
        data[key] = value;
        data
    };
    event("response.created", json!({"response": begun}));
    event(
        "response.output_item.added",
        json!({"output_index": 0, "item": {"id": item, "type": "message",
            "status": "in_progress", "role": "assistant", "content": []}}),
    );
    let empty = json!({"type": "output_text", "text": "", "annotations": []});
    event("response.content_part.added", with("part", empty));
    for token in tokens(&said.text) {
        event("response.output_text.delta", with("delta", token.into()));
    }
    event(
        "response.output_text.done",
        with("text", said.text.as_str().into()),
    );
    event("response.content_part.done", with("part", part));
    event(
        "response.output_item.done",
        json!({"output_index": 0, "item": message}),
    );
    event("response.completed", json!({"response": done}));
    Reply::events(said, numbered)
}

pub fn embeddings(said: Said) -> Reply {
    let body = json!({
        "object": "list", "model": said.model,
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]}],
        "usage": {"prompt_tokens": said.input_tokens, "total_tokens": said.input_tokens},
    });
    // This reply carries no id and no words.
    let said = Said {
        id: String::new(),
        text: String::new(),
        output_tokens: 0,
        ..said
    };
    Reply::json(said, &body)
}

pub fn error(status: u16) -> Value {
    let (kind, code, message) = match status {
        401 => (
            "invalid_request_error",
            "invalid_api_key",
            "Incorrect API key provided.",
        ),
        404 => (
            "invalid_request_error",
            "unknown_url",
            "Unknown request URL.",
        ),
        429 => ("requests", "rate_limit_exceeded", "Rate limit reached."),
        _ => ("server_error", "server_error", "The server had an error."),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}
