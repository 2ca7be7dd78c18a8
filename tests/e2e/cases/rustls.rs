//! Programs whose TLS is rustls: seen where its records are encrypted, with symbols and
//! without, by ring and by AWS-LC, and the two agents that are built so.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use llmtap_e2e::{CANARY, Call, Client, Reply, Scene, Tap, script, variable};
use llmtap_test_server::Options;

use crate::matched;

/// Calls at once.
const COUNT: usize = 5;

/// Copies of a program on which all symbols are gone.
fn stripped(scene: &Scene, program: &Path) -> PathBuf {
    let copy = scene.folder().join("stripped");
    let status = Command::new("strip")
        .args(["--strip-all", "-o"])
        .args([&copy, program])
        .status();
    assert!(status.expect("strip runs").success());
    copy
}

/// Runs our client in each way that a connection may go.
fn every_way(provider: &str, program: impl Fn(&Scene) -> PathBuf) {
    let scene = Scene::new();
    let program = program(&scene);
    let _held = scene.hold(&program);
    let tap = Tap::tail(&[]);
    for tls in ["1.2", "1.3"] {
        for http in ["1", "2"] {
            for streamed in [false, true] {
                let mut command = scene.command(program.display().to_string());
                command.args([provider, tls, http, &COUNT.to_string()]);
                command.args(streamed.then_some("stream"));
                let (pid, replies) = Client::new(command).run();
                seen(&scene, &tap, pid, &replies, streamed);
            }
        }
    }
    over_both(&scene);
    ended(tap);
}

/// Each reply has its call, and what was asked is there to the end.
fn seen(scene: &Scene, tap: &Tap, pid: u32, replies: &[Reply], streamed: bool) {
    assert_eq!(replies.len(), COUNT);
    for call in matched(scene, tap, pid, replies) {
        assert_eq!(call.asked(), "Grüße ".repeat(4000));
        assert_eq!(is_streamed(&call), streamed);
    }
}

/// The server saw both versions of HTTP.
fn over_both(scene: &Scene) {
    let exchanges = scene.server.exchanges();
    let used = |http2| exchanges.iter().any(|e| e.http2 == http2);
    assert!(used(false) && used(true));
}

fn ended(tap: Tap) {
    let ended = tap.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);
    assert!(!ended.output.contains(CANARY) && !ended.errors.contains(CANARY));
}

fn is_streamed(call: &Call) -> bool {
    let first = call.attribute("gen_ai.response.time_to_first_chunk");
    first.as_f64().is_some_and(|seconds| seconds > 0.0)
}

fn program(_: &Scene) -> PathBuf {
    variable("E2E_RUST").into()
}

#[test]
fn reqwest_with_ring() {
    every_way("ring", program);
}

#[test]
fn reqwest_with_aws_lc() {
    every_way("aws-lc", program);
}

#[test]
fn stripped_with_ring() {
    every_way("ring", |scene| stripped(scene, &program(scene)));
}

#[test]
fn stripped_with_aws_lc() {
    every_way("aws-lc", |scene| stripped(scene, &program(scene)));
}

/// Processors without AVX-512, and without AES and carry-less multiplication, as AWS-LC
/// is told: it takes other code then.
const PROCESSORS: [&str; 3] = ["", ":~0xd0030000", "~0x200000200000000:~0xd0030000"];

/// The program of this name in an agent's package for this machine.
fn agent(name: &str) -> PathBuf {
    let packages = PathBuf::from(variable("E2E_RUSTLS_AGENTS")).join("node_modules");
    find(&packages, name).unwrap_or_else(|| panic!("no program {name} in the packages"))
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let (folders, files): (Vec<_>, Vec<_>) = entries
        .filter(|entry| !entry.path().is_symlink())
        .map(|entry| entry.path())
        .partition(|path| path.is_dir());
    let is_program = |path: &PathBuf| {
        let head = fs::File::open(path).and_then(|mut file| {
            let mut head = [0; 4];
            file.read_exact(&mut head).map(|()| head)
        });
        path.ends_with(name) && head.is_ok_and(|head| head == *b"\x7fELF")
    };
    let file = files.into_iter().find(is_program);
    file.or_else(|| folders.iter().find_map(|folder| find(folder, name)))
}

