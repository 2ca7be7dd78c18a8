//! Sums by hand, from the numbers that the source of the table gives.

use super::*;
use crate::event::ConnectionId;
use crate::llm::call::{CallId, Capture, Request, Response, Server, Timing};

/// 2026-11-20, 12:00 UTC.
const NOON: u64 = 1_795_176_000_000_000_000;

fn call(provider: &'static str, model: &str, usage: Usage) -> Call {
    Call {
        id: CallId(1),
        connection: ConnectionId(1),
        role: Role::Client,
        thread: None,
        goroutine: None,
        context: None,
        operation: "chat".into(),
        provider: provider.into(),
        dialect: "openai.chat",
        server: Server::default(),
        request: Request {
            model: Some(model.into()),
            ..Request::default()
        },
        response: Response::default(),
        usage,
        timing: Timing::default(),
        error: None,
        capture: Capture::default(),
        extra: Vec::new(),
    }
}

fn tokens(input: u64, output: u64) -> Usage {
    Usage {
        input: Some(input),
        output: Some(output),
        ..Usage::default()
    }
}

/// Parts in dollars: input, output, cache read, cache write, fees.
fn parts(cost: Cost) -> [Option<f64>; 5] {
    let parts = [
        cost.input,
        cost.output,
        cost.cache_read,
        cost.cache_write,
        cost.fees,
    ];
    parts.map(|part| part.map(Usd::as_dollars))
}

fn cost(call: &Call) -> Cost {
    Prices::default().cost(call, NOON).unwrap()
}

fn dollars(call: &Call) -> f64 {
    cost(call).total().as_dollars()
}

#[test]
fn the_embedded_table_says_whence_it_is_and_is_all_there() {
    let text = include_str!("prices.json");
    let table = Table::parse(text).unwrap();
    assert!(!table.replaces());
    let header: serde_json::Value = serde_json::from_str(text).unwrap();
    for (key, word) in [
        ("source", "genai-prices"),
        ("retrieved", "20"),
        ("licence", "MIT"),
    ] {
        assert!(header[key].as_str().unwrap().contains(word), "{key}");
    }
    for provider in [
        "openai",
        "anthropic",
        "aws.bedrock",
        "gcp.gemini",
        "azure.ai.openai",
    ] {
        assert!(table.model(provider, "nothing-like-it").is_none());
    }
}

#[test]
fn input_output_and_what_a_cache_served() {
    // 0.15, 0.075 and 0.6 USD a million.
    let mut call = call("openai", "gpt-4o-mini", tokens(1234, 56));
    call.usage.cache_read = Some(1024);
    assert_eq!(
        parts(cost(&call)),
        [
            Some(0.0000315),
            Some(0.0000336),
            Some(0.0000768),
            None,
            None
        ]
    );
    assert_eq!(dollars(&call), 0.0001419);
}

#[test]
fn what_a_cache_stored_costs_by_how_long() {
    // Claude Sonnet 4.5: 3, 15, 0.3, 3.75 (five minutes) and 6 (an hour); 1 cent a search.
    let mut call = call(
        "anthropic",
        "claude-sonnet-4-5-20250929",
        tokens(10_000, 500),
    );
    call.usage.cache_read = Some(4_000);
    call.usage.cache_write = Some(3_000);
    call.extra
        .push((attr::CACHE_WRITE_1H.into(), Value::Int(1_000)));
    call.extra.push((attr::WEB_SEARCHES.into(), Value::Int(2)));
    assert_eq!(
        parts(cost(&call)),
        [
            Some(0.009),
            Some(0.0075),
            Some(0.0012),
            Some(0.0135),
            Some(0.02)
        ]
    );
    assert_eq!(dollars(&call), 0.0512);
}

#[test]
fn long_contexts_cost_more_for_every_token() {
    // Gemini 2.5 Pro: 1.25 and 10, above 200,000 tokens 2.5 and 15.
    let call = |input| call("gcp.vertex_ai", "gemini-2.5-pro", tokens(input, 1_000));
    assert_eq!(dollars(&call(200_000)), 0.26);
    assert_eq!(dollars(&call(200_001)), 0.515_002_5);
}

