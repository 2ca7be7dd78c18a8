//! Agents, and a proxy, that come as one large program without symbols.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use llmtap_e2e::server::free_port;
use llmtap_e2e::{CANARY, Call, Client, Reply, Running, Scene, Tap, hashes_of_bodies, variable};
use serde_json::{Value, json};

use crate::sdk::is_streamed;

/// Runs an agent until it has answered, once so that the sensors know its file, and once
/// to look: what crossed is there to the last byte, both ways.
fn check(agent: impl Fn(&Scene, &Path) -> Command) {
    let scene = Scene::new();
    let home = scene.folder().join("home");
    fs::create_dir_all(&home).expect("a folder can be made");
    let capture = scene.folder().join("capture.jsonl");
    let tap = Tap::tail(&[]);
    let record = Tap::record(&capture, &[]);
    run(agent(&scene, &home));
    let before = scene.server.exchanges().len();
    let (pid, output) = run(agent(&scene, &home));
    let exchanges = scene.server.exchanges().split_off(before);
    assert!(!exchanges.is_empty());
    for exchange in &exchanges {
        // The server is a process of this host, too.
        let wanted = |call: &Call| call.id() == exchange.id && call.kind() == "client";
        let calls = tap.calls(1, wanted);
        assert_eq!(calls.len(), 1);
        let call = &calls[0];
        assert_eq!(call.pid(), pid);
        assert_eq!(call.text("llmtap.tls.library"), "boringssl");
        assert_eq!(call.said(), exchange.text);
        assert_eq!(call.tokens("input"), Some(exchange.input_tokens));
        assert_eq!(call.tokens("output"), Some(exchange.output_tokens));
        assert!(is_streamed(call));
    }
    let last = exchanges.last().expect("invariant: there is one");
    assert!(output.contains(&last.text), "{output}");
    let of_last = tap.calls(1, |call| call.id() == last.id && call.kind() == "client");
    assert!(of_last[0].asked().contains("Grüße an 漢字"));

    let ended = record.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    let hashes = hashes_of_bodies(&capture);
    for exchange in &exchanges {
        assert!(hashes.contains(&exchange.request_sha256), "the request");
        assert!(hashes.contains(&exchange.reply_sha256), "the reply");
    }
}

/// Its process, and what it printed.
fn run(mut agent: Command) -> (u32, String) {
    let agent = agent.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let agent = agent.expect("the agent can be started");
    let pid = agent.id();
    let output = agent.wait_with_output().expect("invariant: our own child");
    assert!(output.status.success(), "{}", output.status);
    (pid, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An agent with settings of its own and none of the user's.
fn command(scene: &Scene, home: &Path, program: &str) -> Command {
    let mut command = Command::new(Path::new(&variable("E2E_AGENTS")).join(program));
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("TERM", "dumb")
        .env("NODE_EXTRA_CA_CERTS", scene.server.authority())
        .current_dir(home);
    command
}

/// Envoy before the scene's model: plain HTTP from its clients, TLS to the model.
struct Envoy {
    running: Running,
    port: u16,
}

impl Envoy {
    fn start(scene: &Scene, http2: bool) -> Self {
        let port = free_port();
        let file = scene.folder().join("envoy.json");
        let settings = envoy_settings(scene, port, http2);
        fs::write(&file, settings.to_string()).expect("our own folder");
        let mut command = Command::new(variable("E2E_ENVOY"));
        command.arg("--config-path").arg(&file);
        command.args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
        ]);
        let mut running = Client::new(command).start();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(running.runs(), "envoy ended");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self { running, port }
    }
}

/// An extension of Envoy's, which is known by its type.
fn extension(kind: &str, mut settings: Value) -> Value {
    settings["@type"] = format!("type.googleapis.com/envoy.extensions.{kind}").into();
    settings
}

