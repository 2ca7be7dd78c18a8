//! Much at once, and big.

use llmtap_e2e::{Call, Scene, Tap};
use sha2::{Digest, Sha256};

use crate::{compare, matched};

#[test]
fn a_hundred_short_lived_processes() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let mut replies = Vec::new();
    for _ in 0..100 {
        let (pid, mut seen) = scene.curl(&[]).run();
        replies.push((pid, seen.remove(0)));
    }
    // The server's end of each is seen as well.
    let ours = |call: &Call| {
        call.kind() == "client" && replies.iter().any(|(_, reply)| reply.id == call.id())
    };
    let calls = tap.calls(100, ours);
    assert_eq!(calls.len(), 100);
    for (pid, reply) in &replies {
        let call = calls.iter().find(|call| call.id() == reply.id);
        let call = call.expect("each process has its call, from the first");
        assert_eq!(call.pid(), *pid);
        assert_eq!(call.0["resource"]["service.name"], "curl");
        compare(&scene, call, reply);
    }
}

#[test]
fn eight_megabytes_in_one_prompt() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (pid, replies) = scene.python("big_prompt", 8).run();
    let calls = matched(&scene, &tap, pid, &replies);
    // As clients/sdk.py makes it.
    let words: Vec<String> = (0..8 * 131_072).map(|i| format!("{i:07x}")).collect();
    let prompt = words.join(" ");
    assert!(prompt.len() > 8_000_000);
    assert_eq!(
        Sha256::digest(calls[0].asked()),
        Sha256::digest(prompt),
        "the prompt is what was sent"
    );
}

#[test]
fn two_hundred_streams_at_once() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let client = scene.python("openai_async", 200);
    let (pid, replies) = client
        .fields(r#"{"x-test-pause-ms":"20","x-test-words":"40"}"#)
        .run();
    assert_eq!(replies.len(), 200);
    matched(&scene, &tap, pid, &replies);
}

#[test]
fn a_long_call_after_requests_that_were_none() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (pid, replies) = scene.python("long_after_gets", 200).run();
    let calls = matched(&scene, &tap, pid, &replies);
    assert_eq!(calls[0].asked(), "word ".repeat(200 * 200));
    let clients: std::collections::BTreeSet<_> =
        scene.server.exchanges().iter().map(|e| e.client).collect();
    assert_eq!(clients.len(), 1, "all of it went over one connection");
}

#[test]
fn a_call_after_much_that_is_none() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (pid, replies) = scene.python("gateway", 30).run();
    matched(&scene, &tap, pid, &replies);
    let clients: std::collections::BTreeSet<_> =
        scene.server.exchanges().iter().map(|e| e.client).collect();
    assert_eq!(clients.len(), 1, "all of it went over one connection");
}
