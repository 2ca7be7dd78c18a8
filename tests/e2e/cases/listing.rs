//! What `llmtap ls` says of processes, and hooks that are taken away again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use llmtap_e2e::{Client, Running, Scene, Tap, script, traces, variable};
use serde_json::Value;

/// Lists, until `meanwhile` is over and a little more; gives what it says of each of the processes.
fn listed(pids: &[u32], meanwhile: impl FnOnce()) -> Vec<Value> {
    let tap = Tap::start(&["ls", "--for", "10m", "--format", "jsonl"]);
    meanwhile();
    // What has just happened is on its way, and is judged once a second.
    sleep(Duration::from_secs(2));
    let ended = tap.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    let lines = ended.output.lines();
    let rows: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let of = |pid: &u32| {
        let row = rows.iter().find(|row| row["pid"] == *pid);
        row.unwrap_or_else(|| panic!("nothing of {pid}: {rows:?}"))
            .clone()
    };
    pids.iter().map(of).collect()
}

/// Ends a lister, a little after what is to be seen; gives what it says of a file that a
/// process has mapped.
pub(crate) fn row(tap: Tap, pid: u32, file: &Path) -> Value {
    sleep(Duration::from_secs(2));
    let ended = tap.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    let rows = ended.output.lines();
    let mut rows = rows.map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let row = rows.find(|row| row["pid"] == pid && row["file"].as_str() == file.to_str());
    row.unwrap_or_else(|| panic!("nothing of {pid}: {}", ended.output))
}

#[test]
fn who_was_seen_and_who_waits() {
    let scene = Scene::new();
    let stepped = || {
        let client = scene.python("requests_chat", 4).env("STEPPED", "1");
        let mut client = client.start();
        client.reply();
        client
    };
    let (mut busy, idle) = (stepped(), stepped());
    let rows = listed(&[busy.pid(), idle.pid()], || {
        for _ in 0..2 {
            busy.nudge();
            busy.reply();
        }
    });
    for row in &rows {
        assert_eq!(row["runtime"], "python");
        assert_eq!(row["library"], "openssl");
        assert!(row["file"].as_str().is_some_and(|f| f.contains("libssl")));
        assert!(row["found_by"] == "symbol" || row["found_by"] == "pair");
        assert_eq!(row["reason"], Value::Null);
    }
    let [busy_row, idle_row] = &rows[..] else {
        panic!("two rows")
    };
    assert_eq!(busy_row["state"], "verified");
    assert_eq!(busy_row["calls"], 2);
    assert!(busy_row["bytes"].as_u64().is_some_and(|bytes| bytes > 500));
    assert_eq!(idle_row["state"], "attached");
    assert_eq!(idle_row["calls"], 0);
    assert_eq!(idle_row["bytes"], 0);
    busy.finish();
    idle.finish();
}

#[test]
fn a_jvm_is_named() {
    let mut command = Command::new("java");
    command.arg(script("Waits.java"));
    let mut java = Client::new(command).start();
    assert!(!java.line().is_empty());
    let rows = listed(&[java.pid()], || {});
    let row = &rows[0];
    assert_eq!(row["runtime"], "java");
    assert_eq!(row["state"], "unsupported");
    assert_eq!(row["hook"], Value::Null);
    let reason = row["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("JSSE has no native point"), "{reason}");
    java.finish();
}

/// Its machine maps OpenSSL, too, and leaves TLS to code of its own.
#[test]
fn erlang_is_named() {
    let scene = Scene::new();
    let home = PathBuf::from(variable("E2E_PACKAGES")).join("usr/lib/erlang");
    let programs = fs::read_dir(&home).expect("a folder").find_map(|entry| {
        let folder = entry.expect("an entry").path().join("bin");
        folder.join("erlexec").exists().then_some(folder)
    });
    let programs = programs.expect("Erlang is there");
    let expression = format!("file:eval({:?}), halt().", script("waits.erl"));
    let mut command = scene.command(programs.join("erlexec").display().to_string());
    command
        .args(["-noshell", "-eval", &expression])
        .env("ROOTDIR", home)
        .env("BINDIR", programs)
        .env("EMU", "beam")
        .env("PROGNAME", "erl");
    let mut erlang = Client::new(command).start();
    let reply = erlang.reply();
    assert!(scene.server.exchanges().iter().any(|e| e.id == reply.id));
    let rows = listed(&[erlang.pid()], || {});
    let row = &rows[0];
    assert_eq!(row["runtime"], "erlang");
    assert_eq!(row["state"], "unsupported");
    assert_eq!(row["hook"], Value::Null);
    let reason = row["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("no native function to hook"), "{reason}");
    erlang.finish();
}

/// A program whose functions have the form of BoringSSL's, and move ciphertext.
fn decoy(scene: &Scene) -> (PathBuf, Running) {
    let program = scene.folder().join("decoy");
    let status = Command::new("cc")
        .args(["-O1", "-s", "-o"])
        .args([&program, &script("decoy.c")])
        .status();
    assert!(status.expect("cc can be started").success());
    let mut decoy = Client::new(Command::new(&program)).start();
    assert_eq!(decoy.line().trim(), "runs");
    (program, decoy)
}

#[test]
fn what_shows_no_plaintext_is_withdrawn() {
    let scene = Scene::new();
    let (program, mut decoy) = decoy(&scene);
    let pid = decoy.pid();
    let tap = Tap::tail(&[]);
    let patched = traces::patched_bytes(pid, "decoy");
    assert!(patched > 0, "there are probes at first");
    let rows = listed(&[pid], || {
        decoy.nudge();
        // Others' sensors may have probes there for longer.
        tap.says("withdrawn: what the hooks show is encrypted");
    });
    assert_eq!(rows[0]["state"], "withdrawn");
    assert_eq!(rows[0]["found_by"], "pattern");
    assert_eq!(rows[0]["file"].as_str(), program.to_str());
    // The lister is gone, the other sensor is not, nor is the process: its memory is whole.
    let is_whole = || {
        sleep(Duration::from_millis(20));
        traces::patched_bytes(pid, "decoy") == 0
    };
    assert!((0..500).any(|_| is_whole()), "probes are left");
    decoy.finish();
    drop(tap);
}
