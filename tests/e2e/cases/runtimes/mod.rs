//! Every runtime and TLS library that the sensor knows, each with real clients.

mod agents;
mod bun;
mod go;
mod languages;
mod libraries;
mod node;
mod python;

use llmtap_e2e::{Call, Client, Reply, Scene, Tap};

use crate::matched;
use crate::sdk::is_streamed;

/// Runs a client that the sensor finds waiting, and another one that comes later; each
/// reply of both must be seen by way of `library`, with its prompt, model and peer.
fn seen(library: &str, client: impl Fn(&Scene) -> Client) -> (Scene, Vec<Call>) {
    let scene = Scene::new();
    let mut waiting = client(&scene).env("STEPPED", "1").start();
    // What it needs is in its memory by then.
    assert_eq!(waiting.line().trim(), "waits");
    let tap = Tap::tail(&[]);
    waiting.nudge();
    let pid = waiting.pid();
    let mut calls = checked(&scene, &tap, library, pid, &waiting.finish());
    let (pid, replies) = client(&scene).run();
    calls.extend(checked(&scene, &tap, library, pid, &replies));
    let ended = tap.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    (scene, calls)
}

fn checked(scene: &Scene, tap: &Tap, library: &str, pid: u32, replies: &[Reply]) -> Vec<Call> {
    assert!(!replies.is_empty());
    let calls = matched(scene, tap, pid, replies);
    for call in &calls {
        assert_eq!(call.text("llmtap.tls.library"), library);
        assert_eq!(call.text("gen_ai.request.model"), "gpt-4o-mini");
        let peer = scene.server.https();
        assert_eq!(call.text("network.peer.address"), peer.ip().to_string());
        assert_eq!(call.attribute("network.peer.port"), peer.port());
    }
    calls
}

/// The prompt that the clients send unless they are told otherwise.
const PROMPT: &str = "Grüße an 漢字 🦀";

/// All calls went over the version of HTTP that was expected.
fn over_http2(scene: &Scene, http2: bool) -> bool {
    let exchanges = scene.server.exchanges();
    exchanges.iter().all(|exchange| exchange.http2 == http2)
}

/// Every second call was streamed, as the clients make them.
fn half_streamed(calls: &[Call]) -> bool {
    let streamed = calls.iter().filter(|call| is_streamed(call)).count();
    streamed * 2 == calls.len()
}

fn asked_as_usual(calls: &[Call]) -> bool {
    calls.iter().all(|call| call.asked() == PROMPT)
}
