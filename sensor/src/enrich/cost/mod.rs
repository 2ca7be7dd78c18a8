//! What a call costs.
//!
//! In: a finished [`Call`] and its time. Out: a [`Cost`] in its parts, or none where
//! the model, its price or the count of tokens is unknown. Must not know: files.
//!
//! Prices come from the embedded table (`prices.json`, which names its source and
//! date) and from files of the user's; see [`table`] for the format. Counted are
//! tokens, fees for each request and web searches; not what a provider stores or runs
//! for a caller (files, containers), nor discounts by contract.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        reason = "a test may fail loudly"
    )
)]

use std::sync::OnceLock;

use crate::event::Role;
use crate::llm::Call;
use crate::llm::attr;
use crate::llm::call::{Usage, Value};

#[doc(hidden)]
pub mod fuzz;
mod litellm;
mod pattern;
pub mod table;
#[cfg(test)]
mod tests;
mod usd;

use table::{Circumstances, Model, Rate};
pub use table::{Table, TableError};
pub use usd::Usd;

/// What a call costs, in parts that add up to all of it. A part is absent where what
/// it pays for was not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Input that no cache served or stored.
    pub input: Option<Usd>,
    pub output: Option<Usd>,
    pub cache_read: Option<Usd>,
    pub cache_write: Option<Usd>,
    /// For the request itself and for web searches.
    pub fees: Option<Usd>,
}

impl Cost {
    pub fn total(&self) -> Usd {
        [
            self.input,
            self.output,
            self.cache_read,
            self.cache_write,
            self.fees,
        ]
        .into_iter()
        .flatten()
        .fold(Usd::default(), Usd::plus)
    }
}

/// Prices of models: the embedded ones, under those of the user.
#[derive(Debug, Default)]
pub struct Prices {
    /// Asked in this order.
    own: Vec<Table>,
}

/// The embedded table is parsed when the first call asks for it.
fn embedded() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let parsed = Table::parse(include_str!("prices.json"));
        debug_assert!(parsed.is_ok(), "invariant: checked by a test: {parsed:?}");
        parsed.unwrap_or_default()
    })
}

impl Prices {
    /// With `tables` before the embedded one; of two that know a model the first wins.
    pub fn with(tables: Vec<Table>) -> Self {
        Self { own: tables }
    }

    /// The cost of `call`, which began at `unix_nanos`, to the process that made it.
    pub fn cost(&self, call: &Call, unix_nanos: u64) -> Option<Cost> {
        if call.role != Role::Client || !is_counted(call.usage) {
            return None;
        }
        let tier = tier(call);
        if tier.as_deref() == Some("provisioned_throughput") {
            return None;
        }
        let circumstances = Circumstances {
            unix_seconds: unix_nanos / 1_000_000_000,
            tier: tier.as_deref(),
            input_tokens: call.usage.input.unwrap_or_default(),
        };
        let quantities = Quantities::of(call);
        let model = self.model(call)?;
        quantities.cost(|rate| model.price(rate, &circumstances))
    }

    fn model(&self, call: &Call) -> Option<&Model> {
        let replaced = self.own.iter().any(Table::replaces);
        let embedded = (!replaced).then(embedded);
        let mut tables = self.own.iter().chain(embedded);
        tables.find_map(|table| {
            // The name in the response is the exact one: requests use aliases and, at
            // Azure, names of deployments.
            [&call.response.model, &call.request.model]
                .into_iter()
                .flatten()
                .find_map(|model| table.model(&call.provider, model))
        })
    }
}

/// Whether `call` should have a cost and has none: a sum of costs lacks it.
pub fn is_unpriced(call: &Call, cost: Option<&Cost>) -> bool {
    let is_inference = call.dialect != "mcp";
    let is_billed = call.error.is_none() || is_counted(call.usage);
    call.role == Role::Client && is_inference && is_billed && cost.is_none()
}

fn is_counted(usage: Usage) -> bool {
    usage.input.is_some() || usage.output.is_some()
}

/// The class of service that the call was given, or else asked for, in lower case.
fn tier(call: &Call) -> Option<String> {
    let told = |name: &str| match extra(call, name)? {
        Value::String(text) => Some(text.to_ascii_lowercase()),
        _ => None,
    };
    let told = told(attr::SPEED)
        .filter(|speed| speed != "standard")
        .or_else(|| told(attr::RESPONSE_SERVICE_TIER))
        .or_else(|| told(attr::SERVICE_TIER))
        .or_else(|| told(attr::REQUEST_SERVICE_TIER))
        .or_else(|| told(attr::REQUEST_TIER))?;
    // Vertex AI: `ON_DEMAND_FLEX`.
    let tier = told.strip_prefix("on_demand_").unwrap_or(&told);
    Some(tier.to_owned())
}

