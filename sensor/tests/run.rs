//! `llmtap run` as a whole: a capture goes in, and a collector of ours takes what comes
//! out, over each protocol, through outages and restarts. Needs no probes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use llmtap_test_server::collector::{self, Behaviour, Collector};
use llmtap_test_server::make_mutual;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// In every request, where a credential stands.
const CANARY: &str = "sk-canary-0123456789abcdefghij";

/// One exchange: a question, and the answer or an error.
struct Exchange {
    number: u64,
    question: String,
    status: u16,
}

impl Exchange {
    fn new(number: u64) -> Self {
        Self {
            number,
            question: format!("question {number}"),
            status: 200,
        }
    }

    /// Its lines in a capture, on a connection of its own.
    fn lines(&self) -> String {
        let at = self.number * 10_000_000;
        let open = json!({
            "type": "open", "conn": self.number, "ts": at, "pid": 4242, "comm": "shop",
            "exe": "/usr/bin/shop", "tls": "openssl", "role": "client",
            "local": "10.0.0.1:5000", "peer": "10.0.0.2:443", "sni": "api.openai.com",
        });
        let body = json!({
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": self.question}],
        });
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\n\
             authorization: Bearer {CANARY}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.to_string().len()
        );
        let reply = match self.status {
            200 => json!({
                "id": format!("chatcmpl-{}", self.number), "object": "chat.completion",
                "model": "gpt-4o-mini-2024-07-18",
                "choices": [{"index": 0, "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "an answer"}}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
            }),
            _ => json!({"error": {"message": "slow down", "type": "requests"}}),
        };
        let response = format!(
            "HTTP/1.1 {} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{reply}",
            self.status,
            reply.to_string().len()
        );
        let data = |ts: u64, dir: &str, text: &str| {
            let data = base64::engine::general_purpose::STANDARD.encode(text);
            json!({
                "type": "data", "conn": self.number, "ts": ts, "dir": dir,
                "len": text.len(), "data": data,
            })
        };
        let close = json!({"type": "close", "conn": self.number, "ts": at + 4_000_000});
        [
            open,
            data(at + 1_000_000, "write", &request),
            data(at + 3_000_000, "read", &response),
            close,
        ]
        .map(|line| format!("{line}\n"))
        .concat()
    }
}

fn first_line() -> String {
    let line = json!({
        "type": "capture", "version": 1, "epoch_ns": 1_760_000_000_000_000_000_u64, "host": "box",
    });
    format!("{line}\n")
}

/// A folder with what one test needs.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn capture(&self, exchanges: &[Exchange]) -> PathBuf {
        let path = self.path("capture.jsonl");
        let lines: String = exchanges.iter().map(Exchange::lines).collect();
        fs::write(&path, first_line() + &lines).unwrap();
        path
    }

    /// A capture that never ends unless it is told to.
    fn pipe(&self) -> PathBuf {
        self.named_pipe("pipe.jsonl")
    }

    fn named_pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    /// `llmtap run` on `capture`; it knows this scene's spool and no configuration of
    /// the host's.
    fn run(&self, capture: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmtap"));
        command
            .arg("run")
            .arg("--replay")
            .arg(capture)
            .args(arguments);
        for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("OTEL_")) {
            command.env_remove(name);
        }
        command
            .env("LLMTAP_CONFIG", self.empty_config())
            .env("LLMTAP_SPOOL_DIRECTORY", self.path("spool"))
            .env("LLMTAP_OTLP_BATCH_DELAY", "50ms")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn empty_config(&self) -> PathBuf {
        let path = self.path("empty.yaml");
        fs::write(&path, "").unwrap();
        path
    }

    /// Every byte that was written to the spool.
    fn spooled(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for lane in ["traces", "logs"] {
            for entry in fs::read_dir(self.path("spool").join(lane))
                .into_iter()
                .flatten()
            {
                all.extend(fs::read(entry.unwrap().path()).unwrap());
            }
        }
        all
    }
}

/// Runs to the end, and gives what it said: output and errors.
fn finished(mut command: Command) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{err}");
    (out, err)
}

