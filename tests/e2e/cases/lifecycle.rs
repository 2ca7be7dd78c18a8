//! The sensor comes and goes; the processes it looks at must not notice.

use std::thread;
use std::time::{Duration, Instant};

use llmtap_e2e::{PATIENCE, Scene, Tap, traces};

use crate::{compare, matched};

/// Between two looks: spinning would take the processor from what is waited for.
const PAUSE: Duration = Duration::from_millis(10);

#[test]
fn attaches_amid_a_connection() {
    let scene = Scene::new();
    let mut client = scene.python("requests_chat", 3).env("STEPPED", "1").start();
    let unseen = client.reply();
    let tap = Tap::tail(&[]);
    client.nudge();
    let second = client.reply();
    client.nudge();
    let third = client.reply();
    let pid = client.pid();
    client.finish();
    let calls = matched(&scene, &tap, pid, &[second, third]);
    assert!(calls.iter().all(|call| call.id() != unseen.id));
}

#[test]
fn killed_amid_traffic() {
    let programs = traces::loaded_programs();
    let events = traces::named_probe_events();
    let scene = Scene::new();
    let mut idle = scene.python("requests_chat", 2).env("STEPPED", "1").start();
    idle.reply();
    let tap = Tap::tail(&[]);
    let ours: Vec<u32> = traces::loaded_programs()
        .difference(&programs)
        .copied()
        .collect();
    assert!(!ours.is_empty(), "a running sensor has programs");
    assert!(
        traces::patched_bytes(idle.pid(), "libssl") > 0,
        "and probes"
    );

    let fields = r#"{"x-test-pause-ms":"20","x-test-words":"60"}"#;
    let busy = scene.python("openai_async", 20).fields(fields).start();
    tap.calls(0, |_| true);
    while scene.server.exchanges().len() < 21 {
        thread::sleep(PAUSE);
    }
    tap.kill();
    let replies = busy.finish();
    assert_eq!(replies.len(), 20);
    let exchanges = scene.server.exchanges();
    for reply in &replies {
        let exchange = exchanges.iter().find(|e| e.id == reply.id);
        assert_eq!(exchange.expect("a reply of ours").text, reply.text);
    }

    until("no program is left", || {
        let left = traces::loaded_programs();
        !ours.iter().any(|id| left.contains(id))
    });
    until("no breakpoint is left", || {
        traces::patched_bytes(idle.pid(), "libssl") == 0
    });
    assert_eq!(traces::named_probe_events(), events);
    idle.nudge();
    idle.reply();
    idle.finish();
}

/// The kernel tidies up a little after a process has ended.
fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(PAUSE);
    }
}

#[test]
fn an_interrupt_ends_it_with_a_summary() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (pid, replies) = scene.python("openai_sync", 2).run();
    let calls = matched(&scene, &tap, pid, &replies);
    compare(&scene, &calls[0], &replies[0]);
    let ended = tap.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    let summary = ended.errors.lines().last().unwrap_or_default();
    assert!(summary.contains("calls"), "{summary}");
}

#[test]
fn the_sensor_does_not_see_itself_twice() {
    let scene = Scene::new();
    let (first, second) = (Tap::tail(&[]), Tap::tail(&[]));
    let (pid, replies) = scene.python("openai_sync", 2).run();
    matched(&scene, &first, pid, &replies);
    matched(&scene, &second, pid, &replies);
}
