//! From the package's providers to ours.
//!
//! In: its literals as JSON. Out: what `prices.json` holds, and what it does not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Map, Value};

use super::wildcards::Names;

/// `gen_ai.provider.name`s of the package's providers. Whom it does not list we could
/// not name, and so not look up.
const NAMES: &[(&str, &[&str])] = &[
    ("anthropic", &["anthropic"]),
    ("aws", &["aws.bedrock"]),
    ("azure", &["azure.ai.openai", "azure.ai.inference"]),
    ("baseten", &["baseten"]),
    ("cerebras", &["cerebras"]),
    ("cohere", &["cohere"]),
    ("databricks", &["databricks"]),
    ("deepseek", &["deepseek"]),
    ("doubleword", &["doubleword"]),
    ("fireworks", &["fireworks"]),
    ("github-copilot", &["github_copilot"]),
    ("google", &["gcp.gemini", "gcp.vertex_ai", "gcp.gen_ai"]),
    ("groq", &["groq"]),
    ("minimax", &["minimax"]),
    ("mistral", &["mistral_ai"]),
    ("moonshotai", &["moonshot_ai"]),
    ("novita", &["novita"]),
    ("openai", &["openai"]),
    ("openrouter", &["openrouter"]),
    ("ovhcloud", &["ovhcloud"]),
    ("perplexity", &["perplexity"]),
    ("together", &["together"]),
    ("voyageai", &["voyageai"]),
    ("x-ai", &["x_ai"]),
    ("zai", &["zai"]),
];

/// Our rates, and by what to divide the package's prices to get ours.
const RATES: &[(&str, &str, f64)] = &[
    ("input_mtok", "input", 1.0),
    ("output_mtok", "output", 1.0),
    ("cache_read_mtok", "cache_read", 1.0),
    ("cache_write_mtok", "cache_write", 1.0),
    ("cache_write_5m_mtok", "cache_write", 1.0),
    ("cache_write_1h_mtok", "cache_write_1h", 1.0),
    ("input_audio_mtok", "input_audio", 1.0),
    ("input_image_mtok", "input_image", 1.0),
    ("input_video_mtok", "input_video", 1.0),
    ("output_audio_mtok", "output_audio", 1.0),
    ("output_image_mtok", "output_image", 1.0),
    ("output_video_mtok", "output_video", 1.0),
    ("requests_kcount", "request", 1000.0),
    ("web_searches_kcount", "web_search", 1000.0),
];

/// Prices of what calls do not count, without which the rest still holds: what a cache
/// served counts as text there, whatever it was.
const PASSED_OVER: &[&str] = &[
    "cache_audio_read_mtok",
    "cache_image_read_mtok",
    "storage_searches_kcount",
];

#[derive(Serialize)]
pub struct Provider {
    pub names: &'static [&'static str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
    pub models: Vec<Model>,
}

#[derive(Serialize)]
pub struct Model {
    #[serde(rename = "match")]
    names: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    except: BTreeSet<String>,
    prices: Vec<Row>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hours: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<u64>,
    usd: BTreeMap<&'static str, Option<f64>>,
}

