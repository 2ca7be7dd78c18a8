//! What collectors answer, and what comes of it; and none that never does.

use std::time::Instant;

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, metric, number_data_point,
};

use super::*;

const PROTOCOLS: [&str; 2] = ["grpc", "http/protobuf"];

/// What llmtap told of itself last, by metric and the value of its only attribute.
fn health(collector: &Collector) -> Vec<(String, f64)> {
    let own = collector::metrics(&collector.exported())
        .into_iter()
        .find(|metrics| {
            let resource = metrics.resource.as_ref().unwrap();
            text(&resource.attributes, "service.name") == "llmtap"
        })
        .unwrap();
    let metrics = own.scope_metrics.into_iter().flat_map(|all| all.metrics);
    metrics.flat_map(|metric| numbers(&metric)).collect()
}

fn numbers(metric: &Metric) -> Vec<(String, f64)> {
    let points = match metric.data.as_ref().unwrap() {
        metric::Data::Sum(sum) => &sum.data_points,
        metric::Data::Gauge(gauge) => &gauge.data_points,
        _ => return Vec::new(),
    };
    let number = |point: &number_data_point::Value| match point {
        number_data_point::Value::AsDouble(value) => *value,
        number_data_point::Value::AsInt(_) => panic!("all are doubles"),
    };
    let points = points.iter().map(|point| {
        let labels = point
            .attributes
            .iter()
            .map(|pair| text(&point.attributes, &pair.key));
        let name = [metric.name.clone()].into_iter().chain(labels);
        let name: Vec<String> = name.collect();
        (name.join(" "), number(point.value.as_ref().unwrap()))
    });
    points.collect()
}

