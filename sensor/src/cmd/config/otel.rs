//! The standard variables of OpenTelemetry, as far as they mean something here.
//!
//! In: the environment. Out: a layer of the configuration, under the file.

use serde_json::{Map, Value};

use super::keys::set;

/// Variables and the keys that they set.
const TEXTS: [(&str, &str); 11] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp.endpoint"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otlp.traces_endpoint"),
    (
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "otlp.metrics_endpoint",
    ),
    ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "otlp.logs_endpoint"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "otlp.protocol"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "otlp.compression"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "otlp.certificate"),
    (
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "otlp.client_certificate",
    ),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "otlp.client_key"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "otlp.headers"),
    ("OTEL_RESOURCE_ATTRIBUTES", "resource"),
];

/// The same for times, which are in milliseconds there.
const MILLIS: [(&str, &str); 3] = [
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "otlp.timeout"),
    ("OTEL_BSP_SCHEDULE_DELAY", "otlp.batch_delay"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "otlp.metrics_interval"),
];

/// The same for numbers.
const COUNTS: [(&str, &str); 2] = [
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "otlp.batch_size"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "queue.records"),
];

/// Which signals are exported over OTLP, unless they are said to go elsewhere.
const EXPORTERS: [(&str, &str); 3] = [
    ("OTEL_TRACES_EXPORTER", "traces"),
    ("OTEL_METRICS_EXPORTER", "metrics"),
    ("OTEL_LOGS_EXPORTER", "logs"),
];

/// What `variable` gives as a layer. What is empty counts as unset, as the
/// specification has it.
pub fn layer(variable: impl Fn(&str) -> Option<String>) -> Value {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let mut layer = Value::Object(Map::new());
    let mut put = |key: &str, value: Value| {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        set(&mut layer, &path, value);
    };
    for (name, key) in TEXTS {
        if let Some(text) = variable(name) {
            match key {
                "otlp.headers" | "resource" => put(key, pairs(&text)),
                _ => put(key, text.into()),
            }
        }
    }
    for (name, key) in MILLIS {
        if let Some(millis) = variable(name) {
            put(key, format!("{millis}ms").into());
        }
    }
    for (name, key) in COUNTS {
        if let Some(count) = variable(name).and_then(|text| text.parse::<u64>().ok()) {
            put(key, count.into());
        }
    }
    let is_kept = |name: &str| variable(name).is_none_or(|value| value.contains("otlp"));
    let kept: Vec<&str> = EXPORTERS
        .into_iter()
        .filter_map(|(name, signal)| is_kept(name).then_some(signal))
        .collect();
    if kept.len() < EXPORTERS.len() {
        put("otlp.signals", kept.into());
    }
    if variable("OTEL_TRACES_SAMPLER").is_some_and(|name| name.contains("traceidratio"))
        && let Some(ratio) =
            variable("OTEL_TRACES_SAMPLER_ARG").and_then(|arg| arg.parse::<f64>().ok())
    {
        put("sampling.ratio", ratio.into());
    }
    layer
}

/// `a=b,c=d`, with values percent-encoded; what is no pair is left out.
fn pairs(text: &str) -> Value {
    let pairs = text
        .split(',')
        .filter_map(|word| super::keys::pair(word).ok());
    Value::Object(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_of_the_specification_are_understood() {
        let variables = |name: &str| {
            let value = match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => "http://collector:4318",
                "OTEL_EXPORTER_OTLP_PROTOCOL" => "http/protobuf",
                "OTEL_EXPORTER_OTLP_HEADERS" => "api-key=a%2Cb, x=y",
                "OTEL_EXPORTER_OTLP_TIMEOUT" => "1500",
                "OTEL_METRICS_EXPORTER" => "prometheus",
                "OTEL_EXPORTER_OTLP_CERTIFICATE" => "",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let expected = json!({
            "otlp": {
                "endpoint": "http://collector:4318",
                "protocol": "http/protobuf",
                "headers": {"api-key": "a,b", "x": "y"},
                "timeout": "1500ms",
                "signals": ["traces", "logs"],
            },
        });
        assert_eq!(layer(variables), expected);
        assert_eq!(layer(|_| None), json!({}));
    }
}
