//! Agents that come as one large program without symbols.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use llmtap_e2e::{CANARY, Call, Scene, Tap, hashes_of_bodies, variable};
use serde_json::json;

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