fn of(health: &[(String, f64)], name: &str) -> f64 {
    let found = health.iter().find(|(known, _)| known == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {health:#?}"))
        .1
}

#[test]
fn what_a_collector_refuses_of_a_request_is_counted() {
    for protocol in PROTOCOLS {
        let scene = Scene::new();
        let capture = scene.capture(&(1..=5).map(Exchange::new).collect::<Vec<_>>());
        let collector = Collector::start(Behaviour {
            partial: 2,
            ..Behaviour::default()
        })
        .unwrap();
        let pipe = scene.pipe();
        let endpoint = endpoint(&collector);
        let mut run = scene.run(
            &pipe,
            &[
                "--otlp-endpoint",
                &endpoint,
                "--otlp-protocol",
                protocol,
                "--otlp-signals",
                "traces,metrics",
                "--otlp-metrics-interval",
                "1s",
                // Both in one request.
                "--otlp-batch-size",
                "5",
                "--otlp-batch-delay",
                "1h",
            ],
        );
        let mut child = run.spawn().unwrap();
        let mut writer = opened(&pipe);
        writer.write_all(&fs::read(&capture).unwrap()).unwrap();
        let counted = |exported: &[collector::Exported]| {
            !collector::metrics(exported).is_empty() && {
                let health = health(&collector);
                of(&health, "llmtap.export.sent traces") == 3.0
                    && of(&health, "llmtap.export.dropped traces") == 2.0
                    && of(&health, "llmtap.export.dropped metrics") >= 2.0
            }
        };
        until(|| counted(&collector.exported()));
        drop(writer);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn one_that_is_never_taken_costs_no_other() {
    for protocol in PROTOCOLS {
        let scene = Scene::new();
        let mut exchanges: Vec<_> = (1..=40).map(Exchange::new).collect();
        exchanges[16].question = "poison".into();
        let capture = scene.capture(&exchanges);
        let collector = Collector::start(Behaviour {
            poison: Some("poison".into()),
            ..Behaviour::default()
        })
        .unwrap();
        let endpoint = endpoint(&collector);
        let arguments = [
            "--otlp-endpoint",
            &endpoint,
            "--otlp-protocol",
            protocol,
            "--otlp-content",
            "spans",
            "--content",
            "full",
        ];
        let (_, errors) = finished(scene.run(&capture, &arguments));
        assert!(errors.contains("1 given up (rejected"), "{errors}");
        let spans = collector.spans(39).unwrap();
        let ids: BTreeSet<String> = spans
            .iter()
            .map(|(_, span)| text(&span.attributes, "gen_ai.response.id"))
            .collect();
        assert_eq!((spans.len(), ids.len()), (39, 39), "{protocol}");
        assert!(!ids.contains("chatcmpl-17"));
    }
}

#[test]
fn a_collector_says_when_to_come_again() {
    for protocol in PROTOCOLS {
        let scene = Scene::new();
        let capture = scene.capture(&[Exchange::new(1)]);
        let collector = Collector::start(Behaviour {
            unavailable: 1,
            retry_after: Some(4),
            ..Behaviour::default()
        })
        .unwrap();
        let pipe = scene.pipe();
        let endpoint = endpoint(&collector);
        let arguments = [
            "--otlp-endpoint",
            &endpoint,
            "--otlp-protocol",
            protocol,
            "--otlp-signals",
            "traces",
        ];
        let mut child = scene.run(&pipe, &arguments).spawn().unwrap();
        let mut writer = opened(&pipe);
        let begun = Instant::now();
        writer.write_all(&fs::read(&capture).unwrap()).unwrap();
        collector.spans(1).unwrap();
        // It would come after a second by itself.
        assert!(begun.elapsed() >= Duration::from_secs(4), "{protocol}");
        drop(writer);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn the_end_does_not_wait_for_a_collector_that_is_silent() {
    for protocol in PROTOCOLS {
        let scene = Scene::new();
        let capture = scene.capture(&[Exchange::new(1)]);
        let collector = Collector::start(Behaviour {
            silent: true,
            ..Behaviour::default()
        })
        .unwrap();
        let endpoint = endpoint(&collector);
        let arguments = [
            "--otlp-endpoint",
            &endpoint,
            "--otlp-protocol",
            protocol,
            "--otlp-timeout",
            "1h",
            "--otlp-closing",
            "200ms",
        ];
        let (_, errors) = finished(scene.run(&capture, &arguments));
        assert!(errors.contains("1 could not be sent yet"), "{errors}");
        assert!(memmem(&scene.spooled(), b"chatcmpl-1"), "it waits there");
    }
}

#[test]
fn health_is_told_over_otlp_too() {
    let scene = Scene::new();
    let capture = scene.capture(&[Exchange::new(1), Exchange::new(2)]);
    let collector = Collector::start(Behaviour::default()).unwrap();
    finished(scene.run(&capture, &["--otlp-endpoint", &endpoint(&collector)]));
    let health = health(&collector);
    for (name, least) in [
        ("llmtap.events", 8.0),
        ("llmtap.bytes read", 500.0),
        ("llmtap.bytes cut", 0.0),
        ("llmtap.lost", 0.0),
        ("llmtap.exchanges", 2.0),
        ("llmtap.calls", 2.0),
        ("llmtap.connections", 0.0),
        ("llmtap.images", 0.0),
        ("llmtap.probes attached", 0.0),
        ("llmtap.faults http unpaired", 0.0),
        ("llmtap.faults content undecodable", 0.0),
        ("llmtap.images.judged verified", 0.0),
        ("llmtap.processes.released", 0.0),
        ("llmtap.kernel.loss ring_full", 0.0),
        ("llmtap.export.queued otlp", 0.0),
        ("llmtap.export.queued traces", 0.0),
        ("llmtap.export.waiting traces", 0.0),
        ("llmtap.export.dropped logs", 0.0),
        ("llmtap.export.failures metrics", 0.0),
        ("llmtap.memory", 1_000_000.0),
        ("llmtap.cpu", 0.001),
    ] {
        assert!(of(&health, name) >= least, "{name}");
    }
}

#[test]
fn each_signal_goes_its_own_way_by_the_standards_variables() {
    let scene = Scene::new();
    let capture = scene.capture(&[Exchange::new(1)]);
    let [traces, rest] = [(); 2].map(|()| Collector::start(Behaviour::default()).unwrap());
    let own = format!("{}/v1/traces", endpoint(&traces));
    let mut command = scene.run(&capture, &["--content", "full"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint(&rest))
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", own)
        .env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-tenant=red")
        .env("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none")
        .env("OTEL_SERVICE_NAME", "tap-eu")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=eu");
    finished(command);
    let ways = |collector: &Collector| {
        let exported = collector.exported().into_iter();
        let way = exported.map(|request| {
            let tenant = request.headers.get("x-tenant").unwrap().to_str().unwrap();
            let kind = request
                .headers
                .get("content-type")
                .unwrap()
                .to_str()
                .unwrap();
            format!("{tenant} {kind}")
        });
        way.collect::<BTreeSet<_>>()
    };
    assert_eq!(
        ways(&traces),
        ["red application/x-protobuf".to_owned()].into()
    );
    assert_eq!(ways(&rest), ["blue application/grpc".to_owned()].into());
    assert!(
        !traces.exported()[0]
            .headers
            .contains_key("content-encoding")
    );
    let (resource, _) = traces.spans(1).unwrap().remove(0);
    assert_eq!(text(&resource.attributes, "service.name"), "shop");
    assert_eq!(
        text(&resource.attributes, "deployment.environment.name"),
        "eu"
    );
    assert_eq!(collector::logs(&rest.exported()).len(), 1);
    let names: BTreeSet<String> = collector::metrics(&rest.exported())
        .iter()
        .map(|metrics| {
            text(
                &metrics.resource.as_ref().unwrap().attributes,
                "service.name",
            )
        })
        .collect();
    assert_eq!(names, ["shop".to_owned(), "tap-eu".to_owned()].into());
}

#[test]
fn numbers_count_from_the_last_export_where_that_is_wanted() {
    let scene = Scene::new();
    let pipe = scene.pipe();
    let collector = Collector::start(Behaviour::default()).unwrap();
    let endpoint = endpoint(&collector);
    let arguments = [
        "--otlp-endpoint",
        &endpoint,
        "--otlp-signals",
        "metrics",
        "--otlp-temporality",
        "delta",
        "--otlp-metrics-interval",
        "1s",
    ];
    let mut child = scene.run(&pipe, &arguments).spawn().unwrap();
    let mut writer = opened(&pipe);
    writer.write_all(first_line().as_bytes()).unwrap();
    // What all exports so far add up to.
    let counted = || {
        let exported = collector.exported();
        let each = exported
            .iter()
            .map(|one| of_shop(std::slice::from_ref(one)));
        each.sum::<u64>()
    };
    for number in 1..=3 {
        let lines = Exchange::new(number).lines();
        writer.write_all(lines.as_bytes()).unwrap();
        // Reading stops at the end of a block; the next call ends it.
        until(|| counted() >= number.saturating_sub(1));
    }
    drop(writer);
    assert!(child.wait().unwrap().success());
    assert!(collector.exported().len() > 1);
    assert_eq!(counted(), 3);
}

/// Calls of the shop in an export, by their durations.
fn of_shop(exported: &[collector::Exported]) -> u64 {
    let metrics = collector::metrics(exported).into_iter();
    let metrics = metrics
        .flat_map(|of| of.scope_metrics)
        .flat_map(|of| of.metrics);
    let durations = metrics.filter(|metric| metric.name == "gen_ai.client.operation.duration");
    let points = durations.flat_map(|metric| match metric.data {
        Some(metric::Data::Histogram(histogram)) => {
            assert_eq!(
                histogram.aggregation_temporality(),
                AggregationTemporality::Delta
            );
            histogram.data_points
        }
        other => panic!("{other:?}"),
    });
    points.map(|point| point.count).sum()
}
