//! What can be configured.
//!
//! The names, types, defaults and help of keys stand here and nowhere else: flags,
//! variables and the JSON schema follow from these types.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cmd::tail::filter;

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How much of prompts and replies leaves
    pub content: ContentLevel,
    /// Whose names attributes have
    pub semconv: Names,
    /// Only these processes
    pub pids: Vec<u32>,
    /// Keep at most so many MiB of one request or response; of longer ones head and tail
    pub max_body_mib: u16,
    /// Files with prices of models, before the built-in ones
    pub prices: Vec<PathBuf>,
    /// Count tokens ourselves where the provider does not say
    pub estimate_tokens: bool,
    /// Resource attributes that everything gets which lacks them
    pub resource: BTreeMap<String, String>,
    /// Where Prometheus finds /metrics, and others /healthz and /readyz
    pub prometheus: Option<SocketAddr>,
    pub otlp: Otlp,
    pub file: FileOut,
    pub queue: Queue,
    pub spool: SpoolLimits,
    pub metrics: Cardinality,
    pub sampling: Sampling,
    /// Regular expressions that are masked beside keys, addresses and numbers of people
    pub mask: Vec<String>,
    /// Characters kept of each text
    pub max_text: Option<usize>,
    /// What differs for some calls; the first rule that matches decides
    pub rules: Vec<Rule>,
}

/// The OpenTelemetry protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// Where the collector is: http://host:4317, or with a path for HTTP; nothing is sent
    /// where this is absent
    pub endpoint: Option<String>,
    pub protocol: Protocol,
    /// Fields of each request, as NAME=VALUE
    pub headers: BTreeMap<String, Secret>,
    pub compression: Compression,
    /// How long the collector may take for an answer
    pub timeout: Span,
    /// Authorities to trust instead of the system's, in PEM
    pub certificate: Option<PathBuf>,
    /// Who we are, in PEM
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// What is sent
    pub signals: Vec<Signal>,
    /// Where traces go instead; with HTTP all of the path
    pub traces_endpoint: Option<String>,
    /// Where metrics go instead
    pub metrics_endpoint: Option<String>,
    /// Where events go instead
    pub logs_endpoint: Option<String>,
    /// Where the content of calls is put, if it leaves at all
    pub content: ContentPlace,
    /// Spans or events in one request
    pub batch_size: usize,
    /// How long the first one of a batch waits for others
    pub batch_delay: Span,
    /// Time between two exports of metrics
    pub metrics_interval: Span,
}

/// Lines of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FileOut {
    /// Where calls are written, a line each; - is standard output
    pub path: Option<PathBuf>,
    /// A new file is begun after so many MiB
    pub max_mib: u64,
    /// Full files that are kept
    pub keep: u32,
}

/// What waits for a way out that is slow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Calls that wait for each way out; beyond it the oldest goes
    pub records: usize,
    /// MiB that wait for each way out
    pub max_mib: usize,
}

/// What waits for a collector, on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolLimits {
    /// Where it is kept; empty: in memory
    pub directory: PathBuf,
    /// MiB of spans and of events each; beyond it the oldest goes
    pub max_mib: u64,
}

/// How many series metrics may have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cardinality {
    /// Values of one label; further ones become _OTHER
    pub label_values: usize,
    /// Series of one metric; further ones become one
    pub series: usize,
}

/// Which calls leave whole; metrics count them all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// The share of traces that is kept, from 0 to 1
    pub ratio: Ratio,
    /// Keep every call that failed
    pub keep_errors: bool,
    /// Keep every call that took longer
    pub keep_slower_than: Option<Span>,
}

/// What differs for some calls. Patterns may have * for any characters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Only calls of this service
    pub service: Option<String>,
    /// Only calls to this provider
    pub provider: Option<String>,
    /// Only calls of this path
    pub path: Option<String>,
    /// Nothing of them leaves
    pub drop: bool,
    pub content: Option<ContentLevel>,
    /// Texts are replaced by their sums
    pub hash: bool,
    pub max_text: Option<usize>,
    /// The share of traces that is kept
    pub ratio: Option<Ratio>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContentLevel {
    #[default]
    Off,
    Redacted,
    Full,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    #[default]
    Otel,
    OpenInference,
    Both,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    #[serde(rename = "http/protobuf")]
    Http,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    #[default]
    Gzip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContentPlace {
    Spans,
    Events,
    #[default]
    Both,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

/// A time span, as 500ms, 10s, 2m or 1h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio(pub f64);

impl Default for Config {
    fn default() -> Self {
        Self {
            content: ContentLevel::default(),
            semconv: Names::default(),
            pids: Vec::new(),
            max_body_mib: 16,
            prices: Vec::new(),
            estimate_tokens: false,
            resource: BTreeMap::new(),
            prometheus: None,
            otlp: Otlp::default(),
            file: FileOut::default(),
            queue: Queue::default(),
            spool: SpoolLimits::default(),
            metrics: Cardinality::default(),
            sampling: Sampling::default(),
            mask: Vec::new(),
            max_text: None,
            rules: Vec::new(),
        }
    }
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: Protocol::default(),
            headers: BTreeMap::new(),
            compression: Compression::default(),
            timeout: Span::seconds(10),
            certificate: None,
            client_certificate: None,
            client_key: None,
            signals: vec![Signal::Traces, Signal::Metrics, Signal::Logs],
            traces_endpoint: None,
            metrics_endpoint: None,
            logs_endpoint: None,
            content: ContentPlace::default(),
            batch_size: 512,
            batch_delay: Span::seconds(1),
            metrics_interval: Span::seconds(60),
        }
    }
}

impl Default for FileOut {
    fn default() -> Self {
        Self {
            path: None,
            max_mib: 100,
            keep: 5,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            records: 2048,
            max_mib: 64,
        }
    }
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self {
            directory: "/var/lib/llmtap/spool".into(),
            max_mib: 1024,
        }
    }
}

impl Default for Cardinality {
    fn default() -> Self {
        Self {
            label_values: 200,
            series: 2000,
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            ratio: Ratio(1.0),
            keep_errors: true,
            keep_slower_than: Some(Span::seconds(30)),
        }
    }
}

impl Span {
    const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        match millis % 1000 {
            0 => serializer.collect_str(&format_args!("{}s", millis / 1000)),
            _ => serializer.collect_str(&format_args!("{millis}ms")),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        filter::duration(&text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[0-9.]+(ms|s|m|min|h)?$" })
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ratio = f64::deserialize(deserializer)?;
        match (0.0..=1.0).contains(&ratio) {
            true => Ok(Self(ratio)),
            false => Err(serde::de::Error::custom("a share lies between 0 and 1")),
        }
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ratio".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}
