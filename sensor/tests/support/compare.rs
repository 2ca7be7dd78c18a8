//! Compares a call with what a recording expects of it, as the conformance check does.

use llmtap::llm::call::{Call, Part, Value as Attribute};
use serde_json::{Value, json};

/// What differs, a line each.
pub fn differences(record: &Value, call: Option<&Call>) -> Vec<String> {
    let expected = &record["expected"];
    let mut found = Differences(Vec::new());
    let Some(call) = call else {
        found.same("call", json!(false), &json!(!expected["family"].is_null()));
        return found.0;
    };
    if expected["family"].is_null() {
        found.same("call", json!(call.dialect), &Value::Null);
        return found.0;
    }
    if expected["family"] == "mcp" {
        found.same(
            "mcp.method.name",
            attribute(call, "mcp.method.name"),
            &expected["mcp_method"],
        );
        return found.0;
    }
    found.same("dialect", json!(call.dialect), &expected["family"]);
    found.given("operation", json!(call.operation), &expected["operation"]);
    if provider_is_known(record) {
        found.same("provider", json!(call.provider), &expected["provider"]);
    }
    found.given(
        "request model",
        json!(call.request.model),
        &expected["request_model"],
    );
    let status = record["status"].as_u64().unwrap_or(200);
    if status >= 400 {
        let kind = call.error.as_ref().map(|e| e.kind.to_string());
        found.same("error.type", json!(kind), &json!(status.to_string()));
        return found.0;
    }
    found.reply(call, expected);
    found.0
}

struct Differences(Vec<String>);

impl Differences {
    fn same(&mut self, name: &str, got: Value, want: &Value) {
        if got != *want {
            self.0.push(format!("{name}: {got} instead of {want}"));
        }
    }

    /// Compares where the recording has something.
    fn given(&mut self, name: &str, got: Value, want: &Value) {
        let nothing = want.is_null() || *want == json!("") || *want == json!([]);
        if !nothing {
            self.same(name, got, want);
        }
    }

    fn reply(&mut self, call: &Call, expected: &Value) {
        let usage = &call.usage;
        let or_zero = |count: &Value| json!(count.as_u64().unwrap_or(0));
        self.given(
            "response model",
            json!(call.response.model),
            &expected["response_model"],
        );
        self.given(
            "response id",
            json!(call.response.id),
            &expected["response_id"],
        );
        self.same(
            "input tokens",
            json!(usage.input),
            &expected["input_tokens_total"],
        );
        self.same(
            "output tokens",
            json!(usage.output),
            &expected["output_tokens_total"],
        );
        for (name, got, key) in [
            ("cached tokens", usage.cache_read, "cached_tokens"),
            ("cache writes", usage.cache_write, "cache_write_tokens"),
            ("reasoning tokens", usage.reasoning, "reasoning_tokens"),
        ] {
            self.same(name, json!(got.unwrap_or(0)), &or_zero(&expected[key]));
        }
        let reasons: Vec<String> = strings(&expected["finish_reasons"]);
        self.given(
            "finish reasons",
            json!(call.response.finish_reasons),
            &json!(reasons),
        );
        let mut tools = strings(&expected["tool_calls"]);
        tools.sort();
        self.same("tool calls", json!(tool_names(call)), &json!(tools));
        if let Some(want) = expected["output_text"].as_str().filter(|t| !t.is_empty()) {
            let text = output_text(call);
            let start: String = text.chars().take(400).collect();
            self.same("text", json!(start), &json!(want));
            self.given(
                "text length",
                json!(text.chars().count()),
                &expected["output_text_len"],
            );
        }
    }
}

fn strings(list: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    list.as_array().into_iter().flatten().map(text).collect()
}

/// Host and port alone tell the provider.
fn provider_is_known(record: &Value) -> bool {
    if record["host_inferred"] == true {
        return false;
    }
    let url = record["url"].as_str().unwrap_or_default();
    let local = ["localhost", "127.0.0.1", "0.0.0.0"]
        .iter()
        .any(|h| url.contains(h));
    let provider = &record["expected"]["provider"];
    !local || provider == "openai_compatible" || provider == "ollama"
}

fn tool_names(call: &Call) -> Vec<String> {
    let parts = call.response.messages.iter().flat_map(|m| &m.parts);
    let mut names: Vec<String> = parts
        .filter_map(|part| match part {
            Part::ToolCall { name, .. } => Some(name.to_string()),
            _ => None,
        })
        .collect();
    names.sort();
    names
}

/// The text of the first choice.
pub fn output_text(call: &Call) -> String {
    let parts = call.response.messages.first().map_or(&[][..], |m| &m.parts);
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// An attribute without a typed place.
pub fn attribute(call: &Call, name: &str) -> Value {
    let found = call.extra.iter().find(|(n, _)| n == name);
    match found.map(|(_, v)| v) {
        Some(Attribute::String(text)) => json!(text),
        Some(Attribute::Strings(list)) => json!(list),
        Some(Attribute::Int(n)) => json!(n),
        Some(Attribute::Double(n)) => json!(n),
        Some(Attribute::Bool(b)) => json!(b),
        None => Value::Null,
    }
}
