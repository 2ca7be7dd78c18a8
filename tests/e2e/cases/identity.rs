//! Whose call it is, and where it went.

use llmtap_e2e::{Call, Client, Scene, Tap};

/// The client's side of each connection, as the server saw it, is what is reported.
fn addresses_are_known(client: impl FnOnce(&Scene) -> Client) {
    let scene = Scene::new();
    let client = client(&scene);
    let tap = Tap::tail(&[]);
    let (pid, replies) = client.run();
    let calls = tap.calls(replies.len(), |call| call.pid() == pid);
    for call in &calls {
        let peer = scene.server.https();
        assert_eq!(call.text("network.peer.address"), peer.ip().to_string());
        assert_eq!(call.attribute("network.peer.port"), peer.port());
    }
}

#[test]
fn the_peer_is_known_with_a_descriptor() {
    addresses_are_known(|scene| scene.python("requests_chat", 2));
}

#[test]
fn the_peer_is_known_in_asyncio() {
    addresses_are_known(|scene| scene.python("openai_async", 4));
}

#[test]
fn the_peer_is_known_in_node() {
    addresses_are_known(|scene| scene.node("openai_stream", 4));
}

/// A model behind OpenSSL, on this host.
fn both_ends(scene: &Scene) -> (llmtap_e2e::Running, String) {
    let (chain, key) = scene.server.identity();
    let mut command = scene.command(llmtap_e2e::variable("E2E_PYTHON"));
    command
        .arg(llmtap_e2e::script("tls_server.py"))
        .arg(chain)
        .arg(key);
    let mut server = Client::new(command).start();
    let port = server.line();
    (server, format!("https://127.0.0.1:{}/v1", port.trim()))
}

#[test]
fn both_ends_are_two_objects() {
    let scene = Scene::new();
    let (server, base) = both_ends(&scene);
    let tap = Tap::tail(&[]);
    // The server is done with each before the client has come back from writing it.
    let client = scene.python("openai_sync", 5);
    let (pid, replies) = client.env("OPENAI_BASE_URL", &base).run();
    for reply in &replies {
        let calls = tap.calls(2, |call| call.id() == reply.id);
        let side = |kind: &str| -> Vec<&Call> {
            let of_kind = |call: &&Call| call.kind() == kind;
            calls.iter().filter(of_kind).collect()
        };
        let (clients, servers) = (side("client"), side("server"));
        assert_eq!((clients.len(), servers.len()), (1, 1));
        assert_eq!(clients[0].pid(), pid);
        assert_eq!(servers[0].pid(), server.pid());
        assert_eq!(clients[0].said(), servers[0].said());
        // One trace, in which the server's span stands below the client's.
        assert_eq!(clients[0].0["trace_id"], servers[0].0["trace_id"]);
        assert_eq!(clients[0].0["span_id"], servers[0].0["parent_span_id"]);
        assert_eq!(servers[0].text("llmtap.trace.parent.source"), "peer");
    }
}

#[test]
fn both_ends_are_one_line() {
    let scene = Scene::new();
    let (server, base) = both_ends(&scene);
    let tap = Tap::start(&["tail", "--format", "text", "--content", "off"]);
    let mut pids = vec![server.pid()];
    for _ in 0..2 {
        let client = scene.python("openai_sync", 4);
        pids.push(client.env("OPENAI_BASE_URL", &base).run().0);
    }
    // Of each call there is a line as it ends, whichever end it names.
    let ends = |line: &str| {
        let ours = |pid: &u32| line.contains(&format!("({pid})"));
        line.contains("stop") && pids.iter().any(ours)
    };
    tap.lines(8, ends);
    let ended = tap.interrupt();
    let lines = ended.output.lines().filter(|line| ends(line));
    assert_eq!(lines.count(), 8, "{}", ended.output);
}

#[test]
fn the_process_is_known_by_more_than_its_number() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    // It reads its reply for a second: who is gone at once can't be asked.
    let (pid, _) = scene.curl(&["--limit-rate", "400"]).run();
    let calls = tap.calls(1, |call| call.pid() == pid);
    let resource = &calls[0].0["resource"];
    assert_eq!(resource["process.executable.name"], "curl");
    assert_eq!(resource["service.name"], "curl");
    // The tests need root, and so does what they start run as it.
    assert_eq!(resource["process.owner"], "root");
    let line = resource["process.command_line"].as_str().expect("is known");
    assert!(line.starts_with("curl --silent "), "{line}");
    // The key stands in an argument, and so does the prompt.
    assert!(
        !line.contains("canary") && !line.contains("hello"),
        "{line}"
    );
    assert!(line.contains("--header [secret]"), "{line}");
}
