//! The names that OpenInference has, which Phoenix and others read.
//!
//! In: a [`Record`]. Out: attributes, lists of messages flattened to one attribute a
//! leaf, as that convention wants them.

use std::borrow::Cow;

use serde_json::{Map, Value as Json, json};

use super::{Attribute, Attributes, extra_text};
use crate::enrich::cost::{Cost, Usd};
use crate::export::message::{Messages, OutputMessages};
use crate::llm::Call;
use crate::llm::call::{ChatMessage, Media, MediaSource, Part, Request, Response, Usage};
use crate::redact::Record;

/// Whether an attribute of OpenTelemetry's has its like here.
pub(super) fn has_own(name: &str) -> bool {
    name.starts_with("gen_ai.")
}

/// Whether an attribute of these holds what people or models wrote.
pub(super) fn is_content(name: &str) -> bool {
    const BEGINNINGS: [&str; 4] = [
        "llm.input_messages.",
        "llm.output_messages.",
        "llm.tools.",
        "tool.parameters",
    ];
    let values = ["input.value", "output.value"];
    values.contains(&name)
        || BEGINNINGS
            .iter()
            .any(|beginning| name.starts_with(beginning))
}

pub(super) fn add<'a>(out: &mut Attributes<'a>, record: &'a Record) {
    let call = record.call();
    let kind = span_kind(&call.operation);
    out.set("openinference.span.kind", kind);
    let model = call
        .response
        .model
        .as_deref()
        .or(call.request.model.as_deref());
    let model_name = match kind {
        "EMBEDDING" => "embedding.model_name",
        "RERANKER" => "reranker.model_name",
        _ => "llm.model_name",
    };
    out.known(model_name, model);
    if kind == "TOOL" || call.dialect == "mcp" {
        return tool(out, call);
    }
    out.set("llm.provider", provider(&call.provider));
    out.known("llm.system", system(call.dialect));
    out.known("llm.invocation_parameters", parameters(&call.request));
    out.known("session.id", call.request.conversation_id.as_deref());
    let reason = call.response.finish_reasons.first().map(|r| &**r);
    out.known("llm.finish_reason", reason);
    usage(out, call.usage);
    if let Some(cost) = record.cost() {
        costs(out, cost);
    }
    request(out, &call.request);
    response(out, &call.response);
}

fn span_kind(operation: &str) -> &'static str {
    match operation {
        "embeddings" => "EMBEDDING",
        "execute_tool" => "TOOL",
        "rerank" => "RERANKER",
        "moderation" => "GUARDRAIL",
        "retrieval" => "RETRIEVER",
        "invoke_agent" | "create_agent" => "AGENT",
        "mcp" => "CHAIN",
        _ => "LLM",
    }
}

/// Its word for who was called, where it differs.
fn provider(name: &str) -> &str {
    match name {
        "azure.ai.openai" | "azure.ai.inference" => "azure",
        "aws.bedrock" => "aws",
        "gcp.gemini" | "gcp.vertex_ai" | "gcp.gen_ai" => "google",
        "mistral_ai" => "mistralai",
        "x_ai" => "xai",
        "moonshot_ai" => "moonshot",
        other => other,
    }
}

/// Whose kind of interface was spoken.
fn system(dialect: &str) -> Option<&'static str> {
    let (family, _) = dialect.split_once('.').unwrap_or((dialect, ""));
    Some(match family {
        "openai" => "openai",
        "anthropic" => "anthropic",
        "cohere" => "cohere",
        "mistral" => "mistralai",
        "google" => "vertexai",
        _ => return None,
    })
}

fn parameters(request: &Request) -> Option<String> {
    let mut all = Map::new();
    let mut set = |name: &str, value: Option<Json>| {
        if let Some(value) = value {
            all.insert(name.to_owned(), value);
        }
    };
    set("model", request.model.as_deref().map(Json::from));
    set("max_tokens", request.max_tokens.map(Json::from));
    set("temperature", request.temperature.map(Json::from));
    set("top_p", request.top_p.map(Json::from));
    set("top_k", request.top_k.map(Json::from));
    set(
        "frequency_penalty",
        request.frequency_penalty.map(Json::from),
    );
    set("presence_penalty", request.presence_penalty.map(Json::from));
    set("seed", request.seed.map(Json::from));
    set("n", request.choice_count.map(Json::from));
    set("stream", request.stream.filter(|s| *s).map(Json::from));
    (!all.is_empty()).then(|| Json::Object(all).to_string())
}

