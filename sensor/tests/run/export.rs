//! What a collector gets, over each protocol.

use llmtap_test_server::make_mutual;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::*;

fn plain(value: &AnyValue) -> Json {
    match &value.value {
        None => Json::Null,
        Some(Value::BoolValue(value)) => json!(value),
        Some(Value::IntValue(value)) => json!(value),
        Some(Value::DoubleValue(value)) => json!(value),
        Some(Value::StringValue(value)) => json!(value),
        Some(Value::ArrayValue(array)) => array.values.iter().map(plain).collect(),
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A span as `--format jsonl` prints it, but for its resource and its trees.
fn as_line(span: &Span) -> Json {
    let attributes = span.attributes.iter().map(|pair| {
        let value = pair.value.as_ref().map_or(Json::Null, plain);
        (pair.key.clone(), value)
    });
    json!({
        "name": span.name, "trace_id": hex(&span.trace_id), "span_id": hex(&span.span_id),
        "start": span.start_time_unix_nano.to_string(),
        "end": span.end_time_unix_nano.to_string(),
        "attributes": Json::Object(attributes.collect()),
    })
}

#[test]
fn every_protocol_and_coding_brings_what_replay_prints() {
    let scene = Scene::new();
    let capture = scene.capture(&(1..=5).map(Exchange::new).collect::<Vec<_>>());
    let mut replay = Command::new(env!("CARGO_BIN_EXE_llmtap"));
    replay.arg("replay").arg(&capture);
    let (lines, _) = finished(replay);
    let expected: Vec<Json> = lines
        .lines()
        .map(|line| {
            let line: Json = serde_json::from_str(line).unwrap();
            json!({
                "name": line["name"], "trace_id": line["trace_id"], "span_id": line["span_id"],
                "start": line["start_time_unix_nano"], "end": line["end_time_unix_nano"],
                "attributes": line["attributes"],
            })
        })
        .collect();
    assert_eq!(expected.len(), 5);
    for (protocol, compression) in [
        ("grpc", "gzip"),
        ("grpc", "none"),
        ("http/protobuf", "gzip"),
        ("http/protobuf", "none"),
    ] {
        let collector = Collector::start(Behaviour::default()).unwrap();
        finished(scene.run(
            &capture,
            &[
                "--otlp-endpoint",
                &endpoint(&collector),
                "--otlp-protocol",
                protocol,
                "--otlp-compression",
                compression,
                "--otlp-headers",
                "x-tenant=blue",
            ],
        ));
        let spans = collector.spans(5).unwrap();
        let found: Vec<Json> = spans.iter().map(|(_, span)| as_line(span)).collect();
        assert_eq!(found, expected, "{protocol} {compression}");
        for (resource, span) in &spans {
            assert_eq!(span.kind(), SpanKind::Client);
            assert_eq!(text(&resource.attributes, "service.name"), "shop");
        }
        let request = &collector.exported()[0];
        assert_eq!(request.headers.get("x-tenant").unwrap(), "blue");
    }
}

#[test]
fn metrics_have_the_conventions_names_and_exemplars_that_lead_to_spans() {
    let scene = Scene::new();
    let capture = scene.capture(&[Exchange::new(1), Exchange::new(2)]);
    let collector = Collector::start(Behaviour::default()).unwrap();
    finished(scene.run(&capture, &["--otlp-endpoint", &endpoint(&collector)]));
    let exported = collector
        .wait("metrics", |all| !collector::metrics(all).is_empty())
        .unwrap();
    let of_shop = collector::metrics(&exported)
        .into_iter()
        .find(|metrics| {
            let resource = metrics.resource.as_ref().unwrap();
            text(&resource.attributes, "service.name") == "shop"
        })
        .unwrap();
    let metrics = &of_shop.scope_metrics[0].metrics;
    let named = |name: &str| metrics.iter().find(|m| m.name == name).unwrap();
    let points = |metric: &Metric| match &metric.data {
        Some(metric::Data::Histogram(histogram)) => histogram.data_points.clone(),
        other => panic!("{other:?}"),
    };
    let durations = points(named("gen_ai.client.operation.duration"));
    assert_eq!((durations.len(), durations[0].count), (1, 2));
    let spans: BTreeSet<Vec<u8>> = collector::spans(&exported)
        .into_iter()
        .map(|(_, span)| span.span_id)
        .collect();
    assert!(spans.contains(&durations[0].exemplars[0].span_id));
    let tokens = points(named("gen_ai.client.token.usage"));
    let sums: Vec<f64> = tokens.iter().filter_map(|point| point.sum).collect();
    assert_eq!(sums, [22.0, 14.0]);
    assert_eq!(tokens[0].explicit_bounds.len(), 14);
}

#[test]
fn content_goes_where_it_is_wanted_and_nowhere_by_default() {
    let scene = Scene::new();
    let capture = scene.capture(&[Exchange {
        question: "mail jo@example.org".into(),
        ..Exchange::new(1)
    }]);
    for (arguments, on_span, events) in [
        (&[][..], false, 0),
        (&["--content", "redacted"][..], true, 1),
        (
            &["--content", "redacted", "--otlp-content", "events"][..],
            false,
            1,
        ),
        (
            &["--content", "redacted", "--otlp-content", "spans"][..],
            true,
            0,
        ),
    ] {
        let collector = Collector::start(Behaviour::default()).unwrap();
        let endpoint = endpoint(&collector);
        let mut all = vec!["--otlp-endpoint", &endpoint];
        all.extend(arguments);
        finished(scene.run(&capture, &all));
        let (_, span) = collector.spans(1).unwrap().remove(0);
        let messages = attribute(&span.attributes, "gen_ai.input.messages");
        assert_eq!(messages.is_some(), on_span, "{arguments:?}");
        let logs = collector::logs(&collector.exported());
        assert_eq!(logs.len(), events, "{arguments:?}");
        for log in logs {
            assert_eq!(log.event_name, "gen_ai.client.inference.operation.details");
            assert_eq!(
                (&log.trace_id, &log.span_id),
                (&span.trace_id, &span.span_id)
            );
            let said = format!("{log:?}");
            assert!(
                said.contains("mail [email]") && !said.contains("jo@"),
                "{said}"
            );
        }
    }
}

#[test]
fn mutual_tls() {
    let scene = Scene::new();
    let capture = scene.capture(&[Exchange::new(1)]);
    let identity = make_mutual().unwrap();
    let file = |name: &str, pem: &str| {
        let path = scene.path(name);
        fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let authority = file("ca.pem", &identity.authority_pem);
    let certificate = file("client.pem", &identity.client_pem);
    let key = file("client-key.pem", &identity.client_key_pem);
    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::start(Behaviour {
            tls: Some(identity.config.clone()),
            ..Behaviour::default()
        })
        .unwrap();
        let endpoint = format!("https://localhost:{}", collector.address().port());
        let mut command = scene.run(&capture, &["--otlp-endpoint", &endpoint]);
        // By the standard's own variables.
        command
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", &authority)
            .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate)
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key);
        finished(command);
        assert_eq!(collector.spans(1).unwrap().len(), 1, "{protocol}");
    }
}

