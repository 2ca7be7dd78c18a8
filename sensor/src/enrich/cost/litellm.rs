//! LiteLLM's `model_prices_and_context_window.json`.
//!
//! In: its text, one object with an entry a model. Out: a [`Table`]. Entries without a
//! price for tokens, and costs that no rate of ours stands for, are passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Usd;
use super::table::{Model, Rate, Row, Table, TableError};

#[derive(Deserialize)]
struct Entry {
    litellm_provider: String,
    #[serde(flatten)]
    fields: BTreeMap<String, Value>,
}

pub(super) fn parse(json: &str) -> Result<Table, TableError> {
    let entries: BTreeMap<String, Value> = serde_json::from_str(json)?;
    let mut by_provider: BTreeMap<String, Vec<Model>> = BTreeMap::new();
    let mut anywhere = Vec::new();
    for (key, value) in entries {
        // `sample_spec` explains the format.
        let Some(entry) = Entry::deserialize(value)
            .ok()
            .filter(|_| key != "sample_spec")
        else {
            continue;
        };
        let litellm = entry.litellm_provider.as_str();
        if let Some(model) = entry.model(route(&key, litellm)) {
            let models = by_provider.entry(provider(litellm).to_owned());
            models.or_default().push(model);
            anywhere.extend(entry.model(&key));
        }
    }
    let mut table = Table::default();
    for (name, models) in by_provider {
        table.add(names(&name), Vec::new(), models);
    }
    // A gateway of one's own takes the names that LiteLLM routes by.
    table.add(vec!["*".into()], Vec::new(), anywhere);
    table.unless_empty()
}

/// Our name, and those of the same provider's other faces.
fn names(name: &str) -> Vec<Box<str>> {
    match name {
        "azure.ai.openai" => vec![name.into(), "azure.ai.inference".into()],
        "gcp.vertex_ai" => vec![name.into(), "gcp.gen_ai".into()],
        _ => vec![name.into()],
    }
}

/// `gen_ai.provider.name` for what LiteLLM calls a provider; mostly the same.
fn provider(litellm: &str) -> &str {
    match litellm {
        "text-completion-openai" => "openai",
        "azure" | "azure_text" | "azure_ai" => "azure.ai.openai",
        "bedrock" | "bedrock_converse" | "bedrock_mantle" => "aws.bedrock",
        "sagemaker" => "aws.sagemaker",
        "gemini" => "gcp.gemini",
        "mistral" | "codestral" | "text-completion-codestral" => "mistral_ai",
        "xai" => "x_ai",
        "cohere_chat" => "cohere",
        "together_ai" => "together",
        "moonshot" => "moonshot_ai",
        "watsonx" => "ibm.watsonx.ai",
        "voyage" => "voyageai",
        "jina_ai" => "jina",
        "nvidia_nim" => "nvidia",
        "lambda_ai" => "lambda",
        "dashscope" => "alibaba",
        "vercel_ai_gateway" => "vercel",
        _ if litellm.starts_with("vertex_ai") => "gcp.vertex_ai",
        _ if litellm.starts_with("fireworks_ai") => "fireworks",
        _ => litellm,
    }
}

/// The name of the model itself: `gemini-2.5-pro` of `gemini/gemini-2.5-pro`.
fn route<'a>(key: &'a str, provider: &str) -> &'a str {
    match key.split_once('/') {
        Some((first, rest)) if provider.starts_with(first) => rest,
        _ => key,
    }
}

impl Entry {
    fn model(&self, name: &str) -> Option<Model> {
        // Lines of fewer conditions come first, so that those of more replace them.
        let mut rows: BTreeMap<(bool, Option<u64>, Option<&str>), Row> = BTreeMap::new();
        for (field, value) in &self.fields {
            let cost = value.as_f64().and_then(Usd::from_dollars);
            if let (Some(cost), Some(at)) = (cost, Place::of(field)) {
                let key = (at.tier.is_some(), at.above, at.tier);
                let row = rows.entry(key).or_default();
                row.tier = at.tier.map(Box::from);
                row.above = at.above;
                row.usd.0.insert(at.rate, Some(cost));
            }
        }
        let plain = rows.get(&(false, None, None))?;
        plain.usd.0.contains_key(&Rate::Input).then(|| Model {
            names: vec![name.into()],
            except: Vec::new(),
            prices: rows.into_values().collect(),
        })
    }
}

/// Where a cost belongs.
struct Place<'a> {
    rate: Rate,
    above: Option<u64>,
    tier: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// Takes apart names as `input_cost_per_token_above_200k_tokens_priority`.
    fn of(field: &'a str) -> Option<Self> {
        const RATES: [(&str, Rate); 10] = [
            (
                "cache_creation_input_token_cost_above_1hr",
                Rate::CacheWrite1h,
            ),
            ("cache_creation_input_token_cost", Rate::CacheWrite),
            ("cache_read_input_token_cost", Rate::CacheRead),
            ("input_cost_per_token", Rate::Input),
            ("output_cost_per_token", Rate::Output),
            ("input_cost_per_audio_token", Rate::InputAudio),
            ("output_cost_per_audio_token", Rate::OutputAudio),
            ("input_cost_per_image_token", Rate::InputImage),
            ("output_cost_per_image_token", Rate::OutputImage),
            ("input_cost_per_request", Rate::Request),
        ];
        let (rate, mut rest) = RATES.iter().find_map(|(name, rate)| {
            let rest = field.strip_prefix(name)?;
            Some((*rate, rest))
        })?;
        let mut tier = None;
        for (suffix, name) in [
            ("_batches", "batch"),
            ("_flex", "flex"),
            ("_priority", "priority"),
        ] {
            if let Some(without) = rest.strip_suffix(suffix) {
                (rest, tier) = (without, Some(name));
            }
        }
        let above = match rest {
            "" => None,
            _ => {
                let rest = rest.strip_prefix("_above_")?;
                let thousands: u64 = rest.strip_suffix("k_tokens")?.parse().ok()?;
                Some(thousands.checked_mul(1000)?)
            }
        };
        Some(Self { rate, above, tier })
    }
}
