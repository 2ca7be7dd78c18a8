//! Real clients call a server of ours; what `llmtap` says of it is held against what
//! the clients and the server know. Needs root and runs one test at a time.

mod capture;
mod containers;
mod export;
mod identity;
mod kubernetes;
mod library;
mod lifecycle;
mod listing;
mod load;
mod mcp;
mod privacy;
mod protocols;
mod receivers;
mod release;
mod runtimes;
mod rustls;
mod sdk;
mod trace;
mod transports;

use llmtap_e2e::{Call, Reply, Scene, Tap};

/// Waits until each reply has its call, one alone, and compares the two. The calls
/// come in the order of the replies.
fn matched(scene: &Scene, tap: &Tap, pid: u32, replies: &[Reply]) -> Vec<Call> {
    let calls = tap.calls(replies.len(), |call| call.pid() == pid);
    assert_eq!(calls.len(), replies.len(), "one call a reply");
    replies
        .iter()
        .map(|reply| {
            let of_reply: Vec<&Call> = calls.iter().filter(|c| c.id() == reply.id).collect();
            let [call] = of_reply[..] else {
                panic!("{} calls for the reply {}", of_reply.len(), reply.id);
            };
            compare(scene, call, reply);
            call.clone()
        })
        .collect()
}

/// What the client saw, what the server did and what was reported agree.
fn compare(scene: &Scene, call: &Call, reply: &Reply) {
    let exchanges = scene.server.exchanges();
    let exchange = exchanges
        .iter()
        .find(|exchange| exchange.id == reply.id)
        .expect("the server knows the reply");
    assert_eq!(call.kind(), "client");
    assert_eq!(call.said(), reply.text);
    assert_eq!(call.said(), exchange.text);
    assert_eq!(call.tokens("input"), reply.input);
    assert_eq!(call.tokens("output"), reply.output);
    assert_eq!(call.attribute("llmtap.capture.lost_bytes").as_u64(), None);
    assert_ne!(call.attribute("llmtap.capture.truncated"), true);
    assert_eq!(call.0["status"]["code"], "unset");
    let peer = scene.server.https();
    assert_eq!(call.text("server.address"), peer.ip().to_string());
    assert_eq!(call.attribute("server.port"), peer.port());
}