/// A request that was refused and made again, and another one; the lines that are written of
/// them, and what the collector gets.
fn refused_and_made_again(arguments: &[&str]) -> (Vec<Json>, Collector) {
    let scene = Scene::new();
    let attempt = |number, status| Exchange {
        question: "the same".into(),
        status,
        ..Exchange::new(number)
    };
    let capture = scene.capture(&[attempt(1, 429), attempt(2, 200), Exchange::new(3)]);
    let collector = Collector::start(Behaviour::default()).unwrap();
    let endpoint = endpoint(&collector);
    let file = scene.path("calls.jsonl");
    let mut command = scene.run(&capture, &["--otlp-endpoint", &endpoint]);
    command.arg("--file-path").arg(&file).args(arguments);
    finished(command);
    let lines = fs::read_to_string(&file).unwrap();
    let lines = lines.lines().map(|l| serde_json::from_str(l).unwrap());
    (lines.collect(), collector)
}

#[test]
fn another_attempt_is_linked() {
    let (lines, collector) = refused_and_made_again(&[]);
    let [refused, again, other] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(refused["status"]["code"], "error");
    assert_eq!(again["attributes"]["gen_ai.response.id"], "chatcmpl-2");
    assert_eq!(again["links"][0]["span_id"], refused["span_id"]);
    assert!(refused["links"].is_null() && other["links"].is_null());
    let linked = |spans: Vec<Span>| spans.iter().map(|s| s.links.len()).collect::<Vec<_>>();
    let spans = collector.spans(3).unwrap().into_iter();
    assert_eq!(linked(spans.map(|(_, span)| span).collect()), [0, 1, 0]);
}

