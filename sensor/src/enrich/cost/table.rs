//! Tables of prices.
//!
//! In: JSON text, ours or LiteLLM's `model_prices_and_context_window.json`. Out: a
//! [`Table`] that finds a model by provider and name. Ours:
//!
//! ```json
//! {"source": "…", "retrieved": "2026-01-31", "replace": false, "providers": [
//!   {"names": ["openai"], "fallback": ["anthropic"], "models": [
//!     {"match": ["gpt-5", "gpt-5-####-##-##", "my-gpt-*"], "except": ["*-tts"], "prices": [
//!       {"usd": {"input": 1.25, "output": 10, "cache_read": 0.125}},
//!       {"above": 272000, "usd": {"input": 2.5}},
//!       {"tier": "flex", "from": "2026-02-01", "usd": {"input": 0.625, "output": 5}}]}]}]}
//! ```
//!
//! A name of a provider is a `gen_ai.provider.name`, or `*` for those without an entry.
//! The first model that fits is taken; one that is not found there is sought among the
//! models of the providers in `fallback`. Each line of `prices` whose conditions hold
//! replaces what the lines before it said of the same rate, and `null` takes it away.
//! The conditions: `from` (a day, UTC), `hours` (`"16:30-00:30"`, UTC), `tier` (class
//! of service, `batch` among them), `above` (tokens of input, then for all tokens).
//! Rates are dollars for a million tokens; `request` and `web_search` are for one.
//! `replace` leaves out the embedded table.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::pattern::{is_pattern, matches};
use super::{Usd, litellm};

/// What a file of prices cannot be read for.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("not a table of prices")]
    Json(#[from] serde_json::Error),
    #[error("holds no price")]
    Empty,
}

/// What has a price of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rate {
    Input,
    Output,
    CacheRead,
    CacheWrite,
    #[serde(rename = "cache_write_1h")]
    CacheWrite1h,
    InputAudio,
    InputImage,
    InputVideo,
    OutputAudio,
    OutputImage,
    OutputVideo,
    Request,
    WebSearch,
}

/// What a price may depend on beside the model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'a> {
    pub(super) unix_seconds: u64,
    pub(super) tier: Option<&'a str>,
    pub(super) input_tokens: u64,
}

/// Models by provider.
#[derive(Debug, Default)]
pub struct Table {
    replace: bool,
    by_name: HashMap<Box<str>, usize>,
    providers: Vec<Provider>,
}

#[derive(Debug, Default)]
struct Provider {
    fallback: Vec<Box<str>>,
    models: Vec<Model>,
    /// The first model that has this very name.
    exact: HashMap<Box<str>, usize>,
    /// In the order of their models.
    patterns: Vec<(Box<str>, usize)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    #[serde(rename = "match")]
    pub(super) names: Vec<Box<str>>,
    #[serde(default)]
    pub(super) except: Vec<Box<str>>,
    pub(super) prices: Vec<Row>,
}

/// Prices under conditions that must all hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    #[serde(default)]
    from: Option<Day>,
    #[serde(default)]
    hours: Option<Hours>,
    #[serde(default)]
    pub(super) tier: Option<Box<str>>,
    #[serde(default)]
    pub(super) above: Option<u64>,
    pub(super) usd: Rates,
}

/// `None`: no longer priced.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "BTreeMap<Rate, Option<f64>>")]
pub(super) struct Rates(pub(super) BTreeMap<Rate, Option<Usd>>);

/// The Unix time in seconds that a day begins at (UTC).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Box<str>")]
struct Day(u64);

/// From the one minute of a day (UTC) to before the other; over midnight where the
/// second is earlier.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Box<str>")]
struct Hours(u64, u64);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    replace: bool,
    providers: Vec<FileProvider>,
    #[serde(default, rename = "source")]
    _source: Option<String>,
    #[serde(default, rename = "retrieved")]
    _retrieved: Option<String>,
    #[serde(default, rename = "licence")]
    _licence: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileProvider {
    names: Vec<Box<str>>,
    #[serde(default)]
    fallback: Vec<Box<str>>,
    models: Vec<Model>,
}

impl Table {
    /// Reads a table in our format or in LiteLLM's.
    pub fn parse(json: &str) -> Result<Self, TableError> {
        /// Ours has `providers`; LiteLLM's has a model for each name.
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow, default)]
            providers: Option<&'a RawValue>,
        }
        let kind: Kind<'_> = serde_json::from_str(json)?;
        match kind.providers {
            Some(_) => Self::of(serde_json::from_str(json)?),
            None => litellm::parse(json),
        }
    }

    fn of(file: File) -> Result<Self, TableError> {
        let mut table = Self {
            replace: file.replace,
            ..Self::default()
        };
        for provider in file.providers {
            table.add(provider.names, provider.fallback, provider.models);
        }
        table.unless_empty()
    }

    pub(super) fn add(
        &mut self,
        names: Vec<Box<str>>,
        fallback: Vec<Box<str>>,
        models: Vec<Model>,
    ) {
        let place = self.providers.len();
        for name in names {
            self.by_name.entry(name).or_insert(place);
        }
        self.providers.push(Provider::new(fallback, models));
    }

    pub(super) fn unless_empty(self) -> Result<Self, TableError> {
        let is_empty = self.providers.iter().all(|p| p.models.is_empty());
        if is_empty {
            Err(TableError::Empty)
        } else {
            Ok(self)
        }
    }

    /// Whether the embedded table is not to be asked.
    pub(super) fn replaces(&self) -> bool {
        self.replace
    }

    /// The model called `name` of a provider.
    pub(super) fn model(&self, provider: &str, name: &str) -> Option<&Model> {
        let provider = self.provider(provider).or_else(|| self.provider("*"))?;
        let name = name.to_lowercase();
        let find = |name: &str| {
            let others = provider.fallback.iter();
            let others = others.filter_map(|other| self.provider(other)?.find(name));
            provider.find(name).or_else(|| others.into_iter().next())
        };
        find(&name).or_else(|| find(&with_dashed_date(&name)?))
    }

    fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.get(*self.by_name.get(name)?)
    }
}