fn endpoint(collector: &Collector) -> String {
    format!("http://{}", collector.address())
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let pair = attributes.iter().find(|pair| pair.key == name)?;
    pair.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    match attribute(attributes, name) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

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

#[test]
fn a_busy_collector_gets_it_later_and_a_small_one_in_pieces() {
    let scene = Scene::new();
    let exchanges: Vec<_> = (1..=40).map(Exchange::new).collect();
    let capture = scene.capture(&exchanges);
    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::start(Behaviour {
            unavailable: 1,
            longest: Some(8 << 10),
            ..Behaviour::default()
        })
        .unwrap();
        let pipe = scene.pipe();
        let arguments = [
            "--otlp-endpoint",
            &endpoint(&collector),
            "--otlp-protocol",
            protocol,
            "--otlp-signals",
            "traces",
        ];
        let mut child = scene.run(&pipe, &arguments).spawn().unwrap();
        let mut writer = opened(&pipe);
        writer.write_all(&fs::read(&capture).unwrap()).unwrap();
        let spans = collector.spans(40).unwrap();
        assert_eq!(spans.len(), 40, "{protocol}");
        drop(writer);
        assert!(child.wait().unwrap().success());
        fs::remove_file(pipe).unwrap();
    }
}

#[test]
fn an_outage_and_a_kill_lose_nothing() {
    const CALLS: u64 = 2_000;
    let scene = Scene::new();
    // Nobody listens at this port until the end.
    let port = Collector::start(Behaviour::default())
        .unwrap()
        .address()
        .port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let arguments = [
        "--otlp-endpoint",
        &endpoint,
        "--otlp-signals",
        "traces",
        "--prometheus",
        "127.0.0.1:0",
    ];
    let pipe = scene.pipe();
    let mut child = scene.run(&pipe, &arguments).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = errors
        .by_ref()
        .map(Result::unwrap)
        .find(|l| l.contains("/metrics"));
    let metrics = address_in(&line.unwrap());
    let mut writer = opened(&pipe);
    let lines: String = (1..=CALLS).map(|n| Exchange::new(n).lines()).collect();
    writer
        .write_all((first_line() + &lines).as_bytes())
        .unwrap();
    // All is in the spool when nothing more is in a queue.
    let waiting = format!("llmtap_export_queued{{exporter=\"traces\"}} {CALLS}\n");
    until(|| page(&metrics, "/metrics").contains(&waiting));
    child.kill().unwrap();
    child.wait().unwrap();
    let spooled = scene.spooled();
    assert!(memmem(&spooled, b"chatcmpl-2000"));
    assert!(
        !memmem(&spooled, &CANARY.as_bytes()[10..]),
        "the spool has a credential"
    );

    let collector = Collector::start(Behaviour {
        port,
        ..Behaviour::default()
    })
    .unwrap();
    let nothing = scene.capture(&[]);
    let pipe = scene.named_pipe("again.jsonl");
    let mut child = scene.run(&pipe, &arguments).spawn().unwrap();
    let mut writer = opened(&pipe);
    writer.write_all(&fs::read(nothing).unwrap()).unwrap();
    let spans = collector.spans(CALLS as usize).unwrap();
    drop(writer);
    assert!(child.wait().unwrap().success());
    let ids: BTreeSet<String> = spans
        .iter()
        .map(|(_, span)| text(&span.attributes, "gen_ai.response.id"))
        .collect();
    assert_eq!((spans.len() as u64, ids.len() as u64), (CALLS, CALLS));
}