#[test]
fn failures_are_kept_and_metrics_count_what_is_not() {
    let (lines, collector) = refused_and_made_again(&["--sampling-ratio", "0"]);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["status"]["code"], "error");
    let metrics = collector
        .wait("metrics", |all| !collector::metrics(all).is_empty())
        .unwrap();
    assert_eq!(collector::spans(&metrics).len(), 1);
    let all = format!("{:?}", collector::metrics(&metrics));
    assert!(all.contains("count: 2"), "the two that went well");
}

/// Of each path one call; what the rules make of them.
#[test]
fn rules_drop_sample_cut_and_hash() {
    let scene = Scene::new();
    let config = scene.path("rules.yaml");
    let rules = json!({
        "content": "full",
        "sampling": {"ratio": 0, "keep_errors": false},
        "rules": [
            {"path": "/v1/drop/*", "drop": true},
            {"path": "/v1/hash/*", "hash": true, "ratio": 1},
            {"service": "sh*", "provider": "openai", "path": "/v1/cut/*", "max_text": 5, "ratio": 1},
            {"service": "other", "ratio": 1},
            {"path": "/v1/mask/*", "content": "redacted", "ratio": 1},
        ],
    });
    fs::write(&config, rules.to_string()).unwrap();
    let calls = ["drop", "hash", "cut", "mask", "none"].into_iter().zip(1..);
    let exchanges = calls.map(|(name, number)| {
        let exchange = Exchange {
            question: "mail jo@example.org".into(),
            ..Exchange::new(number)
        };
        exchange.lines_at(&format!("/v1/{name}/chat/completions"))
    });
    let pipe = scene.pipe();
    let file = scene.path("calls.jsonl");
    let mut command = scene.run(&pipe, &["--prometheus", "127.0.0.1:0", "--file-path"]);
    command.arg(&file).env("LLMTAP_CONFIG", &config);
    let mut child = command.spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let address = address_in(&errors.find(|line| line.contains("/metrics")).unwrap());
    let mut writer = opened(&pipe);
    let lines: String = exchanges.collect();
    writer
        .write_all((first_line() + &lines).as_bytes())
        .unwrap();
    let told = || page(&address, "/metrics");
    // Those that do not leave are counted all the same, but for what was dropped.
    let count = "gen_ai_client_operation_duration_seconds_count{service_name=\"shop\"";
    let of_shop = |page: &str| {
        page.lines()
            .find(|l| l.starts_with(count))
            .map(str::to_owned)
    };
    until(|| of_shop(&told()).is_some_and(|line| line.ends_with(" 4")));
    drop(writer);
    assert!(child.wait().unwrap().success());
    let written = fs::read_to_string(&file).unwrap();
    let said: Vec<String> = written
        .lines()
        .map(|line| {
            let line: Json = serde_json::from_str(line).unwrap();
            let messages = &line["attributes"]["gen_ai.input.messages"];
            messages[0]["parts"][0]["content"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(said.len(), 3, "{written}");
    // SHA-256 of "mail jo@example.org".
    assert!(
        said[0].starts_with("sha256:") && said[0].len() == 71,
        "{}",
        said[0]
    );
    assert_eq!(said[1..], ["mail …", "mail [email]"]);
}

#[test]
fn of_what_is_dropped_not_even_the_number_leaves() {
    let scene = Scene::new();
    let capture = scene.capture(&[Exchange::new(1)]);
    let collector = Collector::start(Behaviour::default()).unwrap();
    let endpoint = endpoint(&collector);
    let drop_all = "[{service: sh*, drop: true}]";
    finished(scene.run(
        &capture,
        &["--otlp-endpoint", &endpoint, "--rules", drop_all],
    ));
    let exported = collector.exported();
    assert!(collector::spans(&exported).is_empty());
    let all = format!("{:?}", collector::metrics(&exported));
    assert!(all.contains("llmtap.calls"), "it tells of itself");
    assert!(!all.contains("shop") && !all.contains("openai"), "{all}");
}