#[test]
fn the_tier_in_the_response_decides() {
    // GPT-5.4: 2.5 and 15; flex half of it, priority twice.
    let mut call = call("openai", "gpt-5.4-2026-03-05", tokens(1_000, 100));
    assert_eq!(dollars(&call), 0.004);
    let tier = |name: &'static str, tier: &str| (name.into(), Value::String(tier.into()));
    call.extra.push(tier(attr::REQUEST_SERVICE_TIER, "flex"));
    assert_eq!(dollars(&call), 0.002);
    call.extra
        .push(tier(attr::RESPONSE_SERVICE_TIER, "priority"));
    assert_eq!(dollars(&call), 0.008);
    call.extra = vec![tier(attr::RESPONSE_SERVICE_TIER, "default")];
    assert_eq!(dollars(&call), 0.004);
    // Nobody pays by the token for capacity that is rented.
    call.extra = vec![tier(attr::SERVICE_TIER, "PROVISIONED_THROUGHPUT")];
    assert_eq!(Prices::default().cost(&call, NOON), None);

    // In batches Claude costs half.
    let mut call = self::call("anthropic", "claude-sonnet-5", tokens(1_000, 100));
    assert_eq!(dollars(&call), 0.003);
    call.extra = vec![tier(attr::SERVICE_TIER, "batch")];
    assert_eq!(dollars(&call), 0.0015);
}

#[test]
fn the_day_and_the_hour_decide() {
    let call = call("deepseek", "deepseek-chat", tokens(1_000_000, 0));
    let prices = Prices::default();
    let at = |unix_nanos| prices.cost(&call, unix_nanos).unwrap().total().as_dollars();
    let hour = 3_600_000_000_000;
    // By day 0.27 USD, from 16:30 UTC to 00:30 half of it.
    assert_eq!(at(NOON), 0.27);
    assert_eq!(at(NOON + 9 * hour / 2 - 1), 0.27);
    assert_eq!(at(NOON + 9 * hour / 2), 0.135);
    assert_eq!(at(NOON + 12 * hour), 0.135);
    assert_eq!(at(NOON + 13 * hour), 0.27);
}

#[test]
fn sound_and_pictures_have_their_own_prices() {
    // gpt-audio: 2.5 and 10 for text, 32 and 64 for audio.
    let mut call = call("openai", "gpt-audio", tokens(1_000, 1_000));
    call.extra
        .push((attr::AUDIO_INPUT_TOKENS.into(), Value::Int(400)));
    call.extra
        .push((attr::AUDIO_OUTPUT_TOKENS.into(), Value::Int(5_000)));
    assert_eq!(
        parts(cost(&call)),
        [Some(0.0143), Some(0.064), None, None, None]
    );
}

#[test]
fn models_go_by_many_names() {
    let at = |provider, model: &str| {
        let call = call(provider, model, tokens(1_000_000, 0));
        let cost = Prices::default().cost(&call, NOON);
        cost.map(|cost| cost.total().as_dollars())
    };
    for (provider, model, expected) in [
        ("openai", "GPT-4o", Some(2.5)),
        ("openai", "gpt-4o-2024-05-13", Some(5.0)),
        // A router's spelling of the date.
        ("openai", "gpt-4o-20241120", Some(2.5)),
        ("azure.ai.openai", "gpt-4o-2024-11-20", Some(2.5)),
        (
            "aws.bedrock",
            "us.anthropic.claude-3-haiku-20240307-v1:0",
            Some(0.25),
        ),
        ("gcp.vertex_ai", "claude-3-haiku@20240307", Some(0.25)),
        ("openrouter", "openai/gpt-4o-mini", Some(0.15)),
        ("openrouter", "qwen/qwen3-coder:free", Some(0.0)),
        ("mistral_ai", "mistral-small-latest", Some(0.15)),
        ("openai", "gpt-4o-nothing-like-it", None),
        ("openai_compatible", "gpt-4o", None),
        ("openai", "whisper-1", None),
    ] {
        assert_eq!(at(provider, model), expected, "{provider} {model}");
    }
}

#[test]
fn what_is_not_known_has_no_cost_and_is_missed() {
    let prices = Prices::default();
    let missed = |call: &Call| {
        let cost = prices.cost(call, NOON);
        assert_eq!(cost, None);
        is_unpriced(call, cost.as_ref())
    };
    assert!(missed(&call("openai", "of-tomorrow", tokens(1, 1))));
    assert!(missed(&call("openai", "gpt-4o", Usage::default())));
    let mut other = call("openai", "of-tomorrow", Usage::default());
    other.error = Some(crate::llm::call::Failure {
        kind: "429".into(),
        message: None,
    });
    assert!(!missed(&other), "nobody pays for a refusal");
    let mut other = call("openai", "gpt-4o", tokens(1, 1));
    other.role = Role::Server;
    assert!(!missed(&other), "whoever serves does not pay");
    let mut other = call("mcp", "x", Usage::default());
    other.dialect = "mcp";
    assert!(!missed(&other), "a tool is no model");
    let known = call("openai", "gpt-4o", tokens(1, 1));
    assert!(!is_unpriced(&known, prices.cost(&known, NOON).as_ref()));
}

