//! Ways that plaintext may take beside TCP and a library's symbols, and what may happen to a
//! connection amid it.

use std::path::PathBuf;
use std::process::Command;

use llmtap_e2e::{Call, Client, Reply, Running, Scene, Tap, script, variable};

use crate::matched;
use crate::sdk::is_streamed;

#[test]
fn a_unix_domain_socket() {
    let scene = Scene::new();
    let path = scene.folder().join("model.sock");
    let mut command = scene.command(variable("E2E_PYTHON"));
    command.arg(script("unix_socket.py")).arg(&path);
    let mut server = Client::new(command).start();
    assert_eq!(server.line().trim(), "listens");
    let tap = Tap::tail(&[]);
    let mut command = scene.command("curl".into());
    let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"by a path"}]}"#;
    command
        .args(["--silent", "--show-error", "--fail", "--unix-socket"])
        .arg(&path)
        .args(["--header", "Content-Type: application/json"])
        .args(["--data", body, "http://localhost/v1/chat/completions"]);
    let (pid, replies) = Client::new(command).run();
    // The server is the other end, and goes on to the model over TCP.
    for (pid, kind) in [(pid, "client"), (server.pid(), "server")] {
        let of_end = |call: &Call| call.pid() == pid && call.kind() == kind;
        let calls = tap.calls(1, of_end);
        assert_eq!(calls.len(), 1);
        let call = &calls[0];
        agrees(call, &replies[0]);
        assert_eq!(call.asked(), "by a path");
        assert_eq!(call.text("llmtap.tls.library"), "none");
        assert!(call.attribute("network.peer.address").is_null());
    }
}

fn agrees(call: &Call, reply: &Reply) {
    assert_eq!(call.id(), reply.id);
    assert_eq!(call.said(), reply.text);
    assert_eq!(call.tokens("input"), reply.input);
    assert_eq!(call.tokens("output"), reply.output);
    assert!(call.attribute("llmtap.capture.lost_bytes").is_null());
}

/// `cargo xtask test` leaves it out where the kernel has no TLS.
#[test]
fn tls_of_the_kernel() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let mut command = scene.command(variable("E2E_PYTHON"));
    command.arg(script("kernel_tls.py")).arg("3");
    let (pid, replies) = Client::new(command).run();
    matched(&scene, &tap, pid, &replies);
}

/// BoringSSL in an extension module, without symbols.
#[test]
fn grpcio_over_tls() {
    let scene = Scene::new();
    let _held = scene.hold(&cygrpc());
    let tap = Tap::tail(&[]);
    let fields = r#"{"x-test-pause-ms":"5"}"#;
    let client = scene.protocol("xai_stream", 2).env("GRPC_TLS", "1");
    let (pid, replies) = client.fields(fields).run();
    let calls = tap.calls(replies.len(), |call| call.pid() == pid);
    assert_eq!(calls.len(), replies.len());
    for (call, reply) in calls.iter().zip(&replies) {
        agrees(call, reply);
        assert_eq!(call.text("llmtap.tls.library"), "boringssl");
        assert_eq!(call.text("gen_ai.request.model"), "grok-4");
        let server = scene.server.https();
        assert_eq!(call.attribute("server.port"), server.port());
        assert!(is_streamed(call));
    }
}

/// On one connection, half of them streamed.
#[test]
fn grpcio_over_tls_at_once() {
    let scene = Scene::new();
    let _held = scene.hold(&cygrpc());
    let tap = Tap::tail(&[]);
    let client = scene.protocol("xai_at_once", 6).env("GRPC_TLS", "1");
    let (pid, replies) = client.fields(r#"{"x-test-pause-ms":"5"}"#).run();
    let calls = tap.calls(replies.len(), |call| call.pid() == pid);
    assert_eq!(calls.len(), replies.len());
    for reply in &replies {
        let call = calls.iter().find(|call| call.id() == reply.id);
        let call = call.expect("each reply has its call");
        agrees(call, reply);
        assert_eq!(call.text("llmtap.tls.library"), "boringssl");
        assert!(call.asked().contains("Grüße an 漢字 🦀"));
    }
    let streamed = calls.iter().filter(|call| is_streamed(call)).count();
    assert_eq!(streamed, replies.len() / 2);
}

/// The extension module of grpcio.
fn cygrpc() -> PathBuf {
    let output = Command::new(variable("E2E_PYTHON"))
        .args([
            "-c",
            "from grpc._cython import cygrpc; print(cygrpc.__file__)",
        ])
        .output()
        .expect("Python can be started");
    String::from_utf8_lossy(&output.stdout).trim().into()
}

/// A client with rustls that makes one call of many over one connection when told so.
fn stepped(scene: &Scene, provider: &str) -> (Running, Reply) {
    let mut command = scene.command(variable("E2E_RUST"));
    command.args([provider, "1.3", "stepped"]);
    let mut client = Client::new(command).start();
    let first = client.reply();
    (client, first)
}

/// Its keys name a stream, and new ones another; the connection stays what it was.
#[test]
fn keys_that_change_amid_a_connection() {
    for provider in ["ring", "aws-lc"] {
        let scene = Scene::new();
        let _held = scene.hold(variable("E2E_RUST").as_ref());
        let tap = Tap::tail(&[]);
        let (mut client, first) = stepped(&scene, provider);
        let mut replies = vec![first];
        for order in ["call", "update", "call", "update", "call"] {
            client.order(order);
            replies.push(client.reply());
        }
        let pid = client.pid();
        client.finish();
        let calls = matched(&scene, &tap, pid, &replies);
        assert!(
            calls
                .iter()
                .all(|call| call.asked() == "Grüße ".repeat(4000))
        );
        one_connection(&scene);
    }
}

/// The sensor comes when the keys are in use already.
#[test]
fn joined_midway_where_records_are_encrypted() {
    for provider in ["ring", "aws-lc"] {
        let scene = Scene::new();
        let (mut client, _unseen) = stepped(&scene, provider);
        let tap = Tap::tail(&[]);
        let replies = ["call", "call"].map(|order| {
            client.order(order);
            client.reply()
        });
        let pid = client.pid();
        client.finish();
        matched(&scene, &tap, pid, &replies);
        one_connection(&scene);
    }
}

fn one_connection(scene: &Scene) {
    let exchanges = scene.server.exchanges();
    let clients: std::collections::BTreeSet<_> = exchanges.iter().map(|e| e.client).collect();
    assert_eq!(clients.len(), 1, "all of it went over one connection");
}