fn envoy_settings(scene: &Scene, port: u16, http2: bool) -> Value {
    let at = |port| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let router = extension("filters.http.router.v3.Router", json!({}));
    let connections = extension(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "in", "http_filters": [{"name": "router", "typed_config": router}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "model"}},
            ]}]},
        }),
    );
    let trusted = json!({"trusted_ca": {"filename": scene.server.authority()}});
    let tls = extension(
        "transport_sockets.tls.v3.UpstreamTlsContext",
        json!({"common_tls_context": {"validation_context": trusted}}),
    );
    let version = if http2 {
        "http2_protocol_options"
    } else {
        "http_protocol_options"
    };
    let options = "upstreams.http.v3.HttpProtocolOptions";
    let protocol = extension(options, json!({"explicit_http_config": {version: {}}}));
    let endpoint = json!({"endpoint": {"address": at(scene.server.https().port())}});
    json!({"static_resources": {
        "listeners": [{"address": at(port), "filter_chains": [
            {"filters": [{"name": "http", "typed_config": connections}]},
        ]}],
        "clusters": [{
            "name": "model", "transport_socket": {"name": "tls", "typed_config": tls},
            "load_assignment": {"cluster_name": "model", "endpoints": [{"lb_endpoints": [endpoint]}]},
            "typed_extension_protocol_options": {format!("envoy.extensions.{options}"): protocol},
        }],
    }})
}

/// What the proxy says to the model for its client.
fn relayed(scene: &Scene, tap: &Tap, envoy: &Envoy, reply: &Reply, streamed: bool) {
    let of_proxy = |call: &Call| {
        call.id() == reply.id && call.pid() == envoy.running.pid() && call.kind() == "client"
    };
    let calls = tap.calls(1, of_proxy);
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!(call.text("llmtap.tls.library"), "boringssl");
    assert_eq!(call.text("gen_ai.request.model"), "gpt-4o-mini");
    assert_eq!(call.asked(), super::PROMPT);
    assert_eq!(call.said(), reply.text);
    assert_eq!(call.tokens("input"), reply.input);
    assert_eq!(call.tokens("output"), reply.output);
    // The host that its client named stays what it was.
    let peer = scene.server.https();
    assert_eq!(call.attribute("network.peer.port"), peer.port());
    assert_eq!(is_streamed(call), streamed);
}

#[test]
#[ignore = "large downloads: cargo xtask test --agents"]
fn envoy() {
    for http2 in [false, true] {
        let scene = Scene::new();
        let envoy = Envoy::start(&scene, http2);
        let base = format!("http://127.0.0.1:{}/v1", envoy.port);
        let tap = Tap::tail(&[]);
        for (mode, streamed) in [("openai_sync", false), ("openai_async", true)] {
            let client = scene.python(mode, 4).env("OPENAI_BASE_URL", &base);
            let (_, replies) = client.run();
            assert_eq!(replies.len(), 4);
            for reply in &replies {
                relayed(&scene, &tap, &envoy, reply, streamed);
            }
        }
        assert!(super::over_http2(&scene, http2));
    }
}

#[test]
#[ignore = "large downloads: cargo xtask test --agents"]
fn claude_code() {
    check(|scene, home| {
        let mut claude = command(scene, home, "claude");
        claude
            .args(["-p", "Grüße an 漢字", "--model", "claude-sonnet-4-5"])
            .env(
                "ANTHROPIC_BASE_URL",
                format!("https://{}", scene.server.https()),
            )
            .env("ANTHROPIC_API_KEY", CANARY)
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        claude
    });
}

#[test]
#[ignore = "large downloads: cargo xtask test --agents"]
fn opencode() {
    check(|scene, home| {
        let settings = json!({
            "autoupdate": false,
            "provider": {"test": {
                "npm": "@ai-sdk/openai-compatible",
                "options": {"baseURL": format!("https://{}/v1", scene.server.https()), "apiKey": CANARY},
                "models": {"test-1": {"name": "test"}},
            }},
        });
        let folder = home.join(".config/opencode");
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::write(folder.join("opencode.json"), settings.to_string()).expect("it can be written");
        let mut opencode = command(scene, home, "opencode");
        opencode
            .args(["run", "-m", "test/test-1", "Grüße an 漢字"])
            .env("OPENCODE_DISABLE_AUTOUPDATE", "1");
        opencode
    });
}
