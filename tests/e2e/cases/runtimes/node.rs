//! Node in other builds than the host's.

use std::process::Command;

use llmtap_e2e::{Client, Scene, script};

use super::libraries::{folder_of_libraries, unpacked};
use super::{asked_as_usual, over_http2};
use crate::sdk::is_streamed;

/// Debian's: a small program, all of Node in a library, OpenSSL in another one. It looks for
/// parts of itself in `/usr/share`, where this process alone finds them.
fn libnode(scene: &Scene, mode: &str) -> Client {
    let share = unpacked("usr/share");
    let mount =
        "mount -t overlay overlay -o \"lowerdir=$1:/usr/share\" /usr/share; shift; exec \"$@\"";
    let mut outer = scene.command("unshare".into());
    outer
        .args(["--mount", "sh", "-ec", mount, "sh"])
        .arg(&share)
        .env("LD_LIBRARY_PATH", folder_of_libraries())
        // What it says of servers without a name belongs to no test.
        .env("NODE_NO_WARNINGS", "1");
    let mut node = Command::new(unpacked("usr/bin/node"));
    node.arg(script("fetch.mjs")).args([mode, "3"]);
    Client::wrapped(outer, Client::new(node))
}

#[test]
fn in_a_library() {
    for (mode, streamed) in [("unary", false), ("stream", true), ("http2", false)] {
        let (scene, calls) = super::seen("openssl", |scene| libnode(scene, mode));
        assert!(asked_as_usual(&calls));
        assert!(calls.iter().all(|call| is_streamed(call) == streamed));
        assert!(over_http2(&scene, mode == "http2"));
    }
}
