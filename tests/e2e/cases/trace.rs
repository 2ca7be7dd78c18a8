//! A service that calls a model for what it is asked: the request that it serves and the
//! call that it makes are one trace.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;

use llmtap_e2e::{Call, Client, Running, Scene, Tap, script, variable};

/// A service that runs, and where. It starts before the sensor, which is ready when it knows
/// the program.
struct Service {
    process: Running,
    port: u16,
}

impl Service {
    fn python(scene: &Scene, mode: &str) -> Self {
        let mut command = scene.command(variable("E2E_PYTHON"));
        command.arg(script("service.py")).arg(mode);
        Self::start(Client::new(command))
    }

    fn node(scene: &Scene) -> Self {
        let mut command = scene.command("node".into());
        command.arg(script("service.mjs"));
        Self::start(Client::new(command))
    }

    fn go(scene: &Scene, program: &str, protocol: &str) -> Self {
        let program = Path::new(&variable("E2E_GO")).join(program);
        let mut command = scene.command(program.to_string_lossy().into_owned());
        command.arg(protocol);
        if protocol == "plain" {
            let plain = format!("http://{}/v1", scene.server.http());
            command.env("OPENAI_BASE_URL", plain);
        }
        Self::start(Client::new(command))
    }

    fn start(client: Client) -> Self {
        let mut process = client.start();
        let port = process.line().trim().parse().expect("a port");
        Self { process, port }
    }

    /// One request on a connection of its own, in a trace whose number is `trace`.
    fn ask(&self, question: &str, trace: u128) {
        ask(self.port, "POST", question, trace);
    }

    /// Several at once.
    fn ask_all(&self, questions: &[(String, u128)]) {
        thread::scope(|scope| {
            for (question, trace) in questions {
                scope.spawn(|| self.ask(question, *trace));
            }
        });
    }

    /// Requests for which nobody is called.
    fn warm_up(&self) {
        for _ in 0..5 {
            ask(self.port, "GET", "", 1);
        }
    }

    /// Requests at once, by which its threads show what they tell.
    fn prove(&self) {
        let all = questions("for a start").into_iter();
        // In traces of their own.
        let all: Vec<_> = all.map(|(q, trace)| (q, trace + 0x1000)).collect();
        self.ask_all(&all);
    }

    /// The calls and served requests of the service, so many of both together.
    fn spans(&self, tap: &Tap, count: usize) -> Vec<Call> {
        let pid = self.process.pid();
        let spans = tap.calls(count, |call| call.pid() == pid);
        assert_eq!(spans.len(), count);
        spans
    }
}

/// The parent that a request of trace `trace` names.
fn sender(trace: u128) -> String {
    format!("{:016x}", trace + 100)
}

fn ask(port: u16, method: &str, question: &str, trace: u128) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the service listens");
    let length = question.len();
    let sender = sender(trace);
    write!(
        stream,
        "{method} /ask HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\
         traceparent: 00-{trace:032x}-{sender}-01\r\nContent-Length: {length}\r\n\r\n{question}"
    )
    .expect("the service reads");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the service answers and closes");
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

fn id(call: &Call, name: &str) -> String {
    call.0[name].as_str().unwrap_or_default().to_owned()
}

fn is_served(call: &Call) -> bool {
    call.attribute("http.request.method").is_string()
}

/// Whether it is one of these calls, or one of the requests that they are for.
fn is_about(call: &Call, questions: &[(String, u128)]) -> bool {
    questions
        .iter()
        .any(|(question, trace)| match is_served(call) {
            true => id(call, "trace_id") == format!("{trace:032x}"),
            false => call.asked() == *question,
        })
}

/// The call that asks `question`.
fn asking<'a>(spans: &'a [Call], question: &str) -> &'a Call {
    let all: Vec<&Call> = spans.iter().filter(|s| s.asked() == question).collect();
    let [call] = all[..] else {
        panic!("{} calls ask {question}", all.len());
    };
    call
}

