//! The client libraries that people use.

use llmtap_e2e::{Client, Scene, Tap};

use crate::matched;

const PROMPT: &str = "Grüße an 漢字 🦀";
const GPT: &str = "gpt-4o-mini";
const CLAUDE: &str = "claude-sonnet-5";

/// Runs a client under the tap; each of its replies must be seen, with the usual prompt.
fn seen(model: &str, client: impl FnOnce(&Scene) -> Client) -> Vec<llmtap_e2e::Call> {
    seen_as(model, PROMPT, client)
}

fn seen_as(
    model: &str,
    prompt: &str,
    client: impl FnOnce(&Scene) -> Client,
) -> Vec<llmtap_e2e::Call> {
    let scene = Scene::new();
    let client = client(&scene);
    let tap = Tap::tail(&[]);
    let (pid, replies) = client.run();
    assert!(!replies.is_empty());
    let calls = matched(&scene, &tap, pid, &replies);
    for call in &calls {
        assert_eq!(call.text("gen_ai.request.model"), model);
        assert_eq!(call.asked(), prompt);
    }
    let ended = tap.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    calls
}

pub(crate) fn is_streamed(call: &llmtap_e2e::Call) -> bool {
    let first = call.attribute("gen_ai.response.time_to_first_chunk");
    first.as_f64().is_some_and(|seconds| seconds > 0.0)
}

#[test]
fn python_openai() {
    let calls = seen(GPT, |scene| scene.python("openai_sync", 3));
    for call in calls {
        assert_eq!(call.text("gen_ai.operation.name"), "chat");
        assert!(!is_streamed(&call));
    }
}

#[test]
fn python_openai_streamed() {
    let calls = seen(GPT, |scene| scene.python("openai_stream", 3));
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn python_openai_streamed_slowly_and_coded() {
    for coding in ["gzip", "br"] {
        let fields = format!(r#"{{"x-test-pause-ms":"20","x-test-coding":"{coding}"}}"#);
        let calls = seen(GPT, |scene| {
            scene.python("openai_stream", 1).fields(&fields)
        });
        assert!(calls.iter().all(is_streamed));
    }
}

#[test]
fn python_openai_async() {
    let calls = seen(GPT, |scene| scene.python("openai_async", 5));
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn python_openai_responses() {
    let calls = seen(GPT, |scene| scene.python("openai_responses", 2));
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn python_openai_embeddings() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (pid, replies) = scene.python("openai_embeddings", 1).run();
    let calls = tap.calls(1, |call| call.pid() == pid);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].text("gen_ai.operation.name"), "embeddings");
    assert_eq!(
        calls[0].text("gen_ai.request.model"),
        "text-embedding-3-small"
    );
    assert_eq!(calls[0].tokens("input"), replies[0].input);
}

#[test]
fn python_openai_errors() {
    for status in [401_u16, 429, 500] {
        let scene = Scene::new();
        let tap = Tap::tail(&[]);
        let fields = format!(r#"{{"x-test-status":"{status}"}}"#);
        let (pid, replies) = scene.python("openai_error", 1).fields(&fields).run();
        assert_eq!(replies[0].text, status.to_string());
        let calls = tap.calls(1, |call| call.pid() == pid);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].text("error.type"), status.to_string());
        assert_eq!(calls[0].0["status"]["code"], "error");
    }
}

#[test]
fn python_anthropic_streamed() {
    let calls = seen(CLAUDE, |scene| scene.python("anthropic_stream", 2));
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn python_requests() {
    seen(GPT, |scene| scene.python("requests_chat", 3));
}

#[test]
fn curl() {
    seen_as(GPT, "hello from curl", |scene| scene.curl(&[]));
}

#[test]
fn the_provider_is_known_by_its_host() {
    for (host, provider) in [
        ("127.0.0.1", "openai_compatible"),
        ("api.openai.com", "openai"),
    ] {
        let scene = Scene::new();
        let tap = Tap::tail(&[]);
        let (pid, replies) = scene.curl_to(host, &[]).run();
        let calls = tap.calls(1, |call| call.pid() == pid);
        assert_eq!(calls[0].text("gen_ai.provider.name"), provider);
        assert_eq!(calls[0].text("server.address"), host);
        assert_eq!(calls[0].said(), replies[0].text);
    }
}

#[test]
fn curl_over_http2() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (pid, replies) = scene.curl(&["--http2"]).run();
    assert!(scene.server.exchanges()[0].http2);
    matched(&scene, &tap, pid, &replies);
}

#[test]
fn node_openai() {
    let calls = seen(GPT, |scene| scene.node("openai", 3));
    assert!(!calls.iter().any(is_streamed));
}

#[test]
fn node_openai_streamed() {
    let calls = seen(GPT, |scene| scene.node("openai_stream", 4));
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn node_anthropic() {
    let calls = seen(CLAUDE, |scene| scene.node("anthropic", 3));
    assert!(!calls.iter().any(is_streamed));
}

#[test]
fn node_anthropic_streamed() {
    let calls = seen(CLAUDE, |scene| scene.node("anthropic_stream", 3));
    assert!(calls.iter().all(is_streamed));
}

#[test]
fn node_https() {
    let calls = seen(GPT, |scene| scene.node("https", 4));
    assert!(!calls.iter().any(is_streamed));
}

#[test]
fn plain_http() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let mut command = scene.command("curl".into());
    command
        .args(["--silent", "--fail", "--output", "/dev/null", "--data"])
        .arg(r#"{"model":"llama3.2","messages":[{"role":"user","content":"Grüße"}]}"#)
        .arg(format!("http://{}/api/chat", scene.server.http()));
    let (pid, _) = Client::new(command).run();
    let calls = tap.calls(1, |call| call.pid() == pid);
    assert_eq!(calls.len(), 1);
    let exchange = &scene.server.exchanges()[0];
    assert!(!exchange.encrypted);
    assert_eq!(calls[0].text("gen_ai.request.model"), "llama3.2");
    assert_eq!(calls[0].asked(), "Grüße");
    assert_eq!(calls[0].said(), exchange.text);
    assert_eq!(calls[0].tokens("input"), Some(exchange.input_tokens));
    assert_eq!(calls[0].tokens("output"), Some(exchange.output_tokens));
}

#[test]
fn plain_http_of_an_sdk() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let base = format!("http://{}/v1", scene.server.http());
    let client = scene.python("openai_stream", 2);
    let (pid, replies) = client.env("OPENAI_BASE_URL", &base).run();
    let calls = tap.calls(2, |call| call.pid() == pid);
    for reply in &replies {
        let call = calls.iter().find(|call| call.id() == reply.id);
        let call = call.expect("each reply has its call");
        assert_eq!(call.said(), reply.text);
        assert_eq!(call.tokens("output"), reply.output);
        assert_eq!(call.attribute("server.port"), scene.server.http().port());
    }
}
