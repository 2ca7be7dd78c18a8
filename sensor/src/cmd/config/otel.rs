//! The standard variables of OpenTelemetry, as far as they mean something here.
//!
//! In: the environment. Out: a layer of the configuration, under the file.

use serde_json::{Map, Value};

use super::keys::set;
use super::schema::Config;

/// What each variable of the exporter sets, of all signals and of one: its end, and the key.
const EXPORTER: [(&str, &str, Kind); 8] = [
    ("ENDPOINT", "endpoint", Kind::Text),
    ("PROTOCOL", "protocol", Kind::Text),
    ("HEADERS", "headers", Kind::Pairs),
    ("COMPRESSION", "compression", Kind::Text),
    ("TIMEOUT", "timeout", Kind::Millis),
    ("CERTIFICATE", "certificate", Kind::Text),
    ("CLIENT_CERTIFICATE", "client_certificate", Kind::Text),
    ("CLIENT_KEY", "client_key", Kind::Text),
];

/// Signals as variables and keys name them; the first stands for all.
const SIGNALS: [(&str, &str); 4] = [
    ("", ""),
    ("TRACES_", "traces."),
    ("METRICS_", "metrics."),
    ("LOGS_", "logs."),
];

/// The others.
const VARIABLES: [(&str, &str, Kind); 6] = [
    ("OTEL_SERVICE_NAME", "service_name", Kind::Text),
    ("OTEL_RESOURCE_ATTRIBUTES", "resource", Kind::Pairs),
    ("OTEL_BSP_SCHEDULE_DELAY", "otlp.batch_delay", Kind::Millis),
    (
        "OTEL_METRIC_EXPORT_INTERVAL",
        "otlp.metrics_interval",
        Kind::Millis,
    ),
    (
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "otlp.batch_size",
        Kind::Count,
    ),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "queue.records", Kind::Count),
];

/// How the value of a variable is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Pairs,
    /// In milliseconds.
    Millis,
    Count,
}

/// Which signals are exported over OTLP, unless they are said to go elsewhere.
const EXPORTERS: [(&str, &str); 3] = [
    ("OTEL_TRACES_EXPORTER", "traces"),
    ("OTEL_METRICS_EXPORTER", "metrics"),
    ("OTEL_LOGS_EXPORTER", "logs"),
];

/// What `variable` gives as a layer. What is empty counts as unset, as the
/// specification has it. An error names the variable, and not its value.
pub fn layer(variable: impl Fn(&str) -> Option<String>) -> Result<Value, String> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let mut layer = Value::Object(Map::new());
    let mut put = |name: &str, key: &str, value: Value| {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let mut alone = Value::Object(Map::new());
        set(&mut alone, &path, value.clone());
        set(&mut layer, &path, value);
        let checked = serde_json::from_value::<Config>(alone);
        checked
            .map(drop)
            .map_err(|error| format!("{name}: {error}"))
    };
    for (of_signal, key_of_signal) in SIGNALS {
        for (end, key, kind) in EXPORTER {
            let name = format!("OTEL_EXPORTER_OTLP_{of_signal}{end}");
            let Some(mut text) = variable(&name) else {
                continue;
            };
            if key == "endpoint" {
                text = with_scheme(text, of_signal, &variable);
            }
            put(
                &name,
                &format!("otlp.{key_of_signal}{key}"),
                kind.value(&text),
            )?;
        }
    }
    for (name, key, kind) in VARIABLES {
        if let Some(text) = variable(name) {
            put(name, key, kind.value(&text))?;
        }
    }
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    if let Some(text) = variable(name) {
        let text = text.to_ascii_lowercase();
        // Of its three words the third saves memory where there is a choice.
        let text = if text == "lowmemory" { "delta" } else { &text };
        put(name, "otlp.temporality", text.into())?;
    }
    if let Some((name, signals)) = signals(&variable) {
        put(name, "otlp.signals", signals.into())?;
    }
    if variable("OTEL_METRICS_EXPORTER").is_some_and(|value| value.contains("prometheus")) {
        put(
            "OTEL_EXPORTER_PROMETHEUS_HOST",
            "prometheus",
            page(&variable).into(),
        )?;
    }
    if variable("OTEL_TRACES_SAMPLER").is_some_and(|name| name.contains("traceidratio"))
        && let Some(ratio) =
            variable("OTEL_TRACES_SAMPLER_ARG").and_then(|arg| arg.parse::<f64>().ok())
    {
        put("OTEL_TRACES_SAMPLER_ARG", "sampling.ratio", ratio.into())?;
    }
    Ok(layer)
}

/// The signals that are left, if some are not to be exported over OTLP.
fn signals(
    variable: &impl Fn(&str) -> Option<String>,
) -> Option<(&'static str, Vec<&'static str>)> {
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if is_off {
        return Some(("OTEL_SDK_DISABLED", Vec::new()));
    }
    let is_kept = |name: &str| variable(name).is_none_or(|value| value.contains("otlp"));
    let kept: Vec<&str> = EXPORTERS
        .into_iter()
        .filter_map(|(name, signal)| is_kept(name).then_some(signal))
        .collect();
    (kept.len() < EXPORTERS.len()).then_some(("OTEL_…_EXPORTER", kept))
}