/// The table, and the names of what is not in it by the reason.
pub type Converted = (Vec<Provider>, BTreeMap<&'static str, Vec<String>>);

pub fn convert(providers: &[Value]) -> Result<Converted> {
    let mut left_out: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let mut table = Vec::new();
    for provider in providers {
        let id = string(provider, "id")?;
        let Some((_, names)) = NAMES.iter().find(|(name, _)| *name == id) else {
            let unnamed = left_out.entry("providers that we have no name for");
            unnamed.or_default().push(id.to_owned());
            continue;
        };
        let mut models = Vec::new();
        for model in list(provider, "models") {
            let name = || format!("{id}'s {}", model["id"]);
            let model = self::model(model).with_context(name)?;
            if model.prices.is_empty() {
                let uncounted = left_out.entry("models priced by what calls do not count");
                uncounted.or_default().push(name());
            }
            models.push(model);
        }
        table.push(Provider {
            names,
            fallback: fallback(provider),
            models,
        });
    }
    Ok((table, left_out))
}

/// Our names for the providers whose models this one has, too.
fn fallback(provider: &Value) -> Vec<String> {
    let ours = |id: &Value| {
        let (_, names) = NAMES.iter().find(|(name, _)| id == name)?;
        names.first().map(|name| (*name).to_owned())
    };
    let ids = list(provider, "fallback_model_providers");
    ids.iter().filter_map(ours).collect()
}

/// A model that is priced by what we do not count is there without a price, lest another
/// one be taken for it.
fn model(model: &Value) -> Result<Model> {
    let mut names = Names::default();
    names.add(&model["match"])?;
    let mut prices = history(model)?.unwrap_or_default();
    if !prices
        .first()
        .is_some_and(|row| row.usd.contains_key("input"))
    {
        prices.clear();
        if names.any.iter().all(|name| name.ends_with(":free")) {
            let usd = ["input", "output"].map(|rate| (rate, Some(0.0))).into();
            let free = Row {
                usd,
                ..Row::default()
            };
            prices.push(free);
        }
    }
    Ok(Model {
        names: names.any,
        except: names.except,
        prices,
    })
}

/// `None`: priced by what we do not count.
fn history(model: &Value) -> Result<Option<Vec<Row>>> {
    let mut rows = Vec::new();
    let entries = match &model["prices"] {
        Value::Array(entries) => entries.iter().collect(),
        one => vec![one],
    };
    for (at, entry) in entries.into_iter().enumerate() {
        let (prices, condition) = match entry[""].as_str() {
            // Where nothing else holds the first does, whatever its own condition.
            Some("ConditionalPrice") if at == 0 => (&entry["prices"], Row::default()),
            Some("ConditionalPrice") => (&entry["prices"], condition(entry)?),
            _ => (entry, Row::default()),
        };
        let Some(mut new) = rates(prices, &condition)? else {
            return Ok(None);
        };
        take_away(&rows, &mut new);
        rows.extend(new);
    }
    // Of variants for the same tier the first that holds is taken, of our lines the last.
    for variant in list(model, "price_variants").iter().rev() {
        let Some(tier) = tier(&variant["when"]) else {
            continue;
        };
        let condition = Row {
            tier: Some(tier),
            ..condition(variant)?
        };
        let Some(new) = rates(&variant["prices"], &condition)? else {
            return Ok(None);
        };
        rows.extend(new);
    }
    rows.retain(|row| !row.usd.is_empty());
    Ok(Some(rows))
}

/// The tier of ours that a variant is for; other variants depend on what is not seen.
fn tier(when: &Value) -> Option<String> {
    let when = when.as_object()?;
    let (key, value) = when.iter().next().filter(|_| when.len() == 1)?;
    let known = ["processing", "service_tier", "speed"].contains(&key.as_str());
    value.as_str().filter(|_| known).map(str::to_owned)
}

/// New prices leave nothing of the old ones standing.
fn take_away(old: &[Row], new: &mut [Row]) {
    let Some(first) = new.first_mut() else {
        return;
    };
    for rate in old.iter().flat_map(|row| row.usd.keys()) {
        first.usd.entry(rate).or_insert(None);
    }
}

/// An empty line with the condition of a price.
fn condition(entry: &Value) -> Result<Row> {
    let constraint = &entry["constraint"];
    let numbers = |value: &Value| -> Vec<u64> {
        list(value, "args")
            .iter()
            .filter_map(Value::as_u64)
            .collect()
    };
    let time = |value: &Value| match (numbers(value).as_slice(), value["tzinfo"].as_str()) {
        ([hour, minute], Some("datetime.UTC")) => Ok(format!("{hour:02}:{minute:02}")),
        _ => bail!("no time in UTC: {value}"),
    };
    let mut row = Row::default();
    match constraint[""].as_str() {
        None => {}
        Some("StartDateConstraint") => match numbers(&constraint["start_date"]).as_slice() {
            [year, month, day] => row.from = Some(format!("{year}-{month:02}-{day:02}")),
            _ => bail!("no date: {constraint}"),
        },
        Some("TimeOfDateConstraint") => {
            let (from, to) = (&constraint["start_time"], &constraint["end_time"]);
            row.hours = Some(format!("{}-{}", time(from)?, time(to)?));
        }
        Some(other) => bail!("unknown constraint {other}"),
    }
    Ok(row)
}

/// A line for any size of input, and one for each size from which other prices hold.
fn rates(prices: &Value, condition: &Row) -> Result<Option<Vec<Row>>> {
    let mut by_size: BTreeMap<Option<u64>, Row> = BTreeMap::new();
    by_size.insert(None, condition.clone());
    for (key, value) in prices.as_object().into_iter().flatten() {
        if key.is_empty() || value.is_null() || PASSED_OVER.contains(&key.as_str()) {
            continue;
        }
        let Some((_, rate, divisor)) = RATES.iter().find(|(name, ..)| name == key) else {
            return Ok(None);
        };
        let mut set = |above, value: &Value| {
            let row = by_size.entry(above).or_insert_with(|| Row {
                above,
                ..condition.clone()
            });
            row.usd.insert(rate, Some(decimal(value)? / divisor));
            anyhow::Ok(())
        };
        if value[""] != "TieredPrices" {
            set(None, value)?;
            continue;
        }
        set(None, &value["base"])?;
        for tier in list(value, "tiers") {
            let above = tier["start"].as_u64().context("a tier without its start")?;
            set(Some(above), &tier["price"])?;
        }
    }
    Ok(Some(by_size.into_values().collect()))
}

/// `Decimal('0.05')`, to the six decimals that the sensor counts with.
fn decimal(value: &Value) -> Result<f64> {
    let text = list(value, "args").first().and_then(Value::as_str);
    let number: f64 = text.context("no decimal")?.parse()?;
    Ok((number * 1e6).round() / 1e6)
}

pub fn string<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    let field = value
        .as_object()
        .and_then(|object: &Map<_, _>| object.get(key));
    field
        .and_then(Value::as_str)
        .with_context(|| format!("no {key:?}"))
}

