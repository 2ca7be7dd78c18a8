//! MCP between a program and a server that it has started, over pipes (Python) and pairs of
//! sockets (Node).

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use llmtap_e2e::{Call, Client, Reply, Scene, Tap, module, script, variable};
use serde_json::{Value, json};

const TOOLS: usize = 3;
const WHY: &str = "no such thing";

#[derive(Clone, Copy)]
enum Sdk {
    Python,
    Node,
}

impl Sdk {
    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// The program and its script.
    fn words(self) -> [String; 2] {
        let (program, script) = match self {
            Self::Python => (variable("E2E_PYTHON"), script("mcp_stdio.py")),
            Self::Node => ("node".into(), module("mcp_stdio.mjs")),
        };
        [program, script.to_string_lossy().into_owned()]
    }
}

/// A client that starts a server.
fn client(scene: &Scene, client: Sdk, mode: &str, server: Sdk) -> Client {
    let [program, script] = client.words();
    let mut command: Command = scene.command(program);
    command.args([&*script, mode, &TOOLS.to_string()]);
    command.args(server.words()).arg("serve");
    Client::new(command)
}

fn method(call: &Call) -> &str {
    call.text("mcp.method.name")
}

fn span(call: &Call, which: &str) -> String {
    call.0[which].as_str().unwrap_or_default().to_owned()
}

/// The calls that `asked` are, as the process at the other end tells them.
fn served(tap: &Tap, asked: &[Call]) -> Vec<Call> {
    let spans: Vec<_> = asked.iter().map(|call| span(call, "span_id")).collect();
    let is_other_end = |call: &Call| {
        let parent = span(call, "parent_span_id");
        call.kind() == "server" && spans.contains(&parent)
    };
    let calls = tap.calls(asked.len(), is_other_end);
    assert_eq!(calls.len(), asked.len(), "one end for the other");
    calls
}

/// Text of an object, or an object.
fn object(call: &Call, name: &str) -> Value {
    serde_json::from_str(call.text(name)).unwrap_or_else(|_| call.attribute(name).clone())
}

/// A call of a tool, at either end.
fn agrees(call: &Call, turn: usize, reply: &Reply) {
    assert_eq!(call.text("gen_ai.operation.name"), "execute_tool");
    assert_eq!(call.text("network.transport"), "pipe");
    assert!(call.attribute("llmtap.capture.lost_bytes").is_null());
    let is_failure = turn == TOOLS;
    let (tool, arguments) = match is_failure {
        false => ("add", json!({"a": turn, "b": 2})),
        true => ("fail", json!({"why": WHY})),
    };
    assert_eq!(call.text("gen_ai.tool.name"), tool);
    assert_eq!(call.0["name"], format!("tools/call {tool}"));
    assert_eq!(object(call, "gen_ai.tool.call.arguments"), arguments);
    let result = object(call, "gen_ai.tool.call.result").to_string();
    assert!(result.contains(&reply.text), "{result}");
    if is_failure {
        assert_eq!(call.text("error.type"), "tool_error");
        assert!(reply.text.contains(WHY));
    } else {
        assert_eq!(call.0["status"]["code"], "unset");
        assert_eq!(reply.text, (turn + 2).to_string());
    }
}

/// Both processes tell each call of a tool, once, as one trace; gives what the client tells.
fn session(tap: &Tap, pid: u32, replies: &[Reply]) -> Vec<Call> {
    let is_of_client = |call: &Call| call.pid() == pid && call.kind() == "client";
    let is_tool = |call: &Call| method(call) == "tools/call" && is_of_client(call);
    let asked = tap.calls(replies.len(), is_tool);
    assert_eq!(asked.len(), replies.len());
    let served = served(tap, &asked);
    for (turn, reply) in replies.iter().take(TOOLS + 1).enumerate() {
        agrees(&asked[turn], turn, reply);
        agrees(&served[turn], turn, reply);
        assert_eq!(
            span(&asked[turn], "trace_id"),
            span(&served[turn], "trace_id")
        );
        assert_ne!(served[turn].pid(), pid);
        assert_eq!(served[turn].pid(), served[0].pid());
    }
    tap.calls(1, is_of_client)
}

/// A whole session; what the client tells of it.
fn whole_session(client_sdk: Sdk, server_sdk: Sdk) -> (Tap, u32, Vec<Call>) {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (pid, replies) = client(&scene, client_sdk, "call", server_sdk).run();
    let calls = session(&tap, pid, &replies);
    for call in calls
        .iter()
        .filter(|call| method(call).starts_with("tools/"))
    {
        assert!(call.text("mcp.protocol.version").starts_with("20"));
        assert_eq!(call.text("llmtap.mcp.server.name"), "tools");
    }
    let methods: Vec<_> = calls.iter().map(method).collect();
    assert!(methods.contains(&"tools/list"), "{methods:?}");
    let program = calls[0].0["resource"]["process.executable.name"].as_str();
    assert!(program.is_some_and(|name| name.starts_with(client_sdk.name())));
    (tap, pid, calls)
}