impl Provider {
    fn new(fallback: Vec<Box<str>>, models: Vec<Model>) -> Self {
        let (mut exact, mut patterns) = (HashMap::new(), Vec::new());
        for (place, model) in models.iter().enumerate() {
            for name in &model.names {
                let name = name.to_lowercase().into_boxed_str();
                if is_pattern(&name) {
                    patterns.push((name, place));
                } else {
                    exact.entry(name).or_insert(place);
                }
            }
        }
        Self {
            fallback,
            models,
            exact,
            patterns,
        }
    }

    /// The first model that fits, though looked for by name and not one by one.
    fn find(&self, name: &str) -> Option<&Model> {
        let exact = self.exact.get(name).copied();
        let by_pattern = self
            .patterns
            .iter()
            .take_while(|(_, place)| exact.is_none_or(|exact| *place < exact))
            .find(|(pattern, place)| {
                let excepted = |model: &Model| model.except.iter().any(|e| matches(e, name));
                matches(pattern, name) && !self.models.get(*place).is_some_and(excepted)
            });
        self.models
            .get(by_pattern.map(|(_, place)| *place).or(exact)?)
    }
}

impl Model {
    /// The price of one (token, request, search).
    pub(super) fn price(&self, rate: Rate, circumstances: &Circumstances<'_>) -> Option<Usd> {
        let told = self
            .prices
            .iter()
            .rev()
            .filter(|row| row.holds(circumstances));
        told.filter_map(|row| row.usd.0.get(&rate))
            .next()
            .copied()?
    }
}

impl Row {
    fn holds(&self, circumstances: &Circumstances<'_>) -> bool {
        let seconds = circumstances.unix_seconds;
        let tier = self.tier.as_deref();
        self.from.is_none_or(|Day(begins)| begins <= seconds)
            && self.hours.is_none_or(|hours| hours.hold(seconds))
            && (tier.is_none() || tier == circumstances.tier)
            && self
                .above
                .is_none_or(|limit| circumstances.input_tokens > limit)
    }
}

impl TryFrom<Box<str>> for Day {
    type Error = &'static str;

    fn try_from(text: Box<str>) -> Result<Self, Self::Error> {
        let day: Date = text.parse().map_err(|_| "days are written as 2026-01-31")?;
        let begins = day.to_zoned(TimeZone::UTC).map_err(|_| "no such day")?;
        let seconds = begins.timestamp().as_second();
        Ok(Self(u64::try_from(seconds).unwrap_or_default()))
    }
}

impl Hours {
    fn hold(self, unix_seconds: u64) -> bool {
        let minute = unix_seconds / 60 % (24 * 60);
        let Self(from, to) = self;
        if from <= to {
            (from..to).contains(&minute)
        } else {
            minute >= from || minute < to
        }
    }
}

impl TryFrom<Box<str>> for Hours {
    type Error = &'static str;

    fn try_from(text: Box<str>) -> Result<Self, Self::Error> {
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let (hour, minute) = (hour.parse::<u64>().ok()?, minute.parse::<u64>().ok()?);
            (hour < 24 && minute < 60).then(|| hour.saturating_mul(60).saturating_add(minute))
        };
        let (from, to) = text.split_once('-').ok_or(HOURS)?;
        Ok(Self(minute(from).ok_or(HOURS)?, minute(to).ok_or(HOURS)?))
    }
}

const HOURS: &str = "hours are written as 16:30-00:30";

impl Rate {
    /// How many a price is given for.
    const fn per(self) -> f64 {
        match self {
            Self::Request | Self::WebSearch => 1.0,
            _ => 1e6,
        }
    }
}

impl TryFrom<BTreeMap<Rate, Option<f64>>> for Rates {
    type Error = &'static str;

    fn try_from(dollars: BTreeMap<Rate, Option<f64>>) -> Result<Self, Self::Error> {
        let price = |(rate, dollars): (Rate, Option<f64>)| match dollars {
            Some(dollars) => {
                let usd = Usd::from_dollars(dollars / rate.per());
                usd.map(|usd| (rate, Some(usd))).ok_or("no price can be so")
            }
            None => Ok((rate, None)),
        };
        dollars
            .into_iter()
            .map(price)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// `gpt-5.2-20251211` as `gpt-5.2-2025-12-11`: routers write dates without dashes.
fn with_dashed_date(name: &str) -> Option<String> {
    let (before, from_date) = name.match_indices("-20").find_map(|(at, _)| {
        let (before, rest) = name.split_at_checked(at.checked_add(1)?)?;
        let (date, after) = rest.split_at_checked(8)?;
        let ends = after.is_empty() || after.starts_with(['-', ':']);
        (ends && date.bytes().all(|b| b.is_ascii_digit())).then_some((before, rest))
    })?;
    let (year, rest) = from_date.split_at_checked(4)?;
    let (month, rest) = rest.split_at_checked(2)?;
    Some(format!("{before}{year}-{month}-{rest}"))
}
