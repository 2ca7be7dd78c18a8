//! What is recorded and replayed is what was seen live.

use std::collections::BTreeMap;
use std::process::Command;

use llmtap_e2e::{Call, Client, Scene, Tap, variable};
use serde_json::Value;

#[test]
fn a_replay_gives_the_calls_of_the_tail() {
    let scene = Scene::new();
    for name in ["capture.jsonl", "capture.jsonl.gz", "capture.jsonl.zst"] {
        let clients = vec![
            scene.python("openai_sync", 2),
            scene.python("openai_async", 4),
            scene.python("anthropic_stream", 1),
            scene.node("openai_stream", 3),
        ];
        replayed(&scene, name, clients, 10);
    }
}

/// HTTP/2 and its trailers stand in a capture as HTTP/1.1.
#[test]
fn a_replay_gives_the_calls_of_other_protocols() {
    let scene = Scene::new();
    let clients = vec![
        scene.protocol("xai", 1),
        scene.protocol("xai_stream", 2),
        scene.protocol("invoke_stream", 1),
        scene.protocol("openai_http2", 3),
    ];
    replayed(&scene, "capture.jsonl", clients, 7);
}

/// Runs clients, which make `count` calls, under a tail and a recorder, and replays.
fn replayed(scene: &Scene, name: &str, clients: Vec<Client>, count: usize) {
    let file = scene.folder().join(name);
    let tail = Tap::tail(&[]);
    let record = Tap::record(&file, &[]);
    let pids: Vec<u32> = clients.into_iter().map(|client| client.run().0).collect();
    tail.calls(count, |call| pids.contains(&call.pid()));
    let ended = record.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    let live = by_id(&tail.interrupt().calls, &pids);
    assert_eq!(live.len(), count);

    let output = Command::new(variable("LLMTAP"))
        .args(["replay", "--format", "jsonl", "--content", "full"])
        .arg(&file)
        .output()
        .expect("llmtap can be started");
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).expect("text");
    let calls: Vec<Call> = lines
        .lines()
        .map(|line| Call(serde_json::from_str(line).expect("a line of JSON")))
        .collect();
    assert_eq!(by_id(&calls, &pids), live, "{name}");
}

/// All that must be the same of each call. Two sensors see the same bytes at times
/// of their own and number connections for themselves.
fn by_id(calls: &[Call], pids: &[u32]) -> BTreeMap<String, (Value, u32)> {
    calls
        .iter()
        .filter(|call| pids.contains(&call.pid()))
        .map(|call| {
            let mut attributes = call.0["attributes"].clone();
            let fields = attributes.as_object_mut().expect("attributes");
            fields.retain(|name, value| {
                name != "llmtap.connection.id" && !name.contains("time") && !value.is_f64()
            });
            (call.id().to_owned(), (attributes, call.pid()))
        })
        .collect()
}