#[test]
#[ignore = "large packages: cargo xtask test --agents"]
fn deno() {
    let program = agent("deno");
    for tls12 in [false, true] {
        let options = Options {
            tls12,
            ..Options::default()
        };
        let scene = Scene::with(&options);
        let _held = scene.hold(&program);
        let tap = Tap::tail(&[]);
        for (index, http) in ["1", "2"].into_iter().cycle().take(6).enumerate() {
            let streamed = index >= 3;
            let mut command = scene.command(program.display().to_string());
            command
                .env("OPENSSL_ia32cap", PROCESSORS[index % 3])
                .env("DENO_DIR", scene.folder())
                .env("DENO_NO_UPDATE_CHECK", "1")
                .args(["run", "--allow-all"])
                .arg(script("deno.js"))
                .args([http, &COUNT.to_string()])
                .args(streamed.then_some("stream"));
            if PROCESSORS[index % 3].is_empty() {
                command.env_remove("OPENSSL_ia32cap");
            }
            let (pid, replies) = Client::new(command).run();
            seen(&scene, &tap, pid, &replies, streamed);
        }
        over_both(&scene);
        ended(tap);
    }
}

/// Tells Codex where its model is.
fn configure_codex(scene: &Scene) {
    let folder = scene.folder().join(".codex");
    fs::create_dir_all(&folder).expect("a folder can be made");
    let server = scene.server.https();
    let text = format!(
        r#"model = "gpt-5"
model_provider = "test"
[model_providers.test]
name = "test"
base_url = "https://{server}/v1"
env_key = "CANARY"
wire_api = "responses"
supports_websockets = false
"#
    );
    fs::write(folder.join("config.toml"), text).expect("the folder can be written to");
}

fn codex(scene: &Scene, program: &Path, processor: &str) -> Command {
    let mut command = scene.command(program.display().to_string());
    command
        .env("HOME", scene.folder())
        .env_remove("OPENSSL_ia32cap")
        .args(["exec", "--skip-git-repo-check", "--sandbox", "read-only"])
        .arg("Grüße an 漢字 🦀")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !processor.is_empty() {
        command.env("OPENSSL_ia32cap", processor);
    }
    command
}

/// Five of them at once, in each way that the server may want it.
#[test]
#[ignore = "large packages: cargo xtask test --agents"]
fn codex_agents() {
    let program = agent("codex");
    for (tls12, http1) in [(false, false), (false, true), (true, false), (true, true)] {
        let options = Options {
            tls12,
            http1,
            ..Options::default()
        };
        let scene = Scene::with(&options);
        configure_codex(&scene);
        let _held = scene.hold(&program);
        let tap = Tap::tail(&[]);
        let mut agents: Vec<_> = (0..COUNT)
            .map(|i| {
                let mut command = codex(&scene, &program, PROCESSORS[i % 3]);
                command.spawn().expect("codex can be started")
            })
            .collect();
        for agent in &mut agents {
            assert!(agent.wait().expect("invariant: our own child").success());
        }
        let pids: Vec<u32> = agents.iter().map(std::process::Child::id).collect();
        told_by_server(&scene, &tap, &pids, !http1);
        ended(tap);
    }
}

/// Each call of these processes is what the server took part in, and there is one for each.
fn told_by_server(scene: &Scene, tap: &Tap, pids: &[u32], http2: bool) {
    let calls = tap.calls(pids.len(), |call| pids.contains(&call.pid()));
    assert_eq!(calls.len(), pids.len());
    let exchanges = scene.server.exchanges();
    for call in calls {
        let exchange = exchanges.iter().find(|exchange| exchange.id == call.id());
        let exchange = exchange.expect("the server knows the reply");
        assert_eq!(exchange.http2, http2);
        assert_eq!(call.said(), exchange.text);
        assert_eq!(call.tokens("input"), Some(exchange.input_tokens));
        assert_eq!(call.tokens("output"), Some(exchange.output_tokens));
        assert!(call.asked().contains("Grüße an 漢字 🦀"));
        assert!(is_streamed(&call));
        assert_eq!(call.attribute("llmtap.capture.lost_bytes").as_u64(), None);
        assert_ne!(call.attribute("llmtap.capture.truncated"), true);
        let port = scene.server.https().port();
        assert_eq!(call.attribute("server.port"), port);
    }
}
