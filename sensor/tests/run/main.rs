//! `llmtap run` as a whole: a capture goes in, and a collector of ours takes what comes
//! out, over each protocol, through outages and restarts. Needs no probes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use llmtap_test_server::collector::{self, Behaviour, Collector};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

mod answers;
mod export;
mod outage;
mod privacy;

/// In every request, where a credential stands.
const CANARY: &str = "sk-canary-0123456789abcdefghij";

/// One exchange: a question, and the answer or an error.
struct Exchange {
    number: u64,
    question: String,
    status: u16,
}

impl Exchange {
    fn new(number: u64) -> Self {
        Self {
            number,
            question: format!("question {number}"),
            status: 200,
        }
    }

    /// Its lines in a capture, on a connection of its own.
    fn lines(&self) -> String {
        self.lines_at("/v1/chat/completions")
    }

    fn lines_at(&self, path: &str) -> String {
        let at = self.number * 10_000_000;
        let open = json!({
            "type": "open", "conn": self.number, "ts": at, "pid": 4242, "comm": "shop",
            "exe": "/usr/bin/shop", "tls": "openssl", "role": "client",
            "local": "10.0.0.1:5000", "peer": "10.0.0.2:443", "sni": "api.openai.com",
        });
        let body = json!({
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": self.question}],
        });
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: api.openai.com\r\n\
             authorization: Bearer {CANARY}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.to_string().len()
        );
        let reply = match self.status {
            200 => json!({
                "id": format!("chatcmpl-{}", self.number), "object": "chat.completion",
                "model": "gpt-4o-mini-2024-07-18",
                "choices": [{"index": 0, "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "an answer"}}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
            }),
            _ => json!({"error": {"message": "slow down", "type": "requests"}}),
        };
        let response = format!(
            "HTTP/1.1 {} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{reply}",
            self.status,
            reply.to_string().len()
        );
        let data = |ts: u64, dir: &str, text: &str| {
            let data = base64::engine::general_purpose::STANDARD.encode(text);
            json!({
                "type": "data", "conn": self.number, "ts": ts, "dir": dir,
                "len": text.len(), "data": data,
            })
        };
        let close = json!({"type": "close", "conn": self.number, "ts": at + 4_000_000});
        [
            open,
            data(at + 1_000_000, "write", &request),
            data(at + 3_000_000, "read", &response),
            close,
        ]
        .map(|line| format!("{line}\n"))
        .concat()
    }
}

fn first_line() -> String {
    let line = json!({
        "type": "capture", "version": 1, "epoch_ns": 1_760_000_000_000_000_000_u64, "host": "box",
    });
    format!("{line}\n")
}

/// A folder with what one test needs.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn capture(&self, exchanges: &[Exchange]) -> PathBuf {
        let path = self.path("capture.jsonl");
        let lines: String = exchanges.iter().map(Exchange::lines).collect();
        fs::write(&path, first_line() + &lines).unwrap();
        path
    }

    /// A capture that never ends unless it is told to.
    fn pipe(&self) -> PathBuf {
        self.named_pipe("pipe.jsonl")
    }

    fn named_pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    /// `llmtap run` on `capture`; it knows this scene's spool and no configuration of
    /// the host's.
    fn run(&self, capture: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmtap"));
        command
            .arg("run")
            .arg("--replay")
            .arg(capture)
            .args(arguments);
        for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("OTEL_")) {
            command.env_remove(name);
        }
        command
            .env("LLMTAP_CONFIG", self.empty_config())
            .env("LLMTAP_SPOOL_DIRECTORY", self.path("spool"))
            .env("LLMTAP_OTLP_BATCH_DELAY", "50ms")
            // A busy machine is no reason to give up, and none to send anything twice.
            .env("LLMTAP_OTLP_CLOSING", "50s")
            .env("LLMTAP_OTLP_TIMEOUT", "50s")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn empty_config(&self) -> PathBuf {
        let path = self.path("empty.yaml");
        fs::write(&path, "").unwrap();
        path
    }

    /// Every byte that was written to the spool.
    fn spooled(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for lane in ["traces", "logs"] {
            for entry in fs::read_dir(self.path("spool").join(lane))
                .into_iter()
                .flatten()
            {
                all.extend(fs::read(entry.unwrap().path()).unwrap());
            }
        }
        all
    }
}