/// As a collector that is down for long has it: calls go on coming, and llmtap is killed
/// and started again all the while.
#[test]
#[ignore = "takes long: cargo xtask bench outage"]
fn a_long_outage_and_kills_lose_nothing() {
    const RATE: u64 = 200;
    const KILLS: u64 = 4;
    let minutes = std::env::var("OUTAGE_MINUTES").ok();
    let minutes: u64 = minutes.and_then(|text| text.parse().ok()).unwrap_or(10);
    let each = minutes * 60 * RATE / KILLS;
    let scene = Scene::new();
    // Nobody listens at this port until the end.
    let port = Collector::start(Behaviour::default())
        .unwrap()
        .address()
        .port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let arguments = [
        "--otlp-endpoint",
        &endpoint,
        "--otlp-signals",
        "traces",
        "--prometheus",
        "127.0.0.1:0",
    ];
    for kill in 0..KILLS {
        let pipe = scene.named_pipe(&format!("{kill}.jsonl"));
        let mut child = scene.run(&pipe, &arguments).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = errors.by_ref().map(Result::unwrap);
        let metrics = address_in(&lines.find(|l| l.contains("/metrics")).unwrap());
        let mut writer = opened(&pipe);
        writer.write_all(first_line().as_bytes()).unwrap();
        let numbers: Vec<u64> = (kill * each + 1..=(kill + 1) * each).collect();
        for second in numbers.chunks(RATE as usize) {
            let calls: String = second.iter().map(|n| Exchange::new(*n).lines()).collect();
            writer.write_all(calls.as_bytes()).unwrap();
            thread::sleep(Duration::from_secs(1));
        }
        let all = (kill + 1) * each;
        let waiting = format!("llmtap_export_queued{{exporter=\"traces\"}} {all}\n");
        until(|| page(&metrics, "/metrics").contains(&waiting));
        child.kill().unwrap();
        child.wait().unwrap();
        println!("{all} calls wait in {} bytes", scene.spooled().len());
    }
    let calls = (KILLS * each) as usize;
    let behaviour = Behaviour {
        port,
        ..Behaviour::default()
    };
    let collector = Collector::start(behaviour).unwrap();
    let pipe = scene.pipe();
    let mut child = scene.run(&pipe, &arguments).spawn().unwrap();
    let mut writer = opened(&pipe);
    writer.write_all(first_line().as_bytes()).unwrap();
    let begun = Instant::now();
    for tenth in 1..10 {
        collector.spans(calls / 10 * tenth).unwrap();
    }
    let spans = collector.spans(calls).unwrap();
    println!("{calls} calls came in {:?}", begun.elapsed());
    drop(writer);
    assert!(child.wait().unwrap().success());
    let ids: BTreeSet<String> = spans
        .iter()
        .map(|(_, span)| text(&span.attributes, "gen_ai.response.id"))
        .collect();
    assert_eq!((spans.len(), ids.len()), (calls, calls));
}

#[test]
fn another_attempt_is_linked_and_only_what_was_asked_for_is_dropped() {
    let scene = Scene::new();
    let attempt = |number, status| Exchange {
        question: "the same".into(),
        status,
        ..Exchange::new(number)
    };
    let capture = scene.capture(&[attempt(1, 429), attempt(2, 200), Exchange::new(3)]);
    let collector = Collector::start(Behaviour::default()).unwrap();
    let file = scene.path("calls.jsonl");
    finished(scene.run(
        &capture,
        &[
            "--otlp-endpoint",
            &endpoint(&collector),
            "--file-path",
            file.to_str().unwrap(),
            // Only failures, and slow calls, of which there are none.
            "--sampling-ratio",
            "0.5",
        ],
    ));
    let lines = fs::read_to_string(&file).unwrap();
    let lines: Vec<Json> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let failed = lines
        .iter()
        .find(|line| line["status"]["code"] == "error")
        .unwrap();
    let spans = collector.spans(lines.len()).unwrap();
    assert_eq!(spans.len(), lines.len());
    for again in lines.iter().filter(|line| !line["links"].is_null()) {
        assert_eq!(again["links"][0]["span_id"], failed["span_id"]);
        assert_eq!(again["attributes"]["gen_ai.response.id"], "chatcmpl-2");
    }
    let metrics = collector
        .wait("metrics", |all| !collector::metrics(all).is_empty())
        .unwrap();
    let all = format!("{:?}", collector::metrics(&metrics));
    assert!(
        all.contains("count: 2"),
        "metrics count what is not sampled, too"
    );
}