#[test]
fn python_by_python() {
    whole_session(Sdk::Python, Sdk::Python);
}

#[test]
fn node_by_python() {
    let (_, _, calls) = whole_session(Sdk::Python, Sdk::Node);
    let greeting = calls.iter().find(|call| method(call) == "initialize");
    assert!(greeting.is_some(), "it begins with a handshake");
}

/// The server asks the client amid a call.
#[test]
fn node_by_node() {
    let (tap, pid, calls) = whole_session(Sdk::Node, Sdk::Node);
    for call in calls
        .iter()
        .filter(|call| method(call).starts_with("tools/"))
    {
        assert_eq!(call.text("llmtap.mcp.client.name"), "caller");
        assert_eq!(call.text("llmtap.mcp.client.version"), "1.2");
        assert_eq!(call.text("llmtap.mcp.server.version"), "2.1");
    }
    let answers = tap.calls(1, |call| call.pid() == pid && call.kind() == "server");
    assert_eq!(answers.len(), 1);
    assert_eq!(method(&answers[0]), "roots/list");
    let cause = calls
        .iter()
        .find(|call| call.text("gen_ai.tool.name") == "where");
    let cause = cause.expect("the call of the tool");
    assert_eq!(span(&answers[0], "trace_id"), span(cause, "trace_id"));
}

/// The sensor comes when both processes talk already. A server that uses its standard input
/// and output is told at once; one that has moved them, as Python's, after an exchange.
#[test]
fn joined_midway() {
    for (server, unseen) in [(Sdk::Node, 0), (Sdk::Python, 1)] {
        let scene = Scene::new();
        let mut client = client(&scene, Sdk::Python, "stepped", server).start();
        client.nudge();
        client.reply();
        let tap = Tap::tail(&[]);
        let mut next = || {
            client.nudge();
            client.reply()
        };
        let replies: Vec<_> = (0..TOOLS).map(|_| next()).collect();
        let pid = client.pid();
        let is_tool = |call: &Call| call.pid() == pid && method(call) == "tools/call";
        let asked = tap.calls(replies.len(), is_tool);
        assert_eq!(asked.len(), replies.len());
        let served = served(&tap, &asked[unseen..]);
        for (turn, reply) in (1..).zip(&replies) {
            agrees(&asked[turn - 1], turn, reply);
        }
        for (turn, reply) in (1..).zip(&replies).skip(unseen) {
            agrees(&served[turn - 1 - unseen], turn, reply);
        }
        client.finish();
        let ended = tap.interrupt();
        let broken = |call: &&Call| call.text("error.type") == "stream_interrupted";
        let ours = ended
            .calls
            .iter()
            .filter(|call| call.pid() == pid || served[0].pid() == call.pid());
        assert_eq!(ours.filter(broken).count(), 0);
    }
}

/// A capture gives the same calls again; one without content holds no word of them.
#[test]
fn recorded_and_replayed() {
    let scene = Scene::new();
    for content in ["full", "redacted"] {
        let file = scene.folder().join(content);
        let tap = Tap::record(&file, &["--content", content]);
        let (pid, replies) = client(&scene, Sdk::Node, "call", Sdk::Python).run();
        let ended = tap.interrupt();
        assert!(ended.status.success(), "{}", ended.errors);
        assert_eq!(traffic(&file).contains(WHY), content == "full");
        let calls = replay(&file);
        let of_tools = |kind: &str| -> Vec<&Call> {
            let is_end = |call: &&Call| call.kind() == kind && method(call) == "tools/call";
            calls.iter().filter(is_end).collect()
        };
        let mut asked = of_tools("client");
        asked.retain(|call| call.pid() == pid);
        assert_eq!(asked.len(), replies.len());
        let served = of_tools("server");
        for (turn, reply) in replies.iter().take(TOOLS + 1).enumerate() {
            let tool = if turn == TOOLS { "fail" } else { "add" };
            assert_eq!(asked[turn].text("gen_ai.tool.name"), tool);
            if content == "full" {
                agrees(asked[turn], turn, reply);
            }
            let span = span(asked[turn], "span_id");
            let is_below = |call: &&&Call| call.0["parent_span_id"] == *span;
            assert_eq!(served.iter().filter(is_below).count(), 1);
        }
    }
}

/// All bytes that a capture holds.
fn traffic(file: &Path) -> String {
    let capture = std::fs::read_to_string(file).expect("a capture");
    let mut bytes = Vec::new();
    for line in capture.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let data = line["data"].as_str().unwrap_or_default();
        bytes.extend(BASE64_STANDARD.decode(data).expect("base64"));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn replay(file: &Path) -> Vec<Call> {
    let output = Command::new(variable("LLMTAP"))
        .args(["replay", "--format", "jsonl", "--content", "full"])
        .arg(file)
        .output()
        .expect("llmtap can be started");
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).expect("text");
    let call = |line| Call(serde_json::from_str(line).expect("a line of JSON"));
    lines.lines().map(call).collect()
}
