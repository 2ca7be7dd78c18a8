//! Numbers about calls, and about llmtap itself.
//!
//! In: records, starts of calls, and what the other parts say of their [`Health`]. Out:
//! [`Family`]s, which [`prometheus`] and [`otlp`](super::otlp) write. Cumulative: what a
//! collector misses comes with the next export.

use std::collections::HashMap;

use super::semconv::{self, metrics as names};
use crate::event::Role;
use crate::llm::call::Gaps;
use crate::llm::{Call, CallId};
use crate::redact::Record;

pub mod health;
pub mod prometheus;
pub mod series;

pub use health::Health;
pub use series::{Bounds, Exemplar, Family, Labels, Value};

use series::Store;

/// The label that becomes the resource of its series in OTLP.
pub const SERVICE: &str = "service.name";

/// Everything that is counted of calls.
#[derive(Debug)]
pub struct Metrics {
    store: Store,
    in_flight: HashMap<CallId, Labels>,
}

/// Calls in flight that are told apart; more are not counted.
const MAX_IN_FLIGHT: usize = 1 << 16;

/// The labels of one call, with those for failures at the end.
struct OfCall<'a> {
    labels: Vec<(&'static str, &'a str)>,
    error: Option<&'a str>,
}

impl Metrics {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            store: Store::new(bounds),
            in_flight: HashMap::new(),
        }
    }

    /// What is known already stays.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.store.set_bounds(bounds);
    }

    pub fn families(&self) -> Vec<Family> {
        self.store.families()
    }

    /// A call has begun. `service`: who made it.
    pub fn started(&mut self, call: &Call, service: Option<&str>) {
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            return;
        }
        let labels = vec![
            (SERVICE, Box::from(service.unwrap_or_default())),
            (OPERATION, Box::from(&*call.operation)),
            ("gen_ai.provider.name", Box::from(&*call.provider)),
        ];
        self.in_flight(&labels, 1.0);
        self.in_flight.insert(call.id, labels);
    }

    /// A call has ended, whether it leaves as a record or not.
    pub fn ended(&mut self, id: CallId) {
        if let Some(labels) = self.in_flight.remove(&id) {
            self.in_flight(&labels, -1.0);
        }
    }

    fn in_flight(&mut self, labels: &Labels, by: f64) {
        let labels: Vec<_> = labels.iter().map(|(name, v)| (*name, &**v)).collect();
        self.store.add(names::IN_FLIGHT, &labels, by, None);
    }

    /// Counts a call that has ended.
    pub fn observe(&mut self, record: &Record) {
        let call = record.call();
        let port = call.server.port.map(|port| port.to_string());
        let of_call = OfCall::new(record, port.as_deref());
        if call.dialect == "mcp" {
            return self.mcp(record, &of_call);
        }
        match call.role {
            Role::Client => self.client(record, &of_call),
            Role::Server => self.server(record, &of_call),
        }
    }

    fn client(&mut self, record: &Record, of: &OfCall<'_>) {
        let (call, timing) = (record.call(), record.call().timing);
        let took = timing.end.since(timing.start).as_secs_f64();
        let of_openai = of_openai(call);
        let mut labels = of.with_error();
        labels.extend(of_openai.clone());
        self.add(names::OPERATION_DURATION, &labels, took, record);
        let labels = &of.labels;
        if let Some(first) = timing.first_chunk {
            let waited = first.since(timing.start).as_secs_f64();
            self.add(names::TIME_TO_FIRST_CHUNK, labels, waited, record);
        }
        // Where bytes are missing, so may be events.
        if call.capture.lost_bytes == 0 && timing.gaps != Gaps::default() {
            let Gaps {
                counts,
                sum,
                longest,
            } = timing.gaps;
            let metric = names::TIME_PER_OUTPUT_CHUNK;
            let exemplar = exemplar(record, longest.as_secs_f64());
            let measured = (&counts[..], sum.as_secs_f64());
            self.store.add_counts(metric, labels, measured, exemplar);
        }
        for (kind, tokens) in [("input", call.usage.input), ("output", call.usage.output)] {
            if let Some(tokens) = tokens {
                let mut labels = labels.clone();
                labels.push(("gen_ai.token.type", kind));
                labels.extend(of_openai.clone());
                self.add(names::TOKEN_USAGE, &labels, number(tokens), record);
            }
        }
        if let Some(cost) = record.cost() {
            let dollars = cost.total().as_dollars();
            self.store.add(names::COST, labels, dollars, None);
        }
        if record.is_unpriced() {
            self.store.add(names::UNPRICED, labels, 1.0, None);
        }
    }

    fn server(&mut self, record: &Record, of: &OfCall<'_>) {
        let (call, timing) = (record.call(), record.call().timing);
        let took = timing.end.since(timing.start).as_secs_f64();
        self.add(names::SERVER_DURATION, &of.with_error(), took, record);
        let Some(first) = timing.first_content else {
            return;
        };
        let waited = first.since(timing.start).as_secs_f64();
        self.add(names::SERVER_FIRST_TOKEN, &of.labels, waited, record);
        let last = timing.last_content.unwrap_or(first);
        let later = call.usage.output.map(|tokens| tokens.saturating_sub(1));
        if let Some(later) = later.filter(|tokens| *tokens > 0) {
            let each = last.since(first).as_secs_f64() / number(later);
            self.add(names::SERVER_PER_TOKEN, &of.labels, each, record);
        }
    }

    fn mcp(&mut self, record: &Record, of: &OfCall<'_>) {
        let call = record.call();
        let took = call.timing.end.since(call.timing.start).as_secs_f64();
        let mut labels = of.with_error();
        // It has no provider, and a method that calls no tool has no operation.
        let is_tool = |name: &str, value: &str| name == OPERATION && value != call.dialect;
        labels.retain(|(name, value)| !name.starts_with("gen_ai.") || is_tool(name, value));
        for name in OF_MCP {
            if let Some(value) = semconv::extra_text(call, name) {
                labels.push((name, value));
            }
        }
        let metric = match call.role {
            Role::Client => names::MCP_CLIENT_DURATION,
            Role::Server => names::MCP_SERVER_DURATION,
        };
        self.add(metric, &labels, took, record);
    }

    fn add(
        &mut self,
        metric: names::Metric,
        labels: &[(&'static str, &str)],
        value: f64,
        record: &Record,
    ) {
        let exemplar = exemplar(record, value);
        self.store.add(metric, labels, value, exemplar);
    }
}

/// What leads to the span of `record`; one that does not leave is not to be looked for.
fn exemplar(record: &Record, value: f64) -> Option<Exemplar> {
    let trace = record.trace();
    semconv::is_sampled(trace, record.share()).then(|| Exemplar {
        value,
        unix_nanos: record.end_unix_nanos(),
        trace: trace.trace,
        span: trace.span,
    })
}

const OPERATION: &str = "gen_ai.operation.name";

/// What the conventions add to the metrics of MCP.
const OF_MCP: [&str; 6] = [
    "mcp.method.name",
    "gen_ai.tool.name",
    "gen_ai.prompt.name",
    "rpc.response.status_code",
    "mcp.protocol.version",
    "network.transport",
];

/// What they add to durations and tokens of OpenAI's own.
fn of_openai(call: &Call) -> impl Iterator<Item = (&'static str, &str)> + Clone {
    let names = [
        "openai.response.service_tier",
        "openai.response.system_fingerprint",
    ];
    let own = call.provider == "openai";
    names
        .into_iter()
        .filter(move |_| own)
        .filter_map(|name| Some((name, semconv::extra_text(call, name)?)))
}

impl<'a> OfCall<'a> {
    fn new(record: &'a Record, port: Option<&'a str>) -> Self {
        let call = record.call();
        let service = semconv::service_name(record.origin()).unwrap_or_default();
        let mut labels = vec![
            (SERVICE, service),
            (OPERATION, &*call.operation),
            ("gen_ai.provider.name", &*call.provider),
        ];
        let known = [
            ("gen_ai.request.model", call.request.model.as_deref()),
            ("gen_ai.response.model", call.response.model.as_deref()),
            ("server.address", call.server.address.as_deref()),
            ("server.port", port),
        ];
        labels.extend(known.into_iter().filter_map(|(n, v)| Some((n, v?))));
        Self {
            labels,
            error: call.error.as_ref().map(|error| &*error.kind),
        }
    }

    fn with_error(&self) -> Vec<(&'static str, &'a str)> {
        let mut labels = self.labels.clone();
        labels.extend(self.error.map(|kind| ("error.type", kind)));
        labels
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::semconv::metrics::Kind;
    use crate::samples::record;
    use crate::time::Timestamp;

    fn metrics() -> Metrics {
        let bounds = Bounds {
            values: 10,
            series: 10,
        };
        Metrics::new(bounds)
    }

    fn histogram(metrics: &Metrics, name: &str) -> Option<series::Histogram> {
        let families = metrics.families();
        let family = families.iter().find(|f| f.metric.name == name)?;
        match &family.series[0].1 {
            Value::Histogram(histogram) => Some(histogram.clone()),
            Value::Number(_) => None,
        }
    }

    #[test]
    fn a_client_call_gives_duration_chunks_and_tokens() {
        let mut metrics = metrics();
        metrics.observe(&record(|call, _| {
            call.timing.gaps.counts[1] = 3;
            call.timing.gaps.longest = std::time::Duration::from_millis(15);
        }));
        let duration = histogram(&metrics, "gen_ai.client.operation.duration").unwrap();
        assert!((duration.sum - 1.34).abs() < 1e-9);
        let exemplar = duration.exemplars.iter().flatten().next().unwrap();
        let record = record(|_, _| {});
        let trace = record.trace();
        assert_eq!((exemplar.trace, exemplar.span), (trace.trace, trace.span));
        let first = histogram(&metrics, "gen_ai.client.operation.time_to_first_chunk");
        assert!((first.unwrap().sum - 0.21).abs() < 1e-9);
        let gaps = histogram(&metrics, "gen_ai.client.operation.time_per_output_chunk");
        let gaps = gaps.unwrap();
        assert_eq!(gaps.count(), 3);
        let longest = gaps.exemplars[1].unwrap();
        assert_eq!((longest.span, gaps.exemplars[0]), (trace.span, None));
        let families = metrics.families();
        let tokens = families.iter().find(|f| f.metric == names::TOKEN_USAGE);
        assert_eq!(tokens.unwrap().series.len(), 2, "input and output");
    }

    #[test]
    fn durations_have_what_went_wrong_and_tokens_have_not() {
        let mut metrics = metrics();
        metrics.observe(&record(|call, _| {
            call.error = Some(crate::llm::call::Failure {
                kind: "429".into(),
                message: None,
            });
        }));
        let of = |name: &str| labels(&metrics, name).contains("error.type=429");
        assert!(of("gen_ai.client.operation.duration"));
        assert!(!of("gen_ai.client.token.usage"));
        assert!(!of("gen_ai.client.operation.time_to_first_chunk"));
    }

    #[test]
    fn unknown_tokens_are_not_counted() {
        let mut metrics = metrics();
        metrics.observe(&record(|call, _| call.usage = Default::default()));
        assert_eq!(histogram(&metrics, "gen_ai.client.token.usage"), None);
    }

    /// The labels of the first series of a metric.
    fn labels(metrics: &Metrics, name: &str) -> String {
        let families = metrics.families();
        let family = families.iter().find(|f| f.metric.name == name).unwrap();
        let labels = family.series[0].0.iter();
        let labels: Vec<String> = labels.map(|(name, v)| format!("{name}={v}")).collect();
        labels.join(" ")
    }

    #[test]
    fn calls_of_openai_tell_their_tier() {
        let tier = ("openai.response.service_tier".into(), text("flex"));
        let fingerprint = ("openai.response.system_fingerprint".into(), text("fp_1"));
        let mut metrics = metrics();
        metrics.observe(&record(|call, _| {
            call.extra = vec![tier.clone(), fingerprint.clone()];
            call.request.model = None;
            call.timing.gaps.counts[1] = 1;
        }));
        let base = "service.name=python3 gen_ai.operation.name=chat gen_ai.provider.name=openai";
        let more = "openai.response.service_tier=flex openai.response.system_fingerprint=fp_1";
        for (name, expected) in [
            ("gen_ai.client.operation.duration", format!("{base} {more}")),
            (
                "gen_ai.client.token.usage",
                format!("{base} gen_ai.token.type=input {more}"),
            ),
            (
                "gen_ai.client.operation.time_per_output_chunk",
                base.to_owned(),
            ),
        ] {
            assert_eq!(labels(&metrics, name), expected, "{name}");
        }
    }

    fn text(text: &str) -> crate::llm::call::Value {
        crate::llm::call::Value::String(text.into())
    }

    #[test]
    fn what_mcp_does_has_no_provider() {
        let observed = |operation: &'static str, extra: &[(&'static str, &str)]| {
            let mut metrics = metrics();
            metrics.observe(&record(|call, _| {
                (call.dialect, call.provider) = ("mcp", "mcp".into());
                call.operation = operation.into();
                call.extra = extra.iter().map(|(n, v)| ((*n).into(), text(v))).collect();
            }));
            labels(&metrics, "mcp.client.operation.duration")
        };
        assert_eq!(
            observed("mcp", &[("mcp.method.name", "ping")]),
            "service.name=python3 mcp.method.name=ping"
        );
        let extra = [
            ("mcp.method.name", "tools/call"),
            ("gen_ai.tool.name", "add"),
            ("rpc.response.status_code", "-32602"),
            ("mcp.protocol.version", "2025-06-18"),
            ("network.transport", "pipe"),
            ("mcp.session.id", "1868a90c"),
        ];
        assert_eq!(
            observed("execute_tool", &extra),
            "service.name=python3 gen_ai.operation.name=execute_tool mcp.method.name=tools/call \
             gen_ai.tool.name=add rpc.response.status_code=-32602 \
             mcp.protocol.version=2025-06-18 network.transport=pipe"
        );
    }

    #[test]
    fn a_served_model_gives_times_of_tokens() {
        let mut metrics = metrics();
        metrics.observe(&record(|call, _| {
            let ms = |ms: u64| Some(Timestamp::from_nanos(ms * 1_000_000));
            call.role = Role::Server;
            call.timing.first_content = ms(1_210);
            call.timing.last_content = ms(2_310);
        }));
        let first = histogram(&metrics, "gen_ai.server.time_to_first_token").unwrap();
        assert!((first.sum - 0.21).abs() < 1e-9);
        let each = histogram(&metrics, "gen_ai.server.time_per_output_token").unwrap();
        assert!((each.sum - 1.1 / 55.0).abs() < 1e-9);
        assert_eq!(
            histogram(&metrics, "gen_ai.client.operation.duration"),
            None
        );
    }

    #[test]
    fn calls_in_flight_come_and_go() {
        let mut metrics = metrics();
        let call = record(|_, _| {}).call().clone();
        let value = |metrics: &Metrics| match metrics.families()[0].series[0].1 {
            Value::Number(number) => number,
            Value::Histogram(_) => f64::NAN,
        };
        metrics.started(&call, Some("shop"));
        assert!((value(&metrics) - 1.0).abs() < 1e-9);
        metrics.ended(call.id);
        metrics.ended(call.id);
        assert!(value(&metrics).abs() < 1e-9);
    }

    #[test]
    fn the_buckets_of_gaps_are_those_of_their_metric() {
        let Kind::Histogram(bounds) = names::TIME_PER_OUTPUT_CHUNK.kind else {
            panic!("no histogram");
        };
        let gaps = Gaps::BOUNDS.map(|bound| bound.as_secs_f64());
        assert_eq!(bounds, gaps);
    }
}