#[test]
fn a_deployment_is_priced_by_the_model_behind_it() {
    let mut call = call("azure.ai.openai", "gpt-4o", tokens(1_000_000, 0));
    call.response.model = Some("gpt-4o-mini-2024-07-18".into());
    assert_eq!(dollars(&call), 0.15);
    call.request.model = Some("team-a".into());
    assert_eq!(dollars(&call), 0.15);
}

/// All calls that can be made of these numbers: the parts are never more nor less than
/// the whole, and no count, however wrong, breaks the sum.
#[test]
fn parts_add_up_whatever_is_counted() {
    let counts = [None, Some(0), Some(1), Some(333_333), Some(u64::MAX)];
    for (provider, model) in [("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5.4")] {
        for at in 0..counts.len().pow(4) {
            let count = |place: u32| counts[at / counts.len().pow(place) % counts.len()];
            let usage = Usage {
                input: count(0),
                output: count(1),
                cache_read: count(2),
                cache_write: count(3),
                reasoning: None,
            };
            let call = call(provider, model, usage);
            let Some(cost) = Prices::default().cost(&call, NOON) else {
                assert!(usage.input.is_none() && usage.output.is_none());
                continue;
            };
            let sum = [
                cost.input,
                cost.output,
                cost.cache_read,
                cost.cache_write,
                cost.fees,
            ];
            let sum = sum.into_iter().flatten().map(Usd::as_picos);
            let sum = sum.fold(0, u64::saturating_add);
            assert_eq!(sum, cost.total().as_picos());
            assert_eq!(cost.input.is_some(), usage.input.is_some());
            assert_eq!(cost.cache_read.is_some(), usage.cache_read.is_some());
        }
    }
}

#[test]
fn a_table_of_ones_own_comes_first() {
    let own = |replace: bool| {
        let text = format!(
            r#"{{"replace": {replace}, "providers": [
                {{"names": ["openai"], "models": [
                    {{"match": ["gpt-4o"], "prices": [
                        {{"usd": {{"input": 1, "output": 2, "request": 0.5}}}},
                        {{"above": 10, "usd": {{"input": 3}}}},
                        {{"from": "2030-01-01", "usd": {{"input": 100}}}}]}}]}},
                {{"names": ["*"], "models": [
                    {{"match": ["local-*"], "except": ["*-x"], "prices": [
                        {{"usd": {{"input": 4}}}}]}}]}}]}}"#
        );
        Prices::with(vec![Table::parse(&text).unwrap()])
    };
    let at = |prices: &Prices, provider, model: &str, input| {
        let call = call(
            provider,
            model,
            Usage {
                input: Some(input),
                ..Usage::default()
            },
        );
        let cost = prices.cost(&call, NOON);
        cost.map(|cost| cost.total().as_picos())
    };
    let added = own(false);
    assert_eq!(at(&added, "openai", "gpt-4o", 10), Some(500_010_000_000));
    assert_eq!(at(&added, "openai", "gpt-4o", 11), Some(500_033_000_000));
    assert_eq!(at(&added, "openai", "gpt-4o-mini", 1), Some(150_000));
    assert_eq!(at(&added, "vllm", "local-a", 1), Some(4_000_000));
    assert_eq!(at(&added, "vllm", "local-x", 1), None);
    // Output is no part of what this model is priced for.
    let spoken = call("vllm", "local-a", tokens(1, 1));
    assert_eq!(added.cost(&spoken, NOON), None);
    let alone = own(true);
    assert_eq!(at(&alone, "openai", "gpt-4o", 10), Some(500_010_000_000));
    assert_eq!(at(&alone, "openai", "gpt-4o-mini", 1), None);
}

