//! Where a test plays: a folder, a server, what clients need to know of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use llmtap_test_server::{Options, Server};
use tempfile::TempDir;

use crate::{Client, Running};

/// The key that every client sends; it must turn up nowhere.
pub const CANARY: &str = "sk-canary-7d1f0c9b2e";

#[derive(Debug)]
pub struct Scene {
    folder: TempDir,
    pub server: Server,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    pub fn new() -> Self {
        Self::with(&Options::default())
    }

    /// With a server that is started so.
    pub fn with(options: &Options) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let server = Server::start(folder.path(), options).expect("the server can be started");
        Self { folder, server }
    }

    /// Maps a file for execution while what is given back lives, so that a sensor which
    /// starts meanwhile is ready when it has looked at the file.
    pub fn hold(&self, file: &Path) -> Running {
        let mut command = self.command(variable("E2E_PYTHON"));
        command.arg(script("hold.py")).arg(file);
        let mut running = Client::new(command).start();
        assert_eq!(running.line().trim(), "mapped");
        running
    }

    /// A place for files, which goes when the scene goes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client of `clients/sdk.py`.
    pub fn python(&self, mode: &str, count: usize) -> Client {
        self.python_script("sdk.py", mode, count)
    }

    /// A client of `clients/protocols.py`.
    pub fn protocol(&self, mode: &str, count: usize) -> Client {
        self.python_script("protocols.py", mode, count)
    }

    fn python_script(&self, name: &str, mode: &str, count: usize) -> Client {
        let mut command = self.command(variable("E2E_PYTHON"));
        command.arg(script(name)).arg(mode).arg(count.to_string());
        Client::new(command)
    }

    /// A server of `clients/` that prints its port, and that port. It gets the
    /// certificate and the key of the test server.
    pub fn python_server(&self, name: &str) -> (Running, u16) {
        let (chain, key) = self.server.identity();
        let mut command = self.command(variable("E2E_PYTHON"));
        command.arg(script(name)).args([chain, key]);
        let mut server = Client::new(command).start();
        let port = server.line().trim().parse().expect("a port");
        (server, port)
    }

    /// A client of `clients/sdk.mjs`. Node is large: a sensor that starts from now on has
    /// looked at it when it is ready.
    pub fn node(&self, mode: &str, count: usize) -> Client {
        let mut command = self.command("node".into());
        command
            .arg(module("sdk.mjs"))
            .arg(mode)
            .arg(count.to_string());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|folder| folder.join("node"));
        let node = places.find(|place| place.is_file()).expect("node is there");
        Client::new(command).holding(self.hold(&node))
    }

    /// A program of `go/`, by the name that it was built under.
    pub fn go(&self, program: &str, mode: &str, count: usize) -> Client {
        let path = Path::new(&variable("E2E_GO")).join(program);
        let mut command = self.command(path.to_string_lossy().into_owned());
        command.arg(mode).arg(count.to_string());
        Client::new(command)
    }

    /// `curl`, one chat call over HTTP/1.1, with more arguments.
    pub fn curl(&self, arguments: &[&str]) -> Client {
        self.curl_to("127.0.0.1", arguments)
    }

    /// The same to the server under one of its other names.
    pub fn curl_to(&self, host: &str, arguments: &[&str]) -> Client {
        let port = self.server.https().port();
        let mut command = self.command("curl".into());
        command
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--http1.1",
                "--cacert",
            ])
            .arg(self.server.authority())
            .args(["--header", &format!("Authorization: Bearer {CANARY}")])
            .args(["--header", "Content-Type: application/json"])
            .args(["--data", &chat("hello from curl")])
            .args(arguments)
            .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
            .arg(format!("https://{host}:{port}/v1/chat/completions"));
        Client::new(command)
    }

    /// A command that knows the server and trusts it.
    pub fn command(&self, program: String) -> Command {
        let (https, authority) = (self.server.https(), self.server.authority());
        let mut command = Command::new(program);
        command
            .env("CANARY", CANARY)
            .env("OPENAI_BASE_URL", format!("https://{https}/v1"))
            .env("ANTHROPIC_BASE_URL", format!("https://{https}"))
            .env("PLAIN_ADDRESS", self.server.http().to_string())
            .env("SSL_CERT_FILE", &authority)
            .env("REQUESTS_CA_BUNDLE", &authority)
            .env("NODE_EXTRA_CA_CERTS", &authority)
            // A user's own settings must not lead elsewhere.
            .env_remove("HTTPS_PROXY")
            .env_remove("https_proxy")
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy");
        command
    }
}

/// The body of a chat request.
pub fn chat(prompt: &str) -> String {
    serde_json::json!({
        "model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}],
    })
    .to_string()
}

/// A script of `clients/`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(name)
}

/// A script of `clients/` for Node, where it finds its packages: they are looked for from where
/// a script lies.
pub fn module(name: &str) -> PathBuf {
    let local = PathBuf::from(variable("E2E_NODE")).join(name);
    std::fs::copy(script(name), &local).expect("the script can be copied");
    local
}

/// A variable that `cargo xtask test` sets.
pub fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run these tests by `cargo xtask test`"))
}