#[test]
fn a_reload_changes_content_and_keeps_what_is_wrong_away() {
    let scene = Scene::new();
    let config = scene.path("config.yaml");
    let file = scene.path("calls.jsonl");
    let settings = |content: &str| {
        fs::write(
            &config,
            format!("content: {content}\nfile: {{path: {}}}\n", file.display()),
        )
        .unwrap();
    };
    settings("off");
    let pipe = scene.pipe();
    let mut command = scene.run(&pipe, &["--prometheus", "127.0.0.1:0"]);
    let mut child = command.env("LLMTAP_CONFIG", &config).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut writer = opened(&pipe);
    writer.write_all(first_line().as_bytes()).unwrap();
    let mut said_so_far = 0;
    // A capture is read in batches: so many calls fill one.
    let mut say = || {
        let numbers = said_so_far + 1..=said_so_far + 64;
        said_so_far += 64;
        let lines: String = numbers
            .map(|number| Exchange::new(number).lines())
            .collect();
        writer.write_all(lines.as_bytes()).unwrap();
        let written = || fs::read_to_string(&file).unwrap_or_default();
        until(|| written().contains(&format!("\"chatcmpl-{said_so_far}\"")));
        written().lines().last().unwrap().contains("question")
    };
    assert!(!say());
    for (content, said, shown) in [
        ("full", "was read anew", true),
        ("fulll", "stays as it was", true),
        ("off", "was read anew", false),
    ] {
        settings(content);
        signal(&child, "HUP");
        say();
        let line = errors.find(|line| line.contains("configuration")).unwrap();
        assert!(line.contains(said), "{line}");
        assert_eq!(say(), shown, "{content}");
    }
    signal(&child, "TERM");
    drop(writer);
    child.wait().unwrap();
}

#[test]
fn health_and_metrics_are_told_over_http() {
    let scene = Scene::new();
    let pipe = scene.pipe();
    let mut child = scene
        .run(&pipe, &["--prometheus", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let address = address_in(&errors.find(|line| line.contains("/metrics")).unwrap());
    let mut writer = opened(&pipe);
    writer
        .write_all((first_line() + &Exchange::new(1).lines()).as_bytes())
        .unwrap();
    let count = "gen_ai_client_operation_duration_seconds_count{service_name=\"shop\"";
    until(|| page(&address, "/metrics").contains(count));
    let text = page(&address, "/metrics");
    assert!(text.contains("llmtap_memory_bytes "), "{text}");
    assert!(page(&address, "/healthz").starts_with("HTTP/1.1 200"));
    // A capture has no moment at which all is covered.
    assert!(page(&address, "/readyz").starts_with("HTTP/1.1 503"));
    assert!(page(&address, "/elsewhere").starts_with("HTTP/1.1 404"));
    drop(writer);
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_a_way_out_it_says_so() {
    let scene = Scene::new();
    let capture = scene.capture(&[]);
    let output = scene.run(&capture, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("otlp.endpoint"), "{errors}");
}

/// A capture with one key in every place of a call, each a key of its own.
fn planted() -> String {
    let key = |place: &str| format!("sk-{place}-9876543210zyxwvutsrq");
    let call = json!({"id": "call_1", "type": "function", "function": {
        "name": "open", "arguments": json!({"secret": key("argument")}).to_string(),
    }});
    let body = json!({
        "model": "gpt-4o-mini",
        "user": key("user"),
        "metadata": {"note": key("metadata")},
        "messages": [
            {"role": "system", "content": format!("Never say {}.", key("system"))},
            {"role": "user", "content": [
                {"type": "text", "text": format!("is {} a good key?", key("question"))},
                {"type": "file", "file": {"filename": key("filename"), "file_data": "data:,x"}},
                {"type": "image_url", "image_url": {"url": format!("https://a.example/?k={}", key("url"))}},
            ]},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": key("result")},
        ],
        "tools": [{"type": "function", "function": {
            "name": "open", "description": key("description"), "parameters": {"type": "object"},
        }}],
    });
    let good = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": key("answer"), "tool_calls": [call],
        }}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    });
    let message = format!("Incorrect API key provided: {}.", key("error"));
    let bad = json!({"error": {"message": message, "type": "invalid_request_error"}});
    let fields = format!(
        "host: api.openai.com\r\nauthorization: Bearer {}\r\nx-api-key: {}\r\n\
         cookie: session={}\r\nx-custom: {}\r\nuser-agent: app/{}\r\n\
         tracestate: vendor={}\r\ntraceparent: 00-{}-b7ad6b7169203331-01\r\n\
         content-type: application/json",
        key("authorization"),
        key("apikey"),
        key("cookie"),
        key("field"),
        key("agent"),
        key("tracestate"),
        "0af7651916cd43dd8448eb211c80319c",
    );
    let lines = [(200, good), (401, bad)].map(|(status, reply)| {
        let request = format!(
            "POST /{}/v1/chat/completions?key={} HTTP/1.1\r\n{fields}\r\n\
             content-length: {}\r\n\r\n{body}",
            key("path"),
            key("query"),
            body.to_string().len()
        );
        let response = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\nset-cookie: a={}\r\n\
             content-length: {}\r\n\r\n{reply}",
            key("setcookie"),
            reply.to_string().len()
        );
        let open = json!({
            "type": "open", "conn": status, "ts": 1, "pid": 4242, "comm": "shop",
            "exe": "/usr/bin/shop", "tls": "openssl", "role": "client",
            "command_line": format!("shop --with {}", key("command")),
        });
        let data = |ts: u64, dir: &str, text: &str| {
            let data = base64::engine::general_purpose::STANDARD.encode(text);
            json!({"type": "data", "conn": status, "ts": ts, "dir": dir, "len": text.len(), "data": data})
        };
        let close = json!({"type": "close", "conn": status, "ts": 4_000_000});
        [
            open,
            data(1_000_000, "write", &request),
            data(3_000_000, "read", &response),
            close,
        ]
        .map(|line| format!("{line}\n"))
        .concat()
    });
    first_line() + &lines.concat()
}