fn extra<'a>(call: &'a Call, name: &str) -> Option<&'a Value> {
    let (_, value) = call.extra.iter().find(|(known, _)| known == name)?;
    Some(value)
}

/// What is paid for.
#[derive(Debug)]
struct Quantities {
    usage: Usage,
    /// Of what was stored in the cache: for an hour.
    cache_write_1h: u64,
    /// Of input and of output: tokens that are no text.
    input_media: [(Rate, u64); 3],
    output_media: [(Rate, u64); 3],
    web_searches: u64,
}

impl Quantities {
    fn of(call: &Call) -> Self {
        let count = |name| match extra(call, name) {
            Some(Value::Int(count)) => u64::try_from(*count).unwrap_or_default(),
            _ => 0,
        };
        Self {
            usage: call.usage,
            cache_write_1h: count(attr::CACHE_WRITE_1H),
            input_media: [
                (Rate::InputAudio, count(attr::AUDIO_INPUT_TOKENS)),
                (Rate::InputImage, count(attr::IMAGE_INPUT_TOKENS)),
                (Rate::InputVideo, count(attr::VIDEO_INPUT_TOKENS)),
            ],
            output_media: [
                (Rate::OutputAudio, count(attr::AUDIO_OUTPUT_TOKENS)),
                (Rate::OutputImage, count(attr::IMAGE_OUTPUT_TOKENS)),
                (Rate::OutputVideo, count(attr::VIDEO_OUTPUT_TOKENS)),
            ],
            web_searches: count(attr::WEB_SEARCHES),
        }
    }

    /// What all of it costs; none where something has no price. Parts of a whole that
    /// claim more than the whole are cut to it.
    fn cost(&self, price: impl Fn(Rate) -> Option<Usd>) -> Option<Cost> {
        let usage = &self.usage;
        let input = usage.input.unwrap_or_default();
        let read = usage.cache_read.unwrap_or_default().min(input);
        let uncached = input.saturating_sub(read);
        let written = usage.cache_write.unwrap_or_default().min(uncached);
        let plain = uncached.saturating_sub(written);

        // What a table gives no price of its own costs what other input does.
        let input_price = price(Rate::Input);
        let written_price = price(Rate::CacheWrite).or(input_price);
        let hour_price = price(Rate::CacheWrite1h).or(written_price);
        let cost = Cost {
            input: known(usage.input, || {
                sum(plain, input_price, self.input_media, &price)
            })?,
            output: known(usage.output, || {
                let output = usage.output.unwrap_or_default();
                sum(output, price(Rate::Output), self.output_media, &price)
            })?,
            cache_read: known(usage.cache_read, || {
                times(read, price(Rate::CacheRead).or(input_price))
            })?,
            cache_write: known(usage.cache_write, || {
                let hour = self.cache_write_1h.min(written);
                let short = times(written.saturating_sub(hour), written_price)?;
                Some(short.plus(times(hour, hour_price)?))
            })?,
            fees: self.fees(&price),
        };
        Some(cost)
    }

    fn fees(&self, price: impl Fn(Rate) -> Option<Usd>) -> Option<Usd> {
        let request = price(Rate::Request);
        let searches = price(Rate::WebSearch).map(|price| price.times(self.web_searches));
        let fees = request
            .unwrap_or_default()
            .plus(searches.unwrap_or_default());
        (fees > Usd::default()).then_some(fees)
    }
}

/// A part that is there where `count` is; the outer `None`: it has no price.
fn known(count: Option<u64>, part: impl FnOnce() -> Option<Usd>) -> Option<Option<Usd>> {
    match count {
        Some(_) => part().map(Some),
        None => Some(None),
    }
}

/// `count` tokens, those of each medium at its own price, the rest at `price`.
fn sum(
    count: u64,
    text_price: Option<Usd>,
    media: [(Rate, u64); 3],
    price: impl Fn(Rate) -> Option<Usd>,
) -> Option<Usd> {
    let mut left = count;
    let mut sum = Usd::default();
    for (rate, of_medium) in media {
        let of_medium = of_medium.min(left);
        left = left.saturating_sub(of_medium);
        sum = sum.plus(times(of_medium, price(rate).or(text_price))?);
    }
    Some(sum.plus(times(left, text_price)?))
}

/// None of something is free, whatever its price.
fn times(count: u64, price: Option<Usd>) -> Option<Usd> {
    match count {
        0 => Some(Usd::default()),
        _ => price.map(|price| price.times(count)),
    }
}
