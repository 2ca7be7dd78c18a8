//! The Gemini API: generateContent and, as server-sent events, streamGenerateContent.

use serde_json::{Value, json};

use super::{Reply, Said, tokens};

/// The reply to a request to `…/models/MODEL:METHOD`, given its last segment.
pub fn models(place: &str, said: Said) -> Option<Reply> {
    let (model, method) = place.split_once(':')?;
    let said = Said {
        model: model.to_owned(),
        ..said
    };
    match method {
        "generateContent" => {
            let body = piece(&said, &said.text, true);
            Some(Reply::json(said, &body))
        }
        "streamGenerateContent" => {
            let mut pieces: Vec<Value> = tokens(&said.text)
                .map(|token| piece(&said, token, false))
                .collect();
            pieces.push(piece(&said, "", true));
            let events: Vec<_> = pieces.iter().map(|p| ("", p.to_string())).collect();
            Some(Reply::events(said, events))
        }
        _ => None,
    }
}

fn piece(said: &Said, text: &str, last: bool) -> Value {
    let mut candidate =
        json!({"index": 0, "content": {"role": "model", "parts": [{"text": text}]}});
    if last {
        candidate["finishReason"] = "STOP".into();
    }
    json!({
        "candidates": [candidate], "modelVersion": said.model, "responseId": said.id,
        "usageMetadata": {
            "promptTokenCount": said.input_tokens,
            "candidatesTokenCount": if last { said.output_tokens } else { 1 },
            "totalTokenCount": said.input_tokens + said.output_tokens,
        },
    })
}