/// Places of a call that are content: their owner may ask for them.
const CONTENT: [&str; 11] = [
    "user",
    "metadata",
    "system",
    "question",
    "filename",
    "url",
    "result",
    "description",
    "answer",
    "argument",
    "error",
];

#[test]
fn no_credential_comes_out_anywhere() {
    for content in ["off", "redacted", "full"] {
        let scene = Scene::new();
        let capture = scene.path("capture.jsonl");
        fs::write(&capture, planted()).unwrap();
        let collector = Collector::start(Behaviour::default()).unwrap();
        let (out, errors) = finished(scene.run(
            &capture,
            &[
                "--otlp-endpoint",
                &endpoint(&collector),
                "--otlp-headers",
                &format!("api-key={CANARY}"),
                "--content",
                content,
                "--semconv",
                "both",
                "--file-path",
                "-",
            ],
        ));
        assert_eq!(out.contains("a good key?"), content != "off", "{out}");
        assert!(out.contains("401") && out.contains("shop --with"), "{out}");
        let exported = collector
            .wait("all", |all| {
                collector::spans(all).len() == 2
                    && (content == "off" || !collector::logs(all).is_empty())
            })
            .unwrap();
        let requests: String = exported.iter().map(|e| format!("{:?}", e.body)).collect();
        let spooled = String::from_utf8_lossy(&scene.spooled()).into_owned();
        for (place, text) in [
            ("output", out),
            ("errors", errors),
            ("requests", requests),
            ("spool", spooled),
        ] {
            assert!(!text.contains(&CANARY[10..]), "{place} has our own key");
            // Found by their ends: what is cut is cut there.
            for found in keys(&text) {
                let is_asked_for = content == "full" && CONTENT.contains(&&*found);
                assert!(
                    is_asked_for,
                    "content {content}: {place} has the key of {found}"
                );
            }
        }
    }
}

/// Where the keys that are found in `text` were planted.
fn keys(text: &str) -> BTreeSet<String> {
    let ends = text.match_indices("-9876543210zyxwvutsrq");
    ends.map(|(at, _)| {
        text[..at]
            .rsplit("sk-")
            .next()
            .unwrap_or_default()
            .to_owned()
    })
    .collect()
}

/// The writing end of a pipe. That of reading is held, too, so that a reader which does
/// not come is no reason to wait.
fn opened(pipe: &Path) -> fs::File {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(pipe)
        .unwrap()
}

fn memmem(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Waits until `done`; fails after a minute.
fn until(done: impl Fn() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("waited in vain");
}

fn address_in(line: &str) -> String {
    let (_, rest) = line.split_once("http://").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

/// An answer with its head.
fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}
