//! A control plane of Kubernetes, or what of it tells of pods: a real API server with its
//! store. Nothing schedules pods, runs them, or makes them of what owns them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::server::{free_port, logged, wait};
use crate::{Running, Scene, variable};

const ADMINISTRATOR: &str = "Authorization: Bearer administrator";

/// It ends when dropped.
#[derive(Debug)]
pub struct Cluster<'s> {
    scene: &'s Scene,
    _store: Running,
    store: u16,
    server: Option<Running>,
    port: u16,
}

impl<'s> Cluster<'s> {
    /// Starts on loopback, with nothing in it.
    pub fn start(scene: &'s Scene) -> Self {
        let file = |name: &str, text: &str| {
            fs::write(scene.folder().join(name), text).expect("our own folder");
        };
        file(
            "tokens.csv",
            "administrator,administrator,1,\"system:masters\"\n",
        );
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}],
        });
        file("policy.json", &policy.to_string());
        let store = free_port();
        let mut cluster = Self {
            scene,
            _store: etcd(scene, store),
            store,
            server: None,
            port: free_port(),
        };
        cluster.serve();
        cluster
    }

    pub fn scene(&self) -> &'s Scene {
        self.scene
    }

    /// Where its API server listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts its API server, where it was before.
    pub fn serve(&mut self) {
        let log = self.scene.folder().join("apiserver.log");
        let mut server = logged(self.command(), &log);
        wait("the API server", || {
            let words = || fs::read_to_string(&log).unwrap_or_default();
            assert!(server.runs(), "it ended: {}", words());
            self.call(&[], "/readyz").ok()
        });
        self.server = Some(server);
    }

    /// Ends its API server at once; the store stays.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Another API server of the same store serves `work`; what happened until then is
    /// forgotten after it.
    pub fn behind(&mut self, work: impl FnOnce(&Self)) {
        assert!(self.server.is_none(), "nobody hears of it");
        let port = std::mem::replace(&mut self.port, free_port());
        self.serve();
        work(self);
        let newest = self.get("/api/v1/pods")["metadata"]["resourceVersion"].clone();
        self.stop();
        self.port = port;
        let body = json!({"revision": newest, "physical": true}).to_string();
        let url = format!("http://127.0.0.1:{}/v3/kv/compaction", self.store);
        let compact = curl(&["--data-binary", &body], &url);
        compact.unwrap_or_else(|why| panic!("the store does not forget {newest}: {why}"));
    }

    pub fn get(&self, path: &str) -> Value {
        let answer = self.call(&[], path);
        json_of(&answer.unwrap_or_else(|why| panic!("GET {path}: {why}")))
    }

    /// Creates what `body` describes below `path`.
    pub fn create(&self, path: &str, body: &Value) -> Value {
        self.send("POST", "json", path, &body.to_string())
    }

    /// The same in YAML.
    pub fn create_yaml(&self, path: &str, document: &str) -> Value {
        self.send("POST", "yaml", path, document)
    }

    pub fn change(&self, path: &str, patch: &Value) -> Value {
        self.send("PATCH", "merge-patch+json", path, &patch.to_string())
    }

    pub fn delete(&self, path: &str) {
        self.send("DELETE", "json", path, r#"{"gracePeriodSeconds": 0}"#);
    }

    /// All that `user` asked of API servers at `path` or below it: path, query and status.
    pub fn asked(&self, user: &str, path: &str) -> Vec<(String, u64)> {
        let log = fs::read_to_string(self.scene.folder().join("audit.log"));
        let log = log.expect("the API server keeps one");
        let all = log.lines().map(json_of);
        let of_user = all.filter(|event| event["user"]["username"] == user);
        of_user
            .filter_map(|event| {
                let uri = event["requestURI"].as_str()?.to_owned();
                let status = event["responseStatus"]["code"].as_u64()?;
                uri.starts_with(path).then_some((uri, status))
            })
            .collect()
    }

    fn command(&self) -> Command {
        let folder = self.scene.folder();
        let (chain, key) = self.scene.server.identity();
        let (chain, key) = (chain.display(), key.display());
        let path = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new(variable("E2E_KUBE_APISERVER"));
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.store))
            .args([
                "--bind-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
            ])
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--tls-cert-file={chain}"))
            .arg(format!("--tls-private-key-file={key}"))
            .arg(format!("--token-auth-file={}", path("tokens.csv")))
            .arg("--authorization-mode=RBAC")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-key-file={chain}"))
            .arg(format!("--service-account-signing-key-file={key}"))
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            .arg("--allow-privileged")
            // Nobody is here who would make the accounts that it asks of pods.
            .arg("--disable-admission-plugins=ServiceAccount")
            .arg(format!("--audit-policy-file={}", path("policy.json")))
            .arg(format!("--audit-log-path={}", path("audit.log")));
        command
    }

    /// What the API server answers at `path`; bad news are an error.
    fn call(&self, arguments: &[&str], path: &str) -> Result<String, String> {
        let authority = self.scene.server.authority();
        let authority = authority.to_str().expect("our own path");
        let url = format!("https://127.0.0.1:{}{path}", self.port);
        let ours = ["--cacert", authority, "--header", ADMINISTRATOR];
        curl(&[&ours, arguments].concat(), &url)
    }

    fn send(&self, method: &str, kind: &str, path: &str, body: &str) -> Value {
        let kind = format!("Content-Type: application/{kind}");
        let all = [
            "--request",
            method,
            "--header",
            &kind,
            "--data-binary",
            body,
        ];
        // What it does not know it refuses.
        let answer = self.call(&all, &format!("{path}?fieldValidation=Strict"));
        json_of(&answer.unwrap_or_else(|why| panic!("{method} {path}: {why}")))
    }
}

fn etcd(scene: &Scene, port: u16) -> Running {
    let url = |port| format!("http://127.0.0.1:{port}");
    let (ours, peers) = (url(port), url(free_port()));
    let mut command = Command::new(Path::new(&variable("E2E_ETCD")).join("usr/bin/etcd"));
    command
        .arg("--data-dir")
        .arg(scene.folder().join("etcd"))
        .args([
            "--listen-client-urls",
            &ours,
            "--advertise-client-urls",
            &ours,
        ])
        .args(["--listen-peer-urls", &peers])
        .args(["--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("default={peers}")]);
    logged(command, &scene.folder().join("etcd.log"))
}

fn curl(arguments: &[&str], url: &str) -> Result<String, String> {
    let output = Command::new("curl")
        .args(["--silent", "--fail-with-body", "--max-time", "20"])
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(text),
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}
