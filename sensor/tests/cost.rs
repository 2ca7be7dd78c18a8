//! From the bytes of an exchange to what it cost: that the numbers which providers'
//! bodies give are those that are paid for.

#[path = "support/drive.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod drive;
#[path = "support/framing.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod framing;

use drive::Interaction;
use llmtap::enrich::cost::{Cost, Prices, Usd};
use llmtap::http::head::Fields;
use serde_json::{Value, json};

/// 2026-11-20, 12:00 UTC.
const NOON: u64 = 1_795_176_000_000_000_000;

fn cost(url: &str, request: &Value, response: &Value) -> Option<Cost> {
    let mut fields = Fields::default();
    fields.push("Content-Type", "application/json");
    let call = drive::drive(
        &Interaction {
            method: "POST".into(),
            url: url.into(),
            request_fields: fields.clone(),
            request: request.to_string().into_bytes(),
            status: 200,
            response_fields: fields,
            response: vec![framing::Unit::Whole(response.to_string().into_bytes())],
            trailers: Fields::default(),
        },
        false,
    );
    Prices::default().cost(&call.expect("a call"), NOON)
}

/// In dollars: all of it, then input, output, cache read and cache write.
fn dollars(cost: Option<Cost>) -> [Option<f64>; 5] {
    let cost = cost.expect("a known price");
    let total = Some(cost.total());
    let parts = [
        total,
        cost.input,
        cost.output,
        cost.cache_read,
        cost.cache_write,
    ];
    parts.map(|part| part.map(Usd::as_dollars))
}

/// Anthropic's input leaves out what the cache took part in; 3, 15, 0.3, 3.75 and, for an
/// hour, 6 dollars a million.
#[test]
fn anthropics_caches() {
    let asked = json!({"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": []});
    let answered = json!({"type": "message", "model": "claude-sonnet-4-5-20250929",
        "content": [], "stop_reason": "end_turn", "usage": {
            "input_tokens": 1_000, "output_tokens": 100, "cache_read_input_tokens": 2_000,
            "cache_creation_input_tokens": 3_000, "cache_creation": {
                "ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 2_000}}});
    let cost = cost("https://api.anthropic.com/v1/messages", &asked, &answered);
    let expected = [0.02085, 0.003, 0.0015, 0.0006, 0.015_75];
    assert_eq!(dollars(cost), expected.map(Some));
}

/// Fast answers of Claude Opus 4.8 cost 10 and 50 dollars where others cost 5 and 25.
#[test]
fn anthropics_speed() {
    let asked = json!({"model": "claude-opus-4-8", "max_tokens": 9, "messages": []});
    let total = |speed: &str| {
        let answered = json!({"type": "message", "model": "claude-opus-4-8", "content": [],
            "usage": {"input_tokens": 1_000, "output_tokens": 100, "speed": speed}});
        let cost = cost("https://api.anthropic.com/v1/messages", &asked, &answered);
        dollars(cost)[0]
    };
    assert_eq!(total("standard"), Some(0.0075));
    assert_eq!(total("fast"), Some(0.015));
}

/// Half price: 1.25 and 7.5, 0.13 for what was cached.
#[test]
fn openais_flexible_tier() {
    let asked = json!({"model": "gpt-5.4", "service_tier": "flex", "messages": []});
    let answered = json!({"object": "chat.completion", "model": "gpt-5.4-2026-03-05",
        "service_tier": "flex", "choices": [], "usage": {
            "prompt_tokens": 2_000, "completion_tokens": 100,
            "prompt_tokens_details": {"cached_tokens": 1_000}}});
    let url = "https://api.openai.com/v1/chat/completions";
    let [total, input, output, cached, _] = dollars(cost(url, &asked, &answered));
    assert_eq!(
        [total, input, output, cached],
        [0.002_13, 0.001_25, 0.000_75, 0.000_13].map(Some)
    );
}

/// Gemini 2.5 Flash: 0.3 for text, 1 for audio, 2.5 for output, thoughts among it.
#[test]
fn geminis_audio_and_thoughts() {
    let url =
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent";
    let answered = json!({"modelVersion": "gemini-2.5-flash", "candidates": [{"content": {}}],
        "usageMetadata": {"promptTokenCount": 1_000, "candidatesTokenCount": 50,
            "thoughtsTokenCount": 150, "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 400},
                {"modality": "AUDIO", "tokenCount": 600}]}});
    let [total, input, output, ..] = dollars(cost(url, &json!({"contents": []}), &answered));
    let expected = [0.001_22, 0.000_72, 0.0005];
    assert_eq!([total, input, output], expected.map(Some));
}

/// A picture of Gemini 2.5 Flash Image: 30 dollars a million, not 2.5.
#[test]
fn geminis_pictures() {
    let url = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash-image:generateContent";
    let answered = json!({"modelVersion": "gemini-2.5-flash-image", "candidates": [{"content": {}}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 1_290,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1_290}]}});
    let [_, _, output, ..] = dollars(cost(url, &json!({"contents": []}), &answered));
    assert_eq!(output, Some(0.0387));
}

#[test]
fn a_host_of_ones_own_has_no_price() {
    let asked = json!({"model": "gpt-4o", "messages": []});
    let answered = json!({"object": "chat.completion", "model": "gpt-4o", "choices": [],
        "usage": {"prompt_tokens": 2_000, "completion_tokens": 100}});
    let url = "http://localhost:8000/v1/chat/completions";
    assert_eq!(cost(url, &asked, &answered), None);
}
