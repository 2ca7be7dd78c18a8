//! Protocols beside JSON over HTTP/1.1, as client libraries speak them.

use llmtap_e2e::{Call, Client, Reply, Scene, Tap};
use serde_json::json;

use crate::matched;
use crate::sdk::is_streamed;

const PROMPT: &str = "Grüße an 漢字 🦀";

/// Runs a client under the tap; its calls must tell its replies.
fn told(port: impl Fn(&Scene) -> u16, client: impl FnOnce(&Scene) -> Client) -> Vec<Call> {
    let scene = Scene::new();
    let client = client(&scene);
    let tap = Tap::tail(&[]);
    let (pid, replies) = client.run();
    let calls = tap.calls(replies.len(), |call| call.pid() == pid);
    tell(&calls, &replies, port(&scene));
    let ended = tap.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    calls
}

/// Each reply has its call. Where an API gives no ids, one is as good as another: these
/// clients ask the same again and again.
fn tell(calls: &[Call], replies: &[Reply], port: u16) {
    assert_eq!(calls.len(), replies.len(), "one call a reply");
    for reply in replies {
        let alike = replies.iter().filter(|other| other.id == reply.id).count();
        let of_reply: Vec<_> = calls.iter().filter(|call| call.id() == reply.id).collect();
        assert_eq!(of_reply.len(), alike, "calls for the reply {}", reply.id);
        for call in of_reply {
            agree(call, reply, port);
        }
    }
}

fn agree(call: &Call, reply: &Reply, port: u16) {
    assert!(!reply.text.is_empty());
    assert_eq!(call.kind(), "client");
    assert_eq!(call.id(), reply.id);
    assert_eq!(call.said(), reply.text);
    assert_eq!(call.tokens("input"), reply.input);
    assert_eq!(call.tokens("output"), reply.output);
    assert_eq!(call.attribute("server.port"), port);
    assert_eq!(call.attribute("llmtap.capture.lost_bytes").as_u64(), None);
    assert_eq!(call.0["status"]["code"], "unset");
}

fn plain(scene: &Scene) -> u16 {
    scene.server.http().port()
}

fn encrypted(scene: &Scene) -> u16 {
    scene.server.https().port()
}

#[test]
fn grpc_xai() {
    let calls = told(plain, |scene| scene.protocol("xai", 2));
    for call in calls {
        assert_eq!(call.text("gen_ai.operation.name"), "chat");
        assert_eq!(call.text("gen_ai.provider.name"), "x_ai");
        assert_eq!(call.text("gen_ai.request.model"), "grok-4");
        assert_eq!(call.text("gen_ai.response.model"), "grok-4-0709");
        assert_eq!(call.attribute("gen_ai.request.max_tokens"), 64);
        assert_eq!(call.attribute("gen_ai.request.temperature"), 0.5);
        assert_eq!(call.text("rpc.response.status_code"), "OK");
        let reasons = call.attribute("gen_ai.response.finish_reasons");
        assert_eq!(*reasons, json!(["REASON_STOP"]));
        assert!(call.asked().contains(PROMPT));
        assert!(!is_streamed(&call));
    }
}

#[test]
fn grpc_xai_streamed() {
    let fields = r#"{"x-test-pause-ms":"5"}"#;
    let calls = told(plain, |scene| {
        scene.protocol("xai_stream", 2).fields(fields)
    });
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn grpc_xai_compressed() {
    let fields = r#"{"x-test-coding":"gzip"}"#;
    let calls = told(plain, |scene| {
        let client = scene.protocol("xai_stream", 1).env("COMPRESS", "1");
        client.fields(fields)
    });
    assert!(calls[0].asked().contains(&PROMPT.repeat(100)));
}

#[test]
fn grpc_xai_refused() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let fields = r#"{"x-test-status":"401"}"#;
    let (pid, replies) = scene.protocol("xai_error", 1).fields(fields).run();
    assert_eq!(replies[0].text, "UNAUTHENTICATED");
    let calls = tap.calls(1, |call| call.pid() == pid);
    assert_eq!(calls[0].text("error.type"), "UNAUTHENTICATED");
    assert_eq!(calls[0].0["status"]["code"], "error");
    assert_eq!(calls[0].0["status"]["message"], replies[0].id.as_str());
}

/// What Bedrock's calls have in common.
fn of_bedrock(calls: &[Call]) {
    for call in calls {
        assert_eq!(call.text("gen_ai.provider.name"), "aws.bedrock");
        let model = "eu.anthropic.claude-sonnet-5-v1:0";
        assert_eq!(call.text("gen_ai.request.model"), model);
        assert_eq!(call.attribute("gen_ai.request.max_tokens"), 64);
        assert!(call.asked().contains(PROMPT));
        let reasons = call.attribute("gen_ai.response.finish_reasons");
        assert_eq!(*reasons, json!(["end_turn"]));
    }
}

#[test]
fn bedrock_converse() {
    let calls = told(encrypted, |scene| scene.protocol("converse", 2));
    of_bedrock(&calls);
    assert!(!calls.iter().any(is_streamed));
}