fn usage(out: &mut Attributes<'_>, usage: Usage) {
    out.known("llm.token_count.prompt", usage.input);
    out.known("llm.token_count.completion", usage.output);
    let total = usage.input.zip(usage.output);
    let total = total.map(|(input, output)| input.saturating_add(output));
    out.known("llm.token_count.total", total);
    let read = "llm.token_count.prompt_details.cache_read";
    out.known(read, usage.cache_read);
    let write = "llm.token_count.prompt_details.cache_write";
    out.known(write, usage.cache_write);
    let reasoning = "llm.token_count.completion_details.reasoning";
    out.known(reasoning, usage.reasoning);
}

fn costs(out: &mut Attributes<'_>, cost: &Cost) {
    let parts = [cost.input, cost.cache_read, cost.cache_write];
    let prompt = parts.into_iter().flatten().reduce(Usd::plus);
    out.known("llm.cost.prompt", prompt.map(Usd::as_dollars));
    out.known("llm.cost.completion", cost.output.map(Usd::as_dollars));
    out.set("llm.cost.total", cost.total().as_dollars());
}

fn request<'a>(out: &mut Attributes<'a>, request: &'a Request) {
    let mut at = 0;
    if !request.system.is_empty() {
        message(out, "llm.input_messages.0", "system", &request.system);
        at = 1;
    }
    for said in &request.messages {
        chat_message(out, &format!("llm.input_messages.{at}"), said);
        at += 1;
    }
    for (at, tool) in request.tools.iter().enumerate() {
        out.set(format!("llm.tools.{at}.tool.json_schema"), tool.text());
    }
    if !request.messages.is_empty() {
        let all = Messages(&request.messages);
        out.known("input.value", serde_json::to_string(&all).ok());
        out.set("input.mime_type", "application/json");
    }
}

fn response<'a>(out: &mut Attributes<'a>, response: &'a Response) {
    for (at, said) in response.messages.iter().enumerate() {
        chat_message(out, &format!("llm.output_messages.{at}"), said);
    }
    match &response.messages[..] {
        [] => {}
        [ChatMessage { parts, .. }] if let [Part::Text(text)] = &parts[..] => {
            out.set("output.value", &**text);
            out.set("output.mime_type", "text/plain");
        }
        messages => {
            let reasons = &response.finish_reasons;
            let all = OutputMessages { messages, reasons };
            out.known("output.value", serde_json::to_string(&all).ok());
            out.set("output.mime_type", "application/json");
        }
    }
}

fn chat_message<'a>(out: &mut Attributes<'a>, prefix: &str, said: &'a ChatMessage) {
    message(out, prefix, &said.role, &said.parts);
    let name = said.name.as_deref();
    out.known(format!("{prefix}.message.name"), name);
}

fn message<'a>(out: &mut Attributes<'a>, prefix: &str, role: &'a str, parts: &'a [Part]) {
    let prefix = format!("{prefix}.message");
    out.set(format!("{prefix}.role"), role);
    if let [Part::Text(text)] = parts {
        return out.set(format!("{prefix}.content"), &**text);
    }
    let (mut contents, mut calls) = (0_usize, 0_usize);
    for part in parts {
        match part {
            Part::ToolCall {
                id,
                name,
                arguments,
            } => {
                let call = format!("{prefix}.tool_calls.{calls}.tool_call");
                calls += 1;
                out.known(format!("{call}.id"), id.as_deref());
                out.set(format!("{call}.function.name"), &**name);
                let arguments = arguments.as_deref();
                out.known(format!("{call}.function.arguments"), arguments);
            }
            Part::ToolCallResponse { id, response } => {
                out.known(format!("{prefix}.tool_call_id"), id.as_deref());
                out.set(format!("{prefix}.content"), plain(response));
            }
            other => {
                let place = format!("{prefix}.contents.{contents}.message_content");
                contents += 1;
                content(out, &place, other);
            }
        }
    }
}

