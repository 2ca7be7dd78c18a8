//! What can be configured.
//!
//! The names, types, defaults and help of keys stand here and nowhere else: flags,
//! variables and the JSON schema follow from these types.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use llmtap::probe;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::value::{Pattern, Ratio, Secret, Span};

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
    /// Take probes out of busy processes that make no call for so long, until they connect to
    /// somebody new; 0s: never
    pub release_idle: Span,
    /// Files with prices of models, before the built-in ones
    pub prices: Vec<PathBuf>,
    /// Count tokens ourselves where the provider does not say
    pub estimate_tokens: bool,
    pub kubernetes: Kubernetes,
    /// Names of services; the first rule that matches a process decides
    pub services: Vec<ServiceRule>,
    /// Resource attributes that everything gets which lacks them
    pub resource: BTreeMap<String, String>,
    /// What llmtap itself is called in what it tells of itself
    pub service_name: String,
    /// Where Prometheus finds /metrics, and others /healthz and /readyz
    pub prometheus: Option<SocketAddr>,
    pub otlp: Otlp,
    pub file: FileOut,
    pub queue: Queue,
    pub spool: SpoolLimits,
    pub metrics: Cardinality,
    pub sampling: Sampling,
    /// Regular expressions that are masked beside keys, addresses and numbers of people
    pub mask: Vec<Pattern>,
    /// Characters kept of each text
    pub max_text: Option<usize>,
    /// What differs for some calls; the first rule that matches decides
    pub rules: Vec<Rule>,
}

/// The API server, which knows the pods of this node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// Ask it: by default in a pod, or where node or server is set
    pub enabled: Option<bool>,
    /// The name of this node; by default that in NODE_NAME, or else the host's
    pub node: Option<String>,
    /// Where it is; by default where the pod's service account or a kubeconfig says; http
    /// is without credentials
    pub server: Option<String>,
    /// Labels of pods that are reported
    pub labels: Vec<String>,
    /// Annotations of pods that are reported
    pub annotations: Vec<String>,
}

/// A name for the service of some processes. Patterns may have * for any characters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceRule {
    /// Only programs of this path
    pub executable: Option<String>,
    /// Only command lines like this, as they are reported
    pub command: Option<String>,
    /// Only this systemd unit
    pub unit: Option<String>,
    /// Only processes of this user
    pub owner: Option<String>,
    /// Only pods of this namespace
    pub namespace: Option<String>,
    /// Only this Deployment, StatefulSet, DaemonSet, Job or CronJob, or pod that has none
    pub workload: Option<String>,
    /// What it is called
    pub name: String,
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
    /// What differs for traces
    pub traces: Way,
    /// What differs for metrics
    pub metrics: Way,
    /// What differs for events
    pub logs: Way,
    /// Where the content of calls is put, if it leaves at all
    pub content: ContentPlace,
    /// Spans or events in one request
    pub batch_size: NonZeroUsize,
    /// How long the first one of a batch waits for others
    pub batch_delay: Span,
    /// Time between two exports of metrics
    pub metrics_interval: Span,
    /// What a number in them counts from: the start, or the last export that was taken
    pub temporality: Temporality,
    /// How long what waits is still sent when llmtap ends
    pub closing: Span,
}

/// What differs for one signal from what is said of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Way {
    /// Where it goes instead; with HTTP all of the path
    pub endpoint: Option<String>,
    pub protocol: Option<Protocol>,
    /// Fields of each request, in place of the others
    pub headers: BTreeMap<String, Secret>,
    pub compression: Option<Compression>,
    /// How long its collector may take for an answer
    pub timeout: Option<Span>,
    /// Authorities to trust, in PEM
    pub certificate: Option<PathBuf>,
    /// Who we are, in PEM
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
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
    pub max_mib: NonZeroU64,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    #[default]
    Cumulative,
    Delta,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            content: ContentLevel::default(),
            semconv: Names::default(),
            pids: Vec::new(),
            max_body_mib: 16,
            release_idle: Span(probe::RELEASE_IDLE),
            prices: Vec::new(),
            estimate_tokens: false,
            kubernetes: Kubernetes::default(),
            services: Vec::new(),
            resource: BTreeMap::new(),
            service_name: env!("CARGO_PKG_NAME").to_owned(),
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
            traces: Way::default(),
            metrics: Way::default(),
            logs: Way::default(),
            content: ContentPlace::default(),
            batch_size: const { NonZeroUsize::new(512).unwrap() },
            batch_delay: Span::seconds(1),
            metrics_interval: Span::seconds(60),
            temporality: Temporality::default(),
            closing: Span::seconds(5),
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
            max_mib: const { NonZeroU64::new(1024).unwrap() },
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
