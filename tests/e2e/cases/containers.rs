//! Processes in namespaces of their own, on roots of layers.

use std::fs;

use llmtap_e2e::container::{Container, Network, root_of_child};
use llmtap_e2e::{Call, Reply, Scene, Tap};

use crate::compare;

/// The only call of `reply` is as the client and the server know it. Where a process has a
/// number of its own inside, it is told by that of the host.
fn told(scene: &Scene, tap: &Tap, reply: &Reply) -> Call {
    // The server is a process of this host, too.
    let of_reply = |call: &Call| call.id() == reply.id && call.kind() == "client";
    let calls = tap.calls(1, of_reply);
    let [call] = &calls[..] else {
        panic!("{} calls for one reply", calls.len());
    };
    compare(scene, call, reply);
    call.clone()
}

#[test]
fn namespaces_of_its_own_and_a_root_of_layers() {
    let network = Network::new();
    let scene = network.within(Scene::new);
    let container = Container::new(&scene);
    let mut python = network.within(|| container.python(&scene, 2).start());
    python.reply();
    let tap = Tap::tail(&[]);
    python.nudge();
    let [last] = &python.finish()[..] else {
        panic!("one reply is left");
    };
    told(&scene, &tap, last);
    // It is new, and has the libssl of the other for a file of its own mount.
    let curl = container.wrap(&scene, scene.curl(&[]));
    let (_, replies) = network.within(|| curl.run());
    let call = told(&scene, &tap, &replies[0]);
    assert_eq!(call.asked(), "hello from curl");
    assert_eq!(call.0["resource"]["process.executable.name"], "curl");
}

/// Each mounts the layers for itself: two files of two file systems, and one that is mapped.
#[test]
fn one_lower_layer_of_two_roots() {
    let scene = Scene::new();
    let containers = [Container::new(&scene), Container::new(&scene)];
    let [before, after] = &containers;
    let mut first = before.python(&scene, 2).start();
    let mut replies = vec![first.reply()];
    let tap = Tap::tail(&[]);
    let mut second = after.python(&scene, 2).start();
    replies[0] = second.reply();
    first.nudge();
    replies.extend(first.finish());
    second.nudge();
    replies.extend(second.finish());
    assert_eq!(replies.len(), 3);
    let mut pids: Vec<u32> = replies
        .iter()
        .map(|r| told(&scene, &tap, r).pid())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 2);
}

const LIBSSL: &str = "usr/lib/x86_64-linux-gnu/libssl.so.3";

/// What is mapped has no name any more.
fn deleted(scene: &Scene, container: &Container) {
    let mut client = container.python(scene, 3).start();
    client.reply();
    let root = root_of_child(&client);
    fs::remove_file(root.join(LIBSSL)).expect("it is there");
    let tap = Tap::tail(&[]);
    client.nudge();
    let reply = client.reply();
    told(scene, &tap, &reply);
    client.nudge();
    let [last] = &client.finish()[..] else {
        panic!("one reply is left");
    };
    told(scene, &tap, last);
}

#[test]
fn a_library_of_the_lower_layer_deleted_after_the_start() {
    let scene = Scene::new();
    deleted(&scene, &Container::new(&scene));
}

#[test]
fn a_library_of_the_upper_layer_deleted_after_the_start() {
    let scene = Scene::new();
    deleted(&scene, &Container::new(&scene).owns(LIBSSL));
}
