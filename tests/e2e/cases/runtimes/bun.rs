//! Bun, which has BoringSSL inside and no symbols of it.

use llmtap_e2e::{Client, Scene, script, variable};
use sha2::{Digest, Sha256};

use crate::sdk::is_streamed;

use super::asked_as_usual;

/// The last one to send a request in one piece, however long.
const USUAL: &str = "1.3.14";
const OTHERS: [&str; 2] = ["1.2.23", "1.4.5"];

/// `clients/fetch.mjs` under a version of Bun.
fn bun(scene: &Scene, version: &str, mode: &str, count: usize) -> Client {
    let mut command = scene.command(format!("{}/bun-{version}", variable("E2E_BUN")));
    let script = script("fetch.mjs");
    command.arg(script).arg(mode).arg(count.to_string());
    Client::new(command)
}

fn check(version: &str) {
    let (_, calls) = super::seen("boringssl", |scene| bun(scene, version, "unary", 2));
    assert!(asked_as_usual(&calls) && !calls.iter().any(is_streamed));
    let (_, calls) = super::seen("boringssl", |scene| bun(scene, version, "stream", 5));
    assert!(asked_as_usual(&calls) && calls.iter().all(is_streamed));

    let (scene, calls) = super::seen("boringssl", |scene| bun(scene, version, "http2", 4));
    assert!(asked_as_usual(&calls) && super::over_http2(&scene, true));

    // 1.6 megabytes there, as much back.
    let (_, calls) = super::seen("boringssl", |scene| {
        bun(scene, version, "big", 2).fields(r#"{"x-test-words":"12000"}"#)
    });
    // As clients/fetch.mjs makes it.
    let words: Vec<String> = (0..200_000).map(|i| format!("{i:07x}")).collect();
    let prompt = Sha256::digest(words.join(" "));
    assert!(
        calls
            .iter()
            .all(|call| Sha256::digest(call.asked()) == prompt)
    );
}

#[test]
fn usual() {
    check(USUAL);
}

#[test]
#[ignore = "large downloads: cargo xtask test --agents"]
fn others() {
    OTHERS.into_iter().for_each(check);
}
