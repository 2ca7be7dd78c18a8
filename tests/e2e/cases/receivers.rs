//! What others make of what `llmtap run` sends: their interfaces give back what was sent.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmtap_e2e::server::{free_port, wait};
use llmtap_e2e::{Call, Scene, Tap, variable};
use serde_json::{Value, json};

/// A receiver, which ends with its test.
struct Receiver {
    child: Child,
    port: u16,
}

impl Receiver {
    /// Starts `command`, which is to listen at `port`, and waits until `ready` answers there.
    fn start(mut command: Command, port: u16, log: &Path, ready: &str) -> Self {
        let log = fs::File::create(log).expect("our own folder");
        let errors = log.try_clone().expect("our own file");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // What it starts ends with it.
        child.process_group(0);
        let receiver = Self {
            child: child.spawn().expect("the receiver can be started"),
            port,
        };
        wait(ready, || receiver.fetch(&[], ready));
        receiver
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it answers at `path`, if it does.
    fn fetch(&self, arguments: &[&str], path: &str) -> Option<String> {
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "10"])
            .args(arguments)
            .arg(self.url(path))
            .output()
            .expect("curl is there");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    fn json(&self, arguments: &[&str], path: &str) -> Option<Value> {
        serde_json::from_str(&self.fetch(arguments, path)?).ok()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// `llmtap run`, which also prints what it sends.
fn run(scene: &Scene, arguments: &[&str]) -> Tap {
    let spool = scene.folder().join("spool");
    let spool = spool.to_str().expect("our own path");
    let mut all = vec!["run", "--file-path", "-", "--spool-directory", spool];
    all.extend(["--content", "full", "--otlp-batch-delay", "100ms"]);
    // Nobody's prices are known at an address of our own.
    let prices = scene.folder().join("prices.json");
    let price = json!({"usd": {"input": 0.15, "cache_read": 0.075, "output": 0.6}});
    let model = json!({"match": ["gpt-4o-mini"], "prices": [price]});
    let table = json!({
        "source": "this test", "retrieved": "2026-01-31",
        "providers": [{"names": ["*"], "models": [model]}],
    });
    fs::write(&prices, table.to_string()).expect("our own folder");
    all.extend(["--prices", prices.to_str().expect("our own path")]);
    all.extend(arguments);
    Tap::start(&all)
}

/// One streamed call, as it was printed.
fn call(scene: &Scene, tap: &Tap) -> Call {
    let (pid, _) = scene.python("openai_stream", 1).run();
    let mut calls = tap.calls(1, |call| call.pid() == pid);
    let call = calls.remove(0);
    // What is compared is there.
    assert_eq!(call.text("gen_ai.response.model"), "gpt-4o-mini");
    assert!(call.attribute("llmtap.cost.usd").as_f64() > Some(0.0));
    assert!(call.tokens("input") > Some(0) && call.tokens("output") > Some(0));
    assert!(!call.said().is_empty() && !call.asked().is_empty());
    call
}

#[test]
fn prometheus() {
    let scene = Scene::new();
    let ours = format!("127.0.0.1:{}", free_port());
    let tap = run(&scene, &["--prometheus", &ours]);
    let call = call(&scene, &tap);

    let home = PathBuf::from(variable("E2E_PROMETHEUS")).join("usr/bin");
    let port = free_port();
    let config = scene.folder().join("prometheus.yml");
    let job = json!({
        "job_name": "llmtap", "scrape_interval": "1s", "static_configs": [{"targets": [ours]}],
    });
    fs::write(&config, json!({"scrape_configs": [job]}).to_string()).expect("our own folder");
    let mut command = Command::new(home.join("prometheus"));
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            scene.folder().join("tsdb").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--enable-feature=exemplar-storage");
    let log = scene.folder().join("prometheus.log");
    let prometheus = Receiver::start(command, port, &log, "/-/ready");

    let model = call.text("gen_ai.request.model").to_owned();
    let of_model = format!("{{gen_ai_request_model=\"{model}\"}}");
    let query = |expression: &str| {
        let found = wait(expression, || {
            let path = "/api/v1/query";
            let query = format!("query={expression}");
            let answer = prometheus.json(&["--get", "--data-urlencode", &query], path)?;
            let value = answer["data"]["result"][0]["value"][1].as_str()?;
            value.parse::<f64>().ok()
        });
        assert!(found > 0.0, "{expression} is {found}");
        found
    };
    query(&format!(
        "gen_ai_client_operation_duration_seconds_count{of_model}"
    ));
    query(&format!("sum(gen_ai_client_token_usage_sum{of_model})"));
    query(&format!("sum(llmtap_client_cost_usd_total{of_model})"));
    query("up");
    let trace = call.0["trace_id"].as_str().expect("it has one").to_owned();
    wait("an exemplar", || {
        let query = "query=gen_ai_client_operation_duration_seconds_bucket";
        let all = prometheus.fetch(
            &[
                "--get",
                "--data-urlencode",
                query,
                "--data",
                "start=0",
                "--data",
                "end=9999999999",
            ],
            "/api/v1/query_exemplars",
        )?;
        all.contains(&trace).then_some(())
    });
    assert_clean(&home.join("promtool"), &ours);
}

/// `promtool` has nothing to say of our page.
fn assert_clean(promtool: &Path, ours: &str) {
    let script = format!(
        "curl --silent --fail http://{ours}/metrics | {} check metrics",
        promtool.display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("a shell");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

/// `program` of the environment that has the Python `python`.
fn beside(python: &str, program: &str) -> Command {
    let mut command = Command::new(Path::new(python).with_file_name(program));
    // Neither tells its makers of us.
    command.env("PHOENIX_TELEMETRY_ENABLED", "false");
    command.env("MLFLOW_DISABLE_TELEMETRY", "true");
    command
}

/// Sends to `receiver` as its users do.
fn send(scene: &Scene, receiver: &Receiver, fields: &str) -> Call {
    let endpoint = receiver.url("");
    let mut arguments = vec!["--otlp-endpoint", &endpoint, "--semconv", "both"];
    arguments.extend([
        "--otlp-protocol",
        "http/protobuf",
        "--otlp-signals",
        "traces",
    ]);
    arguments.extend(["--otlp-headers", fields]);
    call(scene, &run(scene, &arguments))
}

#[test]
#[ignore = "large downloads: cargo xtask test --receivers"]
fn phoenix() {
    let scene = Scene::new();
    let port = free_port();
    let mut command = beside(&variable("E2E_PHOENIX"), "phoenix");
    command
        .arg("serve")
        .env("PHOENIX_WORKING_DIR", scene.folder())
        .env("PHOENIX_HOST", "127.0.0.1")
        .env("PHOENIX_PORT", port.to_string())
        .env("PHOENIX_GRPC_PORT", free_port().to_string());
    let log = scene.folder().join("phoenix.log");
    let phoenix = Receiver::start(command, port, &log, "/healthz");

    let call = send(&scene, &phoenix, "a=b");
    let span = wait("the span", || {
        let all = phoenix.json(&[], "/v1/projects/default/spans?limit=1000")?;
        let mut all = all["data"].as_array()?.iter();
        let span = all.find(|span| span["context"]["span_id"] == call.0["span_id"])?;
        Some(span.clone())
    });
    assert_eq!(span["context"]["trace_id"], call.0["trace_id"]);
    assert_eq!(span["span_kind"], "LLM");
    let got = &span["attributes"];
    for name in [
        "gen_ai.response.model",
        "gen_ai.usage.input_tokens",
        "llmtap.cost.usd",
        "llm.model_name",
        "llm.token_count.prompt",
        "llm.token_count.completion",
        "llm.cost.total",
        "llm.input_messages.0.message.content",
        "llm.output_messages.0.message.content",
        "output.value",
    ] {
        assert!(!got[name].is_null(), "{name}");
        assert_eq!(got[name], *call.attribute(name), "{name}");
    }
    assert_eq!(got["llm.output_messages.0.message.content"], call.said());
}

#[test]
#[ignore = "large downloads: cargo xtask test --receivers"]
fn mlflow() {
    let scene = Scene::new();
    let port = free_port();
    let mut command = beside(&variable("E2E_MLFLOW"), "mlflow");
    command
        .args(["server", "--host", "127.0.0.1", "--workers", "1"])
        .args(["--port", &port.to_string()])
        .args(["--backend-store-uri", "sqlite:///mlflow.db"])
        .args(["--artifacts-destination", "artifacts"])
        .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        .current_dir(scene.folder());
    let log = scene.folder().join("mlflow.log");
    let mlflow = Receiver::start(command, port, &log, "/health");

    let call = send(&scene, &mlflow, "x-mlflow-experiment-id=0");
    let trace = call.0["trace_id"].as_str().expect("it has one");
    let path = format!("/api/3.0/mlflow/traces/get?trace_id=tr-{trace}");
    let answer = wait("the trace", || mlflow.json(&[], &path));
    // The server's side of the call is a span of the same trace.
    let mut spans = answer["trace"]["spans"].as_array().expect("spans").iter();
    let span = spans.find(|span| hex(&span["span_id"]) == call.0["span_id"]);
    let span = span.expect("our span");
    let sent = |name: &str| call.attribute(name).clone();
    let (input, output) = (
        sent("gen_ai.usage.input_tokens"),
        sent("gen_ai.usage.output_tokens"),
    );
    assert_eq!(
        value(span, "mlflow.llm.model"),
        sent("gen_ai.response.model")
    );
    assert_eq!(
        value(span, "gen_ai.request.model"),
        sent("gen_ai.request.model")
    );
    assert_eq!(
        value(span, "gen_ai.input.messages"),
        sent("gen_ai.input.messages")
    );
    assert_eq!(
        value(span, "gen_ai.output.messages"),
        sent("gen_ai.output.messages")
    );
    assert_eq!(value(span, "mlflow.spanOutputs"), call.said());
    assert_eq!(value(span, "llmtap.cost.usd"), sent("llmtap.cost.usd"));
    let counted = value(span, "mlflow.chat.tokenUsage");
    assert_eq!(
        (&counted["input_tokens"], &counted["output_tokens"]),
        (&input, &output)
    );
    // What it works out by itself is what we say.
    let cost = value(span, "mlflow.llm.cost")["total_cost"].as_f64();
    let ours = sent("llmtap.cost.usd").as_f64().expect("it has a cost");
    assert!(
        cost.is_some_and(|cost| (cost - ours).abs() < ours * 1e-6),
        "{cost:?} {ours}"
    );
}

/// An id that is given as bytes.
fn hex(base64: &Value) -> String {
    let bytes = STANDARD.decode(base64.as_str().expect("text"));
    let bytes = bytes.expect("base64").into_iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// An attribute of a span, out of the wrapping that OTLP gives values.
fn value(span: &Value, name: &str) -> Value {
    let mut attributes = span["attributes"].as_array().expect("attributes").iter();
    let pair = attributes.find(|pair| pair["key"] == name);
    plain(&pair.unwrap_or_else(|| panic!("no {name}"))["value"])
}

fn plain(value: &Value) -> Value {
    let Some((kind, value)) = value.as_object().and_then(|fields| fields.iter().next()) else {
        return Value::Null;
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    match kind.as_str() {
        "array_value" => list(&value["values"]).iter().map(plain).collect(),
        "kvlist_value" => {
            let pairs = list(&value["values"]);
            let pair = |pair: &Value| {
                (
                    pair["key"].as_str().unwrap_or_default().to_owned(),
                    plain(&pair["value"]),
                )
            };
            Value::Object(pairs.iter().map(pair).collect())
        }
        _ => value.clone(),
    }
}
