//! Processes that make no calls lose their probes, and get them back in time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use llmtap_e2e::{Client, PATIENCE, Running, Scene, Tap, script, traces, variable};
use serde_json::Value;

use crate::matched;

/// A server that makes no calls, a client that keeps it busy, and a copy of libssl that nobody
/// else maps.
struct Busy {
    // Ends first.
    client: Running,
    server: Running,
    library: PathBuf,
}

impl Busy {
    fn new(scene: &Scene) -> Self {
        let library = own_library(scene.folder());
        let (chain, key) = scene.server.identity();
        let mut command = with_library(scene, &library);
        command.arg(script("busy_server.py")).args([chain, key]);
        let mut server = Client::new(command).start();
        let port = server.line();
        let mut command = scene.command(variable("E2E_PYTHON"));
        command.arg(script("busy_client.py")).arg(port.trim());
        Self {
            server,
            client: Client::new(command).start(),
            library,
        }
    }

    fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// A client of the model with the same libssl, which makes a call each time it is told to.
    fn neighbour(&self, scene: &Scene, calls: usize) -> Running {
        let mut command = with_library(scene, &self.library);
        command
            .arg(script("sdk.py"))
            .arg("requests_chat")
            .arg(calls.to_string());
        Client::new(command).env("STEPPED", "1").start()
    }

    /// Waits until the server has answered more often.
    fn goes_on(&mut self) {
        let mut answers = || -> u64 {
            self.client.nudge();
            self.client.line().trim().parse().expect("a number")
        };
        let before = answers();
        until("the server answers", || answers() > before + 10);
    }
}

/// A copy of the libssl that Python uses.
fn own_library(folder: &Path) -> PathBuf {
    let find = "import _ssl; print(next(l.split()[-1] for l in open('/proc/self/maps') \
                if 'libssl' in l))";
    let output = Command::new(variable("E2E_PYTHON"))
        .args(["-c", find])
        .output();
    let path = String::from_utf8(output.expect("Python runs").stdout).expect("a path");
    let path = Path::new(path.trim());
    let copy = folder.join("own").join(path.file_name().expect("a file"));
    fs::create_dir(folder.join("own")).expect("a folder can be made");
    fs::copy(path, &copy).expect("the library can be copied");
    copy
}

/// Python, with its own libssl.
fn with_library(scene: &Scene, library: &Path) -> Command {
    let mut command = scene.command(variable("E2E_PYTHON"));
    let folder = library.parent().expect("invariant: in a folder");
    command.env("LD_LIBRARY_PATH", folder);
    command
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        // Spinning would take what it waits for its processor.
        thread::sleep(Duration::from_millis(10));
    }
}

fn is_bare(pid: u32) -> bool {
    traces::patched_bytes(pid, "libssl") == 0
}

#[test]
fn a_busy_server_without_calls_is_bare_until_it_connects_to_a_model() {
    let scene = Scene::new();
    let mut busy = Busy::new(&scene);
    let pid = busy.pid();
    // Long enough to look at it before.
    let tap = Tap::tail(&["--release-idle", "4s"]);
    assert!(!is_bare(pid), "there are probes at first");
    tap.says(&format!("process {pid} is released"));
    until("its memory is as it was", || is_bare(pid));
    busy.goes_on();
    busy.server.order("connect");
    assert_eq!(busy.server.line().trim(), "connected");
    tap.says(&format!("process {pid} is probed again"));
    assert!(!is_bare(pid));
    busy.server.order("call");
    let reply = busy.server.reply();
    matched(&scene, &tap, pid, &[reply]);
    busy.goes_on();
}

#[test]
fn calls_go_on_while_others_are_released_and_taken_back() {
    let scene = Scene::new();
    let mut busy = Busy::new(&scene);
    let mut caller = busy.neighbour(&scene, 100_000);
    let (pid, caller_pid) = (busy.pid(), caller.pid());
    caller.reply();
    let tap = Tap::tail(&["--release-idle", "1s"]);
    let is_over = AtomicBool::new(false);
    let deadline = Instant::now() + 3 * PATIENCE;
    let replies = thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut replies = Vec::new();
            // Not for ever, where the test fails.
            while !is_over.load(Ordering::Relaxed) && Instant::now() < deadline {
                caller.nudge();
                replies.push(caller.reply());
            }
            replies
        });
        tap.says(&format!("process {pid} is released"));
        until("its memory is as it was", || is_bare(pid));
        busy.server.order("connect");
        tap.says(&format!("process {pid} is probed again"));
        is_over.store(true, Ordering::Relaxed);
        calls.join().expect("the client is undisturbed")
    });
    // None is missing, none has a byte too few or twice.
    assert!(replies.len() > 10, "{} calls meanwhile", replies.len());
    matched(&scene, &tap, caller_pid, &replies);
}

#[test]
fn a_released_process_is_listed_as_such() {
    let scene = Scene::new();
    let busy = Busy::new(&scene);
    let arguments = ["--for", "10m", "--release-idle", "1s", "--format", "jsonl"];
    let tap = Tap::start(&[&["ls"], &arguments[..]].concat());
    tap.says(&format!("process {} is released", busy.pid()));
    let ended = tap.interrupt();
    let rows = ended.output.lines();
    let mut rows = rows.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let row = rows
        .find(|row| row["pid"] == busy.pid())
        .expect("it is listed");
    assert_eq!(row["state"], "released");
    assert_eq!(row["file"], busy.library.to_str().expect("our own path"));
}

#[test]
fn who_shares_a_library_with_a_released_process_is_seen_as_before() {
    let scene = Scene::new();
    let mut busy = Busy::new(&scene);
    // One amid a connection.
    let mut before = busy.neighbour(&scene, 3);
    let unseen = before.reply();
    let pid = busy.pid();
    let tap = Tap::tail(&["--release-idle", "1s"]);
    let all = traces::patched_bytes(before.pid(), "libssl");
    tap.says(&format!("process {pid} is released"));
    until("its memory is as it was", || is_bare(pid));
    before.nudge();
    let mut replies = vec![before.reply()];
    assert_ne!(replies[0].id, unseen.id);
    matched(&scene, &tap, before.pid(), &replies);
    // One that starts now, and one that is forked off.
    let mut after = busy.neighbour(&scene, 3);
    replies = vec![after.reply()];
    after.nudge();
    replies.push(after.reply());
    matched(&scene, &tap, after.pid(), &replies);
    busy.server.order("fork");
    let child: u32 = busy.server.line().trim().parse().expect("a process id");
    until("the child has probes", || {
        traces::patched_bytes(child, "libssl") == all
    });
    traces::signal(child, "USR1");
    let reply = busy.server.reply();
    matched(&scene, &tap, child, &[reply]);
    // Not one of these was a reason to look at the server again.
    assert!(is_bare(pid));
    assert!(!is_bare(before.pid()));
    tap.kill();
    until("no probe is left", || is_bare(before.pid()));
}