fn content<'a>(out: &mut Attributes<'a>, place: &str, part: &'a Part) {
    let (kind, text): (&str, Cow<'a, str>) = match part {
        Part::Text(text) => ("text", Cow::Borrowed(text)),
        Part::Reasoning(text) => ("reasoning", Cow::Borrowed(text)),
        Part::Media(media) => {
            out.set(format!("{place}.type"), media.modality.clone().into_owned());
            if let MediaSource::Uri(uri) = &media.source {
                out.set(format!("{place}.{}", address(media)), &**uri);
            }
            return;
        }
        Part::Other(value) => ("text", Cow::Owned(value.to_string())),
        Part::ToolCall { .. } | Part::ToolCallResponse { .. } => return,
    };
    out.set(format!("{place}.type"), kind);
    out.set(format!("{place}.text"), Attribute::String(text));
}

fn address(media: &Media) -> String {
    let modality = &media.modality;
    format!("{modality}.{modality}.url")
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn tool<'a>(out: &mut Attributes<'a>, call: &'a Call) {
    let name = extra_text(call, "gen_ai.tool.name");
    out.known("tool.name", name);
    if let Some(arguments) = extra_text(call, "gen_ai.tool.call.arguments") {
        out.set("tool.parameters", arguments);
        out.set("input.value", arguments);
        out.set("input.mime_type", "application/json");
    }
    if let Some(result) = extra_text(call, "gen_ai.tool.call.result") {
        out.set("output.value", result);
        out.set("output.mime_type", mime_type(result));
    }
    if let Some(method) = extra_text(call, "mcp.method.name") {
        out.set("metadata", json!({ "mcp.method.name": method }).to_string());
    }
}

fn mime_type(text: &str) -> &'static str {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => "application/json",
        Err(_) => "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Conventions, spelled};
    use super::*;
    use crate::samples::record;

    fn values(record: &Record, conventions: Conventions) -> Json {
        let attributes = spelled(record, conventions);
        let pairs = attributes.iter().map(|(name, value)| {
            let value = serde_json::to_value(value).unwrap();
            (name.to_owned(), value)
        });
        Json::Object(pairs.collect())
    }

    fn spoken() -> Record {
        record(|call, _| {
            call.provider = "gcp.gemini".into();
            call.request.system = vec![Part::Text("be brief".into())];
            call.request.messages = vec![ChatMessage {
                role: "user".into(),
                parts: vec![
                    Part::Text("what is this".into()),
                    Part::Media(Media {
                        modality: "image".into(),
                        mime_type: None,
                        source: MediaSource::Uri("https://a.example/b".into()),
                    }),
                ],
                ..ChatMessage::default()
            }];
            call.response.messages = vec![ChatMessage {
                role: "assistant".into(),
                parts: vec![Part::ToolCall {
                    id: Some("call_1".into()),
                    name: "look".into(),
                    arguments: Some("{}".into()),
                }],
                ..ChatMessage::default()
            }];
        })
    }

    #[test]
    fn messages_are_flattened() {
        let found = values(&spoken(), Conventions::OpenInference);
        for (name, value) in [
            ("openinference.span.kind", json!("LLM")),
            ("llm.provider", json!("google")),
            ("llm.system", json!("openai")),
            ("llm.model_name", json!("gpt-4o-mini")),
            ("llm.token_count.total", json!(1290)),
            ("llm.input_messages.0.message.role", json!("system")),
            ("llm.input_messages.0.message.content", json!("be brief")),
            (
                "llm.input_messages.1.message.contents.0.message_content.text",
                json!("what is this"),
            ),
            (
                "llm.input_messages.1.message.contents.1.message_content.image.image.url",
                json!("https://a.example/b"),
            ),
            (
                "llm.output_messages.0.message.tool_calls.0.tool_call.function.name",
                json!("look"),
            ),
        ] {
            assert_eq!(found[name], value, "{name}");
        }
        let names = found.as_object().unwrap().keys();
        assert!(names.into_iter().all(|name| !name.starts_with("gen_ai.")));
    }

    #[test]
    fn both_have_both_and_content_can_be_left_out_of_both() {
        let record = spoken();
        let both = values(&record, Conventions::Both);
        assert_eq!(both["gen_ai.request.model"], "gpt-4o-mini");
        assert_eq!(both["llm.model_name"], "gpt-4o-mini");
        let mut attributes = spelled(&record, Conventions::Both);
        attributes.drop_content();
        let text: String = attributes
            .iter()
            .map(|(_, value)| serde_json::to_string(value).unwrap())
            .collect();
        for said in ["brief", "what is this", "a.example"] {
            assert!(!text.contains(said), "{said}");
        }
    }
}