/// The served request of trace `trace` is there, and `call` stands below it.
fn assert_below(spans: &[Call], call: &Call, trace: u128, source: &str, confidence: &str) {
    let trace_id = format!("{trace:032x}");
    let of_trace = |s: &&Call| is_served(s) && id(s, "trace_id") == trace_id;
    let served = spans.iter().find(of_trace).expect("the request is told");
    assert_eq!(served.kind(), "server");
    assert_eq!(served.text("http.request.method"), "POST");
    assert_eq!(served.text("url.path"), "/ask");
    assert_eq!(served.attribute("http.response.status_code"), 200);
    assert_eq!(id(served, "parent_span_id"), sender(trace));
    assert_eq!(served.text("llmtap.trace.parent.source"), "sent");

    assert_eq!(id(call, "trace_id"), trace_id);
    assert_eq!(id(call, "parent_span_id"), id(served, "span_id"));
    assert_eq!(call.text("llmtap.trace.parent.source"), source);
    assert_eq!(call.text("llmtap.trace.parent.confidence"), confidence);
    let time = |span: &Call, name: &str| id(span, name).parse::<u64>().expect("nanoseconds");
    let (start, end) = ("start_time_unix_nano", "end_time_unix_nano");
    assert!(time(served, start) <= time(call, start));
    assert!(time(call, end) <= time(served, end));
}

fn questions(what: &str) -> Vec<(String, u128)> {
    (1..=6)
        .map(|n| (format!("{what} {n}"), 0xabc0 + n))
        .collect()
}

#[test]
fn threads_tell_which_request_a_call_is_for() {
    let scene = Scene::new();
    let service = Service::python(&scene, "threads");
    let tap = Tap::tail(&["--served"]);
    service.warm_up();
    service.prove();
    let questions = questions("question");
    service.ask_all(&questions);
    let pid = service.process.pid();
    let spans = tap.calls(2 * questions.len(), |call| {
        call.pid() == pid && is_about(call, &questions)
    });
    for (question, trace) in &questions {
        let call = asking(&spans, question);
        assert_below(&spans, call, *trace, "thread", "high");
    }
}

#[test]
fn a_replay_joins_as_the_live_sensor_did() {
    let scene = Scene::new();
    let service = Service::python(&scene, "threads");
    let file = scene.folder().join("capture.jsonl");
    let pid = service.process.pid().to_string();
    let record = Tap::record(&file, &["--all", "--pid", &pid]);
    service.warm_up();
    service.prove();
    let questions = questions("question");
    service.ask_all(&questions);
    let ended = record.interrupt();
    assert!(ended.status.success(), "{}", ended.errors);

    let output = Command::new(variable("LLMTAP"))
        .args(["replay", "--served", "--content", "full"])
        .arg(&file)
        .output()
        .expect("llmtap can be started");
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).expect("text");
    let spans: Vec<Call> = lines
        .lines()
        .map(|line| Call(serde_json::from_str(line).expect("a line of JSON")))
        .filter(|call| is_about(call, &questions))
        .collect();
    assert_eq!(spans.len(), 2 * questions.len());
    for (question, trace) in &questions {
        let call = asking(&spans, question);
        assert_below(&spans, call, *trace, "thread", "high");
    }
}

/// With one request at a time there is nothing to confuse, however the service works.
fn alone(service: &Service, tap: &Tap) {
    let questions = questions("question");
    for (question, trace) in &questions {
        service.ask(question, *trace);
        // Its end is told before the next begins.
        service.spans(tap, 2 * usize::try_from(trace - 0xabc0).expect("few"));
    }
    let spans = service.spans(tap, 2 * questions.len());
    for (question, trace) in &questions {
        let call = asking(&spans, question);
        let known = call.text("llmtap.trace.parent.source").to_owned();
        let confidence = match &*known {
            "thread" | "goroutine" => "high",
            "sole_request" => "medium",
            other => panic!("known by {other}"),
        };
        assert_below(&spans, call, *trace, &known, confidence);
    }
}