/// Empty where there is none.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usd(text: &str) -> Value {
        json!({"": "Decimal", "args": [text]})
    }

    #[test]
    fn sizes_history_and_tiers_become_lines() {
        let model = model(&json!({
            "match": {"": "ClauseEquals", "equals": "m"},
            "prices": [
                {"": "ConditionalPrice", "prices": {
                    "": "ModelPrice", "cache_read_mtok": usd("1"),
                    "input_mtok": {"": "TieredPrices", "base": usd("2"), "tiers": [
                        {"": "Tier", "start": 200_000, "price": usd("4")}]}}},
                {"": "ConditionalPrice",
                 "constraint": {"": "StartDateConstraint",
                     "start_date": {"": "date", "args": [2026, 3, 1]}},
                 "prices": {"": "ModelPrice", "input_mtok": usd("0.049999999999999996")}}],
            "price_variants": [
                {"": "PriceVariant", "when": {"processing": "batch"},
                 "prices": {"": "ModelPrice", "input_mtok": usd("1")}},
                {"": "PriceVariant", "when": {"search_type": "fast"},
                 "prices": {"": "ModelPrice", "input_mtok": usd("9")}}],
        }));
        let rows = serde_json::to_value(&model.unwrap().prices).unwrap();
        let expected = json!([
            {"usd": {"input": 2.0, "cache_read": 1.0}},
            {"above": 200_000, "usd": {"input": 4.0}},
            {"from": "2026-03-01", "usd": {"input": 0.05, "cache_read": null}},
            {"tier": "batch", "usd": {"input": 1.0}},
        ]);
        assert_eq!(rows, expected);
    }

    #[test]
    fn what_cannot_be_counted_has_no_price() {
        let priced_by = |name: &str, prices: Value| {
            let name = json!({"": "ClauseEquals", "equals": name});
            let model = model(&json!({"match": name, "prices": prices})).unwrap();
            model.prices.first().and_then(|row| row.usd["input"])
        };
        let one = usd("1");
        let hours = json!({"": "ModelPrice", "audio_hours": one});
        assert_eq!(priced_by("m", hours), None);
        let tokens = json!({"": "ModelPrice", "input_mtok": one});
        assert_eq!(priced_by("m", tokens), Some(1.0));
        let thoughts = json!({"": "ModelPrice", "input_mtok": one, "output_reasoning_mtok": one});
        assert_eq!(priced_by("m", thoughts), None);
        assert_eq!(priced_by("m", json!({"": "ModelPrice"})), None);
        assert_eq!(priced_by("m:free", json!({"": "ModelPrice"})), Some(0.0));
    }
}