/// Runs to the end, and gives what it said: output and errors.
fn finished(mut command: Command) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{err}");
    (out, err)
}

fn endpoint(collector: &Collector) -> String {
    format!("http://{}", collector.address())
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let pair = attributes.iter().find(|pair| pair.key == name)?;
    pair.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    match attribute(attributes, name) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_reload_changes_content_and_keeps_what_is_wrong_away() {
    let scene = Scene::new();
    let config = scene.path("config.yaml");
    let file = scene.path("calls.jsonl");
    let settings = |content: &str| {
        fs::write(
            &config,
            format!("content: {content}\nfile: {{path: {}}}\n", file.display()),
        )
        .unwrap();
    };
    settings("off");
    let pipe = scene.pipe();
    let mut command = scene.run(&pipe, &["--prometheus", "127.0.0.1:0"]);
    let mut child = command.env("LLMTAP_CONFIG", &config).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut writer = opened(&pipe);
    writer.write_all(first_line().as_bytes()).unwrap();
    let mut said_so_far = 0;
    // A capture is read in batches: so many calls fill one.
    let mut say = || {
        let numbers = said_so_far + 1..=said_so_far + 64;
        said_so_far += 64;
        let lines: String = numbers
            .map(|number| Exchange::new(number).lines())
            .collect();
        writer.write_all(lines.as_bytes()).unwrap();
        let written = || fs::read_to_string(&file).unwrap_or_default();
        until(|| written().contains(&format!("\"chatcmpl-{said_so_far}\"")));
        written().lines().last().unwrap().contains("question")
    };
    assert!(!say());
    for (content, said, shown) in [
        ("full", "was read anew", true),
        ("fulll", "stays as it was", true),
        ("off", "was read anew", false),
    ] {
        settings(content);
        signal(&child, "HUP");
        say();
        let line = errors.find(|line| line.contains("configuration")).unwrap();
        assert!(line.contains(said), "{line}");
        assert_eq!(say(), shown, "{content}");
    }
    signal(&child, "TERM");
    drop(writer);
    child.wait().unwrap();
}

#[test]
fn health_and_metrics_are_told_over_http() {
    let scene = Scene::new();
    let pipe = scene.pipe();
    let mut child = scene
        .run(&pipe, &["--prometheus", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let address = address_in(&errors.find(|line| line.contains("/metrics")).unwrap());
    let mut writer = opened(&pipe);
    writer
        .write_all((first_line() + &Exchange::new(1).lines()).as_bytes())
        .unwrap();
    let count = "gen_ai_client_operation_duration_seconds_count{service_name=\"shop\"";
    until(|| page(&address, "/metrics").contains(count));
    let text = page(&address, "/metrics");
    assert!(text.contains("llmtap_memory_bytes "), "{text}");
    assert!(page(&address, "/healthz").starts_with("HTTP/1.1 200"));
    // A capture has no moment at which all is covered.
    assert!(page(&address, "/readyz").starts_with("HTTP/1.1 503"));
    assert!(page(&address, "/elsewhere").starts_with("HTTP/1.1 404"));
    drop(writer);
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_a_way_out_it_says_so() {
    let scene = Scene::new();
    let capture = scene.capture(&[]);
    let output = scene.run(&capture, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("otlp.endpoint"), "{errors}");
}

/// The writing end of a pipe. That of reading is held, too, so that a reader which does
/// not come is no reason to wait.
fn opened(pipe: &Path) -> fs::File {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(pipe)
        .unwrap()
}

/// Waits until `done`; fails after a minute.
fn until(done: impl Fn() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("waited in vain");
}

fn address_in(line: &str) -> String {
    let (_, rest) = line.split_once("http://").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

/// An answer with its head.
fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn memmem(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}