/// With several at once only what the call carries tells.
fn together(service: &Service, tap: &Tap) {
    let silent = questions("question");
    service.ask_all(&silent);
    let passed = questions("pass on");
    service.ask_all(&passed);
    let pid = service.process.pid();
    let calls = tap.calls(18, |call| call.pid() == pid);
    for (question, trace) in &passed {
        let call = asking(&calls, question);
        assert_below(&calls, call, *trace, "forwarded", "certain");
    }
    for (question, _) in &silent {
        let call = asking(&calls, question);
        // The first of them comes when it is alone.
        let source = call.text("llmtap.trace.parent.source");
        assert!(source.is_empty() || source == "sole_request", "{source}");
    }
}

#[test]
fn one_request_at_a_time_in_asyncio() {
    let scene = Scene::new();
    let service = Service::python(&scene, "loop");
    alone(&service, &Tap::tail(&["--served"]));
}

#[test]
fn one_request_at_a_time_in_node() {
    let scene = Scene::new();
    let service = Service::node(&scene);
    alone(&service, &Tap::tail(&["--served"]));
}

#[test]
fn one_request_at_a_time_in_go() {
    let scene = Scene::new();
    let service = Service::go(&scene, "service", "http1");
    alone(&service, &Tap::tail(&["--served"]));
}

/// Its goroutines tell which request a call is for, whichever of them writes it and whichever
/// connection carries it.
fn goroutines(program: &str, protocol: &str) {
    let scene = Scene::new();
    let service = Service::go(&scene, program, protocol);
    let tap = Tap::tail(&["--served"]);
    let told = [
        ("question", "goroutine", "high"),
        ("another", "goroutine", "high"),
        ("pass on", "forwarded", "certain"),
    ];
    let mut below = Vec::new();
    for (round, (what, _, _)) in (1..).zip(told) {
        let of_round = questions(what).into_iter();
        let of_round: Vec<_> = of_round
            .map(|(q, trace)| (q, trace + round * 0x1000))
            .collect();
        service.ask_all(&of_round);
        below.extend(of_round);
    }
    let started = questions("started");
    service.ask_all(&started);
    let pid = service.process.pid();
    let is_started = |call: &Call| call.asked().starts_with("started");
    let spans = tap.calls(2 * below.len() + started.len(), |call| {
        call.pid() == pid && (is_about(call, &below) || is_started(call))
    });
    for (question, trace) in &below {
        let known = told.iter().find(|(what, _, _)| question.starts_with(what));
        let (_, source, confidence) = known.expect("invariant: one of them");
        assert_below(&spans, asking(&spans, question), *trace, source, confidence);
    }
    // Another goroutine than the one that serves: known only while it is alone.
    for (question, _) in &started {
        let source = asking(&spans, question).text("llmtap.trace.parent.source");
        assert!(source.is_empty() || source == "sole_request", "{source}");
    }
}

#[test]
fn several_requests_at_once_in_go() {
    goroutines("service", "http1");
}

#[test]
fn several_requests_at_once_in_go_over_http2() {
    goroutines("service", "http2");
}

#[test]
fn several_requests_at_once_in_go_without_tls() {
    goroutines("service", "plain");
}

#[test]
fn several_requests_at_once_in_an_old_go() {
    goroutines("service-1.19", "http1");
    goroutines("service-1.19", "http2");
}

#[test]
fn several_requests_at_once_in_asyncio() {
    let scene = Scene::new();
    let service = Service::python(&scene, "loop");
    together(&service, &Tap::tail(&["--served"]));
}

#[test]
fn several_requests_at_once_in_node() {
    let scene = Scene::new();
    let service = Service::node(&scene);
    together(&service, &Tap::tail(&["--served"]));
}
