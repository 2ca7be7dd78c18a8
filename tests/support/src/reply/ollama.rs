//! Ollama's own chat: a line of JSON a piece.

use serde_json::{Value, json};

use super::{Reply, Said, tokens};

const CREATED_AT: &str = "2026-01-01T00:00:00.000000Z";

pub fn chat(request: &Value, said: Said) -> Reply {
    // This API gives no ids.
    let said = Said {
        id: String::new(),
        ..said
    };
    let line = |text: &str, done: bool| {
        let mut line = json!({
            "model": said.model, "created_at": CREATED_AT, "done": done,
            "message": {"role": "assistant", "content": text},
        });
        if done {
            line["done_reason"] = "stop".into();
            line["prompt_eval_count"] = said.input_tokens.into();
            line["eval_count"] = said.output_tokens.into();
            line["total_duration"] = 5_000_000_u64.into();
        }
        line
    };
    // Streaming is what it does unless told otherwise.
    if request["stream"] == false {
        let body = line(&said.text, true);
        return Reply::json(said, &body);
    }
    let mut lines: Vec<Value> = tokens(&said.text).map(|token| line(token, false)).collect();
    lines.push(line("", true));
    Reply {
        content_type: "application/x-ndjson",
        pieces: lines
            .iter()
            .map(|line| format!("{line}\n").into())
            .collect(),
        streamed: true,
        ..Reply::json(said, &Value::Null)
    }
}
