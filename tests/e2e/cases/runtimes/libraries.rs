//! TLS libraries other than OpenSSL: clients through builds of libcurl, and lighttpd as a
//! gateway before a model, with each.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use llmtap_e2e::{Client, Scene, Tap, chat, script, variable};

use crate::sdk::is_streamed;

use super::asked_as_usual;

/// A place in Debian's packages.
pub(super) fn unpacked(place: &str) -> PathBuf {
    PathBuf::from(variable("E2E_PACKAGES")).join(place)
}

pub(super) fn folder_of_libraries() -> PathBuf {
    unpacked(&format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}

/// Where the loader finds the packages' libraries, and their plugins.
fn library_path() -> String {
    let libraries = folder_of_libraries();
    format!("{0}:{0}/nss", libraries.display())
}

fn libcurl(scene: &Scene, build: &str, mode: &str) -> Client {
    let mut command = scene.command(variable("E2E_PYTHON"));
    command
        .arg(script("libcurl.py"))
        .arg(format!("libcurl-{build}.so.4"))
        .args([mode, "3"])
        .env("LD_LIBRARY_PATH", library_path());
    Client::new(command)
}

fn check_client(library: &str) {
    for (mode, streamed) in [("unary", false), ("stream", true)] {
        let (_, calls) = super::seen(library, |scene| libcurl(scene, library, mode));
        assert!(asked_as_usual(&calls));
        assert!(calls.iter().all(|call| is_streamed(call) == streamed));
    }
}

#[test]
fn gnutls() {
    check_client("gnutls");
}

#[test]
fn nss() {
    check_client("nss");
}

/// What it reads it sends: here a request, when the connection is there already.
#[test]
fn gnutls_cli() {
    let scene = Scene::new();
    let mut command = scene.command(unpacked("usr/bin/gnutls-cli").display().to_string());
    let port = scene.server.https().port().to_string();
    command
        .arg("--x509cafile")
        .arg(scene.server.authority())
        .args(["--port", &port, "127.0.0.1"])
        .env("LD_LIBRARY_PATH", library_path());
    let mut client = Client::new(command).start();
    while !client.line().contains("Simple Client Mode") {}
    let tap = Tap::tail(&[]);
    let body = chat(super::PROMPT);
    client.order(&format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\
         Content-Type: application/json\r\n\r\n{body}",
        body.len()
    ));
    let calls = tap.calls(1, |call| call.pid() == client.pid());
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    let exchange = &scene.server.exchanges()[0];
    assert_eq!(call.text("llmtap.tls.library"), "gnutls");
    assert_eq!(call.text("gen_ai.request.model"), "gpt-4o-mini");
    assert_eq!(call.asked(), super::PROMPT);
    assert_eq!(call.id(), exchange.id);
    assert_eq!(call.said(), exchange.text);
    assert_eq!(call.tokens("input"), Some(exchange.input_tokens));
    assert_eq!(call.tokens("output"), Some(exchange.output_tokens));
}

/// lighttpd with TLS of a module's, before the scene's model.
struct Gateway {
    child: Child,
    port: u16,
}

impl Gateway {
    fn start(scene: &Scene, module: &str) -> Self {
        let (chain, key) = scene.server.identity();
        // A port that is free now is free in a moment.
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = socket.local_addr().expect("it is bound").port();
        drop(socket);
        let settings = format!(
            "server.document-root = \"/var/empty\"\n\
             server.bind = \"127.0.0.1\"\nserver.port = {port}\n\
             server.modules = (\"mod_{module}\", \"mod_proxy\")\n\
             server.stream-response-body = 2\n\
             ssl.engine = \"enable\"\nssl.pemfile = \"{}\"\nssl.privkey = \"{}\"\n\
             proxy.server = (\"\" => ((\"host\" => \"127.0.0.1\", \"port\" => {})))\n",
            chain.display(),
            key.display(),
            scene.server.http().port(),
        );
        let file = scene.folder().join(format!("{module}.conf"));
        fs::write(&file, settings).expect("the folder can be written to");
        let child = Command::new(unpacked("usr/sbin/lighttpd"))
            .arg("-D")
            .arg("-m")
            .arg(unpacked("usr/lib/lighttpd"))
            .arg("-f")
            .arg(&file)
            .env("LD_LIBRARY_PATH", library_path())
            .stdin(Stdio::null())
            .spawn()
            .expect("lighttpd can be started");
        let gateway = Self { child, port };
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        gateway
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gateway's own end of each call, as it reads and writes it.
fn check_gateway(module: &str) {
    let scene = Scene::new();
    let gateway = Gateway::start(&scene, module);
    let base = format!("https://127.0.0.1:{}/v1", gateway.port);
    let tap = Tap::tail(&[]);
    for mode in ["openai_sync", "openai_stream"] {
        let client = scene.python(mode, 2).env("OPENAI_BASE_URL", &base);
        let (_, replies) = client.run();
        assert_eq!(replies.len(), 2);
        for reply in &replies {
            let of_gateway = |call: &llmtap_e2e::Call| {
                call.id() == reply.id
                    && call.pid() == gateway.child.id()
                    && call.text("llmtap.tls.library") == module
            };
            let calls = tap.calls(1, of_gateway);
            assert_eq!(calls.len(), 1);
            let call = &calls[0];
            assert_eq!(call.kind(), "server");
            assert_eq!(call.text("gen_ai.request.model"), "gpt-4o-mini");
            assert_eq!(call.asked(), super::PROMPT);
            assert_eq!(call.said(), reply.text);
            assert_eq!(call.tokens("input"), reply.input);
            assert_eq!(call.tokens("output"), reply.output);
            assert_eq!(is_streamed(call), mode == "openai_stream");
        }
    }
}

#[test]
fn gateway_with_gnutls() {
    check_gateway("gnutls");
}

#[test]
fn gateway_with_nss() {
    check_gateway("nss");
}

#[test]
fn gateway_with_mbedtls() {
    check_gateway("mbedtls");
}

#[test]
fn gateway_with_wolfssl() {
    check_gateway("wolfssl");
}
