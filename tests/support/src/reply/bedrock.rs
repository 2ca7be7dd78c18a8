//! Amazon Bedrock: Converse, ConverseStream, and Anthropic's messages by
//! InvokeModelWithResponseStream. Nothing is signed, and no signature is looked at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Reply, Said, anthropic, tokens};
use crate::event_stream;

/// The reply to a request to `/model/MODEL/ACTION`.
pub fn model(action: &str, said: Said) -> Option<Reply> {
    Some(match action {
        "converse" => converse(said),
        "converse-stream" => converse_stream(said),
        "invoke-with-response-stream" => invoke_stream(said),
        _ => return None,
    })
}

fn converse(said: Said) -> Reply {
    let said = nameless(said);
    let body = json!({
        "output": {"message": {"role": "assistant", "content": [{"text": said.text}]}},
        "stopReason": "end_turn", "usage": usage(&said), "metrics": {"latencyMs": 7},
    });
    Reply::json(said, &body)
}

fn converse_stream(said: Said) -> Reply {
    let said = nameless(said);
    let mut events = vec![("messageStart", json!({"role": "assistant"}))];
    events.extend(tokens(&said.text).map(|token| {
        let delta = json!({"contentBlockIndex": 0, "delta": {"text": token}});
        ("contentBlockDelta", delta)
    }));
    events.extend([
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        ("messageStop", json!({"stopReason": "end_turn"})),
        (
            "metadata",
            json!({"usage": usage(&said), "metrics": {"latencyMs": 7}}),
        ),
    ]);
    stream(said, events)
}

fn invoke_stream(said: Said) -> Reply {
    let (said, mut events) = anthropic::events(said);
    if let Some((_, last)) = events.last_mut() {
        last["amazon-bedrock-invocationMetrics"] = json!({
            "inputTokenCount": said.input_tokens, "outputTokenCount": said.output_tokens,
            "invocationLatency": 7, "firstByteLatency": 3,
        });
    }
    let chunks = events.into_iter().map(|(_, event)| {
        let bytes = STANDARD.encode(event.to_string());
        ("chunk", json!({"bytes": bytes, "p": "abcd"}))
    });
    stream(said, chunks)
}

/// This API gives no ids.
fn nameless(said: Said) -> Said {
    Said {
        id: String::new(),
        ..said
    }
}

fn usage(said: &Said) -> Value {
    json!({
        "inputTokens": said.input_tokens, "outputTokens": said.output_tokens,
        "totalTokens": said.input_tokens + said.output_tokens,
    })
}

fn stream(said: Said, events: impl IntoIterator<Item = (&'static str, Value)>) -> Reply {
    let pieces = events
        .into_iter()
        .map(|(name, event)| event_stream::event(name, event.to_string().as_bytes()))
        .map(Bytes::from)
        .collect();
    Reply {
        content_type: "application/vnd.amazon.eventstream",
        pieces,
        streamed: true,
        ..Reply::json(said, &Value::Null)
    }
}
