//! `llmtap run`, live: what real clients do arrives at a collector, by way of a real one,
//! and what llmtap itself sends is nowhere in it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use llmtap_e2e::{CANARY, Reply, Scene, Tap, variable};
use llmtap_test_server::collector::{self, Behaviour, Collector, Exported};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

/// Rotel, which hands on what it takes.
struct Rotel {
    child: Child,
    grpc: u16,
    http: u16,
}

impl Rotel {
    /// Starts with `collector` behind it.
    fn start(folder: &Path, collector: &Collector) -> Self {
        let python = PathBuf::from(variable("E2E_COLLECTORS"));
        let place = Command::new(python)
            .args(["-c", "import rotel; print(rotel.__path__[0])"])
            .output()
            .expect("the package is there");
        let place = String::from_utf8(place.stdout).expect("a path");
        let (grpc, http) = (free_port(), free_port());
        let child = Command::new(Path::new(place.trim()).join("rotel-agent"))
            .arg("start")
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
            .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .arg("--otlp-exporter-endpoint")
            .arg(format!("http://{}", collector.address()))
            .arg("--pid-file")
            .arg(folder.join("rotel.pid"))
            .arg("--log-file")
            .arg(folder.join("rotel.log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rotel can be started");
        Self { child, grpc, http }
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn text<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a str> {
    let pair = attributes.iter().find(|pair| pair.key == name)?;
    match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The span of each reply, among those of everybody on this host.
fn of_replies(exported: &[Exported], replies: &[Reply]) -> Vec<Span> {
    let spans = collector::spans(exported);
    let is_of = |span: &Span, reply: &Reply| {
        text(&span.attributes, "gen_ai.response.id") == Some(&reply.id)
    };
    replies
        .iter()
        .filter_map(|reply| {
            let found = spans.iter().find(|(_, span)| is_of(span, reply));
            found.map(|(_, span)| span.clone())
        })
        .collect()
}

#[test]
fn a_real_collector_takes_every_call_and_none_of_our_own_traffic() {
    let scene = Scene::new();
    let collector = Collector::start(Behaviour::default()).expect("a collector");
    let rotel = Rotel::start(scene.folder(), &collector);
    let spool = scene.folder().join("spool");
    for (protocol, port) in [("grpc", rotel.grpc), ("http/protobuf", rotel.http)] {
        let endpoint = format!("http://127.0.0.1:{port}");
        let tap = Tap::start(&[
            "run",
            "--otlp-endpoint",
            &endpoint,
            "--otlp-protocol",
            protocol,
            "--otlp-batch-delay",
            "100ms",
            "--spool-directory",
            spool.to_str().expect("our own path"),
            "--content",
            "full",
        ]);
        let (_, mut replies) = scene.python("openai_stream", 2).run();
        replies.extend(scene.node("openai", 1).run().1);
        let exported = collector
            .wait("all calls", |all| {
                of_replies(all, &replies).len() == replies.len()
            })
            .expect("all calls arrive");
        for (span, reply) in of_replies(&exported, &replies).iter().zip(&replies) {
            let said = text(&span.attributes, "gen_ai.output.messages");
            let said = said.expect("content is on");
            let quoted = serde_json::to_string(&reply.text).expect("a string");
            assert!(said.contains(&quoted), "{protocol}: {said}");
        }
        let pid = i64::from(tap.pid());
        let ended = tap.interrupt();
        assert!(ended.status.success(), "{}", ended.errors);
        for (resource, span) in collector::spans(&collector.exported()) {
            let own = resource.attributes.iter().any(|pair| {
                let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
                pair.key == "process.pid" && value == Some(&Value::IntValue(pid))
            });
            let path = text(&span.attributes, "url.path").unwrap_or_default();
            assert!(!own && !path.contains("TraceService") && path != "/v1/traces");
        }
    }
    let all = format!("{:?}", collector.exported());
    assert!(
        !all.contains(&CANARY[CANARY.len() / 2..]),
        "a credential has left"
    );
}