#[test]
fn litellms_file_is_understood() {
    let text = r#"{
        "sample_spec": {"litellm_provider": "openai", "input_cost_per_token": 1.0},
        "gpt-x": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.5e-07,
            "output_cost_per_token": 6e-07, "cache_read_input_token_cost": 7.5e-08,
            "input_cost_per_token_flex": 1e-07, "input_cost_per_token_above_200k_tokens": 3e-07,
            "input_cost_per_token_above_200k_tokens_flex": 2e-07, "supports_vision": true},
        "gemini/gem-x": {"litellm_provider": "gemini", "input_cost_per_token": 2e-06,
            "cache_creation_input_token_cost": 3e-06,
            "cache_creation_input_token_cost_above_1hr": 4e-06},
        "bedrock/us-east-1/cl-x": {"litellm_provider": "bedrock", "input_cost_per_token": 9e-06},
        "cl-x": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 8e-06},
        "dall-x": {"litellm_provider": "openai", "input_cost_per_image": 0.1},
        "odd": 7
    }"#;
    let prices = Prices::with(vec![Table::parse(text).unwrap()]);
    let mut call = call("openai", "gpt-x", tokens(1_000, 100));
    call.usage.cache_read = Some(400);
    let picos = |call: &Call| Some(prices.cost(call, NOON)?.total().as_picos());
    assert_eq!(
        picos(&call),
        Some(600 * 150_000 + 400 * 75_000 + 100 * 600_000)
    );
    call.extra = vec![(attr::SERVICE_TIER.into(), Value::String("flex".into()))];
    call.usage = tokens(1_000, 0);
    assert_eq!(picos(&call), Some(1_000 * 100_000));
    call.usage = tokens(200_001, 0);
    assert_eq!(picos(&call), Some(200_001 * 200_000));
    call.extra.clear();
    assert_eq!(picos(&call), Some(200_001 * 300_000));

    let at = |provider, model: &str| picos(&self::call(provider, model, tokens(1, 0)));
    assert_eq!(at("gcp.gemini", "gem-x"), Some(2_000_000));
    assert_eq!(at("aws.bedrock", "cl-x"), Some(8_000_000));
    // A gateway that takes LiteLLM's own names.
    assert_eq!(at("openai_compatible", "gemini/gem-x"), Some(2_000_000));
    assert_eq!(at("openai", "dall-x"), None);
    assert_eq!(at("openai", "sample_spec"), None);
    let mut call = self::call("gcp.gemini", "gem-x", tokens(10, 0));
    call.usage.cache_write = Some(10);
    call.extra = vec![(attr::CACHE_WRITE_1H.into(), Value::Int(4))];
    assert_eq!(picos(&call), Some(6 * 3_000_000 + 4 * 4_000_000));
}

#[test]
fn what_is_no_table_is_refused() {
    for (text, why) in [
        ("", "not a table"),
        ("[1]", "not a table"),
        ("{}", "no price"),
        (r#"{"a": {"litellm_provider": "x"}}"#, "no price"),
        (r#"{"providers": []}"#, "no price"),
        (r#"{"providers": [{"names": ["a"]}]}"#, "models"),
        (
            r#"{"providers": [{"names": ["a"], "models": [{"match": ["m"], "prices": [{"usd": {"inptu": 1}}]}]}]}"#,
            "inptu",
        ),
        (
            r#"{"providers": [{"names": ["a"], "models": [{"match": ["m"], "prices": [{"usd": {"input": -1}}]}]}]}"#,
            "no price can be so",
        ),
        (
            r#"{"providers": [{"names": ["a"], "models": [{"match": ["m"], "prices": [{"hours": "9-17", "usd": {}}]}]}]}"#,
            "16:30",
        ),
        (
            r#"{"providers": [{"names": ["a"], "models": [{"match": ["m"], "prices": [{"from": "May", "usd": {}}]}]}]}"#,
            "2026-01-31",
        ),
    ] {
        let error = Table::parse(text).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let error = format!("{error}: {}", source.unwrap_or_default());
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn amounts_are_exact() {
    assert_eq!(
        Usd::from_dollars(0.1).map(Usd::as_picos),
        Some(100_000_000_000)
    );
    assert_eq!(Usd::from_dollars(-0.1), None);
    assert_eq!(Usd::from_dollars(f64::NAN), None);
    assert_eq!(Usd::from_dollars(1e9), None);
    let third = Usd::from_dollars(0.1).unwrap().times(3);
    assert_eq!(third.as_dollars(), 0.3);
    assert_eq!(Usd::from_picos(u64::MAX).plus(third).as_picos(), u64::MAX);
}
