//! A call as JSON, briefly, for cases written by hand.

use llmtap::llm::call::{Call, ChatMessage, MediaSource, Part};
use serde_json::{Map, Value, json};

use super::compare::attribute;

/// Everything of a call that is there, without times.
pub fn describe(call: &Call) -> Value {
    let request = &call.request;
    let usage = &call.usage;
    let mut attributes = Map::new();
    for (name, _) in &call.extra {
        attributes.insert(name.to_string(), attribute(call, name));
    }
    let all = json!({
        "dialect": call.dialect,
        "operation": call.operation,
        "provider": call.provider,
        "server": call.server.address,
        "request_id": call.server.request_id,
        "request": {
            "model": request.model,
            "stream": request.stream,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
            "stop": request.stop_sequences,
            "seed": request.seed,
            "choices": request.choice_count,
            "reasoning": request.reasoning_level,
            "output": request.output_type,
            "formats": request.encoding_formats,
            "dimensions": request.embedding_dimensions,
            "conversation": request.conversation_id,
            "system": request.system.iter().map(part).collect::<Vec<_>>(),
            "messages": request.messages.iter().map(message).collect::<Vec<_>>(),
            "tools": request.tools,
        },
        "response": {
            "id": call.response.id,
            "model": call.response.model,
            "finish": call.response.finish_reasons,
            "messages": call.response.messages.iter().map(message).collect::<Vec<_>>(),
        },
        "usage": {
            "input": usage.input,
            "output": usage.output,
            "cache_read": usage.cache_read,
            "cache_write": usage.cache_write,
            "reasoning": usage.reasoning,
        },
        "context": call.context.as_ref().map(|c| [
            format!("{:032x}", c.trace),
            format!("{:016x}", c.span),
        ]),
        "error": call.error.as_ref().map(|e| json!([e.kind, e.message])),
        "attributes": attributes,
    });
    present(all)
}

/// Without nulls and without what is empty.
fn present(value: Value) -> Value {
    let Value::Object(object) = value else {
        return value;
    };
    let kept = object.into_iter().map(|(key, value)| (key, present(value)));
    let nothing = |value: &Value| value.is_null() || *value == json!([]) || *value == json!({});
    Value::Object(kept.filter(|(_, value)| !nothing(value)).collect())
}

fn message(message: &ChatMessage) -> Value {
    let parts: Vec<Value> = message.parts.iter().map(part).collect();
    json!({ (message.role.as_ref()): parts })
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!(text),
        Part::Reasoning(text) => json!({ "thinks": text }),
        Part::ToolCall {
            id,
            name,
            arguments,
        } => json!({ "calls": [id, name, arguments] }),
        Part::ToolCallResponse { id, response } => json!({ "answers": [id, response] }),
        Part::Other(value) => value.clone(),
        Part::Media(media) => {
            let source = match &media.source {
                MediaSource::Uri(uri) => json!({ "uri": uri }),
                MediaSource::File(file) => json!({ "file": file }),
                MediaSource::Inline { bytes } => json!({ "bytes": bytes }),
            };
            json!({ (media.modality.as_ref()): [media.mime_type, source] })
        }
    }
}