/// An endpoint without a scheme is one with TLS where that is said.
fn with_scheme(
    endpoint: String,
    of_signal: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> String {
    let own = variable(&format!("OTEL_EXPORTER_OTLP_{of_signal}INSECURE"));
    let said = own.or_else(|| variable("OTEL_EXPORTER_OTLP_INSECURE"));
    match said.is_some_and(|said| said.eq_ignore_ascii_case("false")) {
        true if !endpoint.contains("://") => format!("https://{endpoint}"),
        _ => endpoint,
    }
}

/// Where the page for Prometheus is to be.
fn page(variable: &impl Fn(&str) -> Option<String>) -> String {
    let host = variable("OTEL_EXPORTER_PROMETHEUS_HOST");
    let host = host.filter(|host| host != "localhost");
    let host = host.unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = variable("OTEL_EXPORTER_PROMETHEUS_PORT").unwrap_or_else(|| "9464".to_owned());
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

impl Kind {
    fn value(self, text: &str) -> Value {
        match self {
            Self::Text => text.into(),
            Self::Pairs => pairs(text),
            Self::Millis => format!("{text}ms").into(),
            // Not a number, it is a text, and no count.
            Self::Count => text
                .parse::<u64>()
                .map_or_else(|_| text.into(), Value::from),
        }
    }
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

    fn of(variables: &[(&str, &str)]) -> Result<Value, String> {
        layer(|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn variables_of_the_specification_are_understood() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%2Cb, x=y"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ""),
            ("OTEL_SERVICE_NAME", "tap-eu"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=eu"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64"),
        ];
        let expected = json!({
            "otlp": {
                "endpoint": "http://collector:4318",
                "protocol": "http/protobuf",
                "headers": {"api-key": "a,b", "x": "y"},
                "timeout": "1500ms",
                "signals": ["traces", "logs"],
                "batch_size": 64,
            },
            "service_name": "tap-eu",
            "resource": {"deployment.environment.name": "eu"},
        });
        assert_eq!(of(&variables), Ok(expected));
        assert_eq!(of(&[]), Ok(json!({})));
    }

    #[test]
    fn each_signal_has_variables_of_its_own() {
        for signal in ["traces", "metrics", "logs"] {
            for (end, text, value) in [
                ("ENDPOINT", "http://c/x", json!("http://c/x")),
                ("PROTOCOL", "grpc", json!("grpc")),
                ("HEADERS", "a=b", json!({"a": "b"})),
                ("COMPRESSION", "none", json!("none")),
                ("TIMEOUT", "20", json!("20ms")),
                ("CERTIFICATE", "a.pem", json!("a.pem")),
                ("CLIENT_CERTIFICATE", "b.pem", json!("b.pem")),
                ("CLIENT_KEY", "c.pem", json!("c.pem")),
            ] {
                let name = format!("OTEL_EXPORTER_OTLP_{}_{end}", signal.to_uppercase());
                let key = end.to_lowercase();
                let expected = json!({"otlp": {signal: {key: value}}});
                assert_eq!(of(&[(&name, text)]), Ok(expected), "{name}");
            }
        }
    }

    #[test]
    fn what_is_off_is_off_and_what_has_no_scheme_gets_one() {
        let off = of(&[("OTEL_SDK_DISABLED", "true")]);
        assert_eq!(off, Ok(json!({"otlp": {"signals": []}})));
        let secure = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "d:4317"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "false"),
            ("OTEL_EXPORTER_OTLP_LOGS_INSECURE", "true"),
        ]);
        let expected = json!({"endpoint": "https://c:4317", "logs": {"endpoint": "d:4317"}});
        assert_eq!(secure.unwrap()["otlp"], expected);
    }

    #[test]
    fn numbers_may_count_from_the_last_export() {
        let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        for (text, value) in [
            ("Cumulative", "cumulative"),
            ("delta", "delta"),
            ("lowmemory", "delta"),
        ] {
            let expected = json!({"otlp": {"temporality": value}});
            assert_eq!(of(&[(name, text)]), Ok(expected));
        }
        assert!(of(&[(name, "sometimes")]).is_err());
    }

    #[test]
    fn prometheus_may_be_who_gets_metrics() {
        let page = of(&[
            ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
            ("OTEL_EXPORTER_PROMETHEUS_HOST", "::"),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", "9000"),
        ]);
        assert_eq!(page, Ok(json!({"prometheus": "[::]:9000"})));
        let usual = of(&[("OTEL_METRICS_EXPORTER", "prometheus")]);
        assert_eq!(usual.unwrap()["prometheus"], "127.0.0.1:9464");
    }

    #[test]
    fn an_error_names_the_variable() {
        for (name, text) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "soon"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ] {
            let error = of(&[(name, text)]).unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