#[test]
fn bedrock_converse_streamed() {
    let calls = told(encrypted, |scene| scene.protocol("converse_stream", 2));
    of_bedrock(&calls);
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn bedrock_invoke_streamed() {
    let calls = told(encrypted, |scene| scene.protocol("invoke_stream", 2));
    of_bedrock(&calls);
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn bedrock_of_node() {
    let calls = told(encrypted, |scene| scene.node("converse", 3));
    of_bedrock(&calls);
    assert!(!calls.iter().any(is_streamed));
}

#[test]
fn bedrock_of_node_streamed() {
    let calls = told(encrypted, |scene| scene.node("converse_stream", 3));
    of_bedrock(&calls);
    assert!(calls.iter().all(is_streamed));
}

/// The AWS SDK for Go, whose program the sensor finds waiting.
fn bedrock_of_go(mode: &str) -> Vec<Call> {
    let scene = Scene::new();
    let mut client = scene.go("sdk", mode, 3).env("STEPPED", "1").start();
    assert_eq!(client.line().trim(), "waits");
    let tap = Tap::tail(&[]);
    client.nudge();
    let pid = client.pid();
    let replies = client.finish();
    let calls = tap.calls(replies.len(), |call| call.pid() == pid);
    tell(&calls, &replies, encrypted(&scene));
    let exchanges = scene.server.exchanges();
    assert!(exchanges.iter().all(|exchange| exchange.http2));
    of_bedrock(&calls);
    calls
}

#[test]
fn bedrock_of_go_unary() {
    assert!(!bedrock_of_go("bedrock").iter().any(is_streamed));
}

#[test]
fn bedrock_of_go_streamed() {
    assert!(bedrock_of_go("bedrock_stream").iter().all(is_streamed));
}

/// Both ends are seen, and tell the same.
#[test]
fn websocket_realtime() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (server, port) = scene.python_server("realtime_server.py");
    let client = scene.protocol("realtime", 3);
    let (pid, replies) = client.env("REALTIME_PORT", &port.to_string()).run();
    let of_both = |call: &Call| call.pid() == pid || call.pid() == server.pid();
    let calls = tap.calls(2 * replies.len(), of_both);
    assert_eq!(calls.len(), 2 * replies.len());
    for (turn, reply) in replies.iter().enumerate() {
        let mut ends: Vec<_> = calls.iter().filter(|call| call.id() == reply.id).collect();
        ends.sort_by_key(|call| call.kind());
        let [client, server] = ends[..] else {
            panic!("{} calls for one reply", ends.len());
        };
        agree(client, reply, port);
        assert_eq!(server.kind(), "server");
        assert_eq!(server.said(), reply.text);
        for call in ends {
            assert_eq!(call.text("gen_ai.operation.name"), "realtime");
            assert_eq!(call.text("gen_ai.request.model"), "gpt-realtime-9");
            assert_eq!(call.asked(), format!("{PROMPT} {turn}"));
            assert!(is_streamed(call));
        }
    }
}

fn over_http2(client: impl FnOnce(&Scene) -> Client) -> Vec<Call> {
    let scene = Scene::new();
    let client = client(&scene);
    let tap = Tap::tail(&[]);
    let (pid, replies) = client.run();
    let exchanges = scene.server.exchanges();
    assert!(exchanges.iter().all(|exchange| exchange.http2));
    matched(&scene, &tap, pid, &replies)
}

#[test]
fn http2_python_openai() {
    let fields = r#"{"x-test-pause-ms":"5"}"#;
    let calls = over_http2(|scene| scene.protocol("openai_http2", 6).fields(fields));
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn http2_node_undici() {
    let calls = over_http2(|scene| scene.node("openai_http2", 4));
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn http2_node() {
    let calls = over_http2(|scene| scene.node("http2", 4));
    assert!(!calls.iter().any(is_streamed));
}

fn of_gemini(calls: &[Call]) {
    for call in calls {
        assert_eq!(call.text("gen_ai.operation.name"), "generate_content");
        assert_eq!(call.text("gen_ai.request.model"), "gemini-9-flash");
        assert_eq!(call.asked(), PROMPT);
    }
}

#[test]
fn python_gemini_streamed() {
    let calls = told(encrypted, |scene| scene.protocol("gemini_stream", 2));
    of_gemini(&calls);
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn node_gemini() {
    let calls = told(encrypted, |scene| scene.node("gemini", 3));
    of_gemini(&calls);
    assert!(!calls.iter().any(is_streamed));
}

#[test]
fn node_gemini_streamed() {
    let calls = told(encrypted, |scene| scene.node("gemini_stream", 3));
    of_gemini(&calls);
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn python_ollama_streamed() {
    let calls = told(plain, |scene| scene.protocol("ollama", 2));
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn python_mistral() {
    told(encrypted, |scene| scene.protocol("mistral", 2));
}

#[test]
fn mcp_tools() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (server, port) = scene.python_server("mcp_server.py");
    let client = scene.protocol("mcp", 3);
    let (pid, replies) = client.env("MCP_PORT", &port.to_string()).run();
    let is_tool = |call: &Call| call.text("mcp.method.name") == "tools/call";
    for (pid, kind) in [(pid, "client"), (server.pid(), "server")] {
        let calls = tap.calls(replies.len(), |call| call.pid() == pid && is_tool(call));
        assert_eq!(calls.len(), replies.len());
        for (i, call) in calls.iter().enumerate() {
            assert_eq!(call.kind(), kind);
            assert_eq!(call.text("gen_ai.operation.name"), "execute_tool");
            assert_eq!(call.text("gen_ai.tool.name"), "add");
            assert!(call.text("mcp.protocol.version").starts_with("20"));
            assert_eq!(call.0["name"], "tools/call add");
            assert_eq!(replies[i].text, (i + 2).to_string());
            let arguments = call.attribute("gen_ai.tool.call.arguments");
            assert_eq!(object(arguments), json!({"a": i, "b": 2}));
            let result = object(call.attribute("gen_ai.tool.call.result"));
            assert_eq!(result["result"], i + 2);
        }
    }
}

/// An object, or text that holds one.
fn object(value: &serde_json::Value) -> serde_json::Value {
    match value.as_str() {
        Some(text) => serde_json::from_str(text).expect("JSON"),
        None => value.clone(),
    }
}
