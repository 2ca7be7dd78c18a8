//! Credentials are in no output and in no file.

use std::fs;

use llmtap_e2e::{CANARY, Scene, Tap};
use llmtap_test_server::SET_COOKIE;

/// What must not be found; the halves too, in case that somebody cuts.
fn secrets() -> [String; 2] {
    let half = |text: &str| text[text.len() / 2..].to_owned();
    [half(CANARY), half(SET_COOKIE)]
}

fn assert_absent(place: &str, text: &str) {
    for secret in secrets() {
        assert!(!text.contains(&secret), "{place} has a credential");
    }
}

#[test]
fn credentials_are_in_no_output() {
    let scene = Scene::new();
    for arguments in [
        &["tail", "--format", "jsonl", "--content", "full"][..],
        &[
            "tail",
            "--format",
            "text",
            "--content",
            "full",
            "--follow-text",
        ],
    ] {
        let tap = Tap::start(arguments);
        scene.python("openai_stream", 2).run();
        scene.python("anthropic_stream", 1).run();
        scene.node("openai", 1).run();
        tap.lines(4, |line| {
            line.contains("gpt-4o-mini") || line.contains("claude")
        });
        let ended = tap.interrupt();
        assert_absent("the output", &ended.output);
        assert_absent("standard error", &ended.errors);
    }
}

#[test]
fn credentials_are_in_no_capture() {
    let scene = Scene::new();
    let file = scene.folder().join("capture.jsonl");
    let tap = Tap::record(&file, &[]);
    let (_, replies) = scene.python("openai_sync", 1).run();
    scene.node("openai_stream", 1).run();
    scene.curl(&[]).run();
    // Keys in fields of HTTP/2 and in a signature.
    scene.protocol("xai_stream", 1).run();
    scene.protocol("gemini_stream", 1).run();
    scene.protocol("converse_stream", 1).run();
    let ended = tap.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    let plain = decoded(&fs::read_to_string(&file).expect("a capture was written"));
    assert!(
        plain.contains(&replies[0].id),
        "the traffic itself is there"
    );
    assert_absent("the capture", &plain);
}

/// All data of a capture, for each connection and direction in one piece.
fn decoded(capture: &str) -> String {
    let mut streams = std::collections::BTreeMap::<String, Vec<u8>>::new();
    for line in capture.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        if let Some(data) = line["data"].as_str() {
            let stream = format!("{}{}", line["conn"], line["dir"]);
            streams.entry(stream).or_default().extend(base64(data));
        }
    }
    streams
        .values()
        .map(|bytes| String::from_utf8_lossy(bytes))
        .collect()
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("base64")
}
