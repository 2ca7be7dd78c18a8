//! Keys planted in every place of a call come out nowhere.

use std::os::unix::process::ExitStatusExt as _;

use super::*;

/// A capture with one key in every place of a call, each a key of its own.
fn planted() -> String {
    let key = |place: &str| format!("sk-{place}-9876543210zyxwvutsrq");
    let call = json!({"id": key("callid"), "type": "function", "function": {
        "name": key("toolname"), "arguments": json!({"secret": key("argument")}).to_string(),
    }});
    let body = json!({
        "model": key("model"),
        "user": key("user"),
        "stop": [key("stop")],
        "service_tier": key("tier"),
        "reasoning_effort": key("effort"),
        "response_format": {"type": "json_schema", "json_schema": {
            "name": key("schemaname"), "schema": {"description": key("schema")},
        }},
        "tool_choice": {"type": "function", "function": {"name": key("choice")}},
        "metadata": {"note": key("metadata")},
        "messages": [
            {"role": "system", "content": format!("Never say {}.", key("system"))},
            {"role": key("role"), "name": key("name"), "content": [
                {"type": "text", "text": format!("is {} a good key?", key("question"))},
                {"type": "file", "file": {"filename": key("filename"), "file_data": "data:,x"}},
                {"type": "image_url", "image_url": {"url": format!("https://a.example/?k={}", key("url"))}},
            ]},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": key("callid"), "content": key("result")},
        ],
        "tools": [{"type": "function", "function": {
            "name": "open", "description": key("description"), "parameters": {"type": "object"},
        }}],
    });
    let good = json!({
        "id": key("id"), "object": "chat.completion", "model": key("answered"),
        "service_tier": key("answeredtier"), "system_fingerprint": key("fingerprint"),
        "choices": [{"index": 0, "finish_reason": key("reason"), "message": {
            "role": "assistant", "content": key("answer"), "tool_calls": [call],
        }}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    });
    let message = format!("Incorrect API key provided: {}.", key("error"));
    let bad = json!({"error": {
        "message": message, "type": key("errortype"), "code": key("errorcode"), "param": key("param"),
    }});
    let fields = format!(
        "host: api.openai.com\r\nauthorization: Bearer {}\r\nx-api-key: {}\r\n\
         cookie: session={}\r\nx-custom: {}\r\nuser-agent: app/{}\r\n\
         tracestate: vendor={}\r\ntraceparent: 00-{}-b7ad6b7169203331-01\r\n\
         content-type: application/json",
        key("authorization"),
        key("apikey"),
        key("cookie"),
        key("field"),
        key("agent"),
        key("tracestate"),
        "0af7651916cd43dd8448eb211c80319c",
    );
    let lines = [(200, good), (401, bad)].map(|(status, reply)| {
        let request = format!(
            "POST /{}/v1/chat/completions?key={} HTTP/1.1\r\n{fields}\r\n\
             content-length: {}\r\n\r\n{body}",
            key("path"),
            key("query"),
            body.to_string().len()
        );
        let response = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\nset-cookie: a={}\r\n\
             x-request-id: {}\r\nopenai-organization: {}\r\n\
             content-length: {}\r\n\r\n{reply}",
            key("setcookie"),
            key("requestid"),
            key("organization"),
            reply.to_string().len()
        );
        let open = json!({
            "type": "open", "conn": status, "ts": 1, "pid": 4242, "comm": "shop",
            "exe": "/usr/bin/shop", "tls": "openssl", "role": "client",
            "command_line": format!("shop --with {}", key("command")),
        });
        let data = |ts: u64, dir: &str, text: &str| {
            let data = base64::engine::general_purpose::STANDARD.encode(text);
            json!({"type": "data", "conn": status, "ts": ts, "dir": dir, "len": text.len(), "data": data})
        };
        let close = json!({"type": "close", "conn": status, "ts": 4_000_000});
        [
            open,
            data(1_000_000, "write", &request),
            data(3_000_000, "read", &response),
            close,
        ]
        .map(|line| format!("{line}\n"))
        .concat()
    });
    first_line() + &lines.concat()
}

/// Places of a call that are content: their owner may ask for them.
const CONTENT: [&str; 12] = [
    "user",
    "metadata",
    "system",
    "question",
    "filename",
    "url",
    "result",
    "description",
    "answer",
    "argument",
    "error",
    "stop",
];

#[test]
fn no_credential_comes_out_anywhere() {
    for content in ["off", "redacted", "full"] {
        let scene = Scene::new();
        let capture = scene.path("capture.jsonl");
        fs::write(&capture, planted()).unwrap();
        let collector = Collector::start(Behaviour::default()).unwrap();
        let (out, errors) = finished(scene.run(
            &capture,
            &[
                "--otlp-endpoint",
                &endpoint(&collector),
                "--otlp-headers",
                &format!("api-key={CANARY}"),
                "--content",
                content,
                "--semconv",
                "both",
                "--file-path",
                "-",
            ],
        ));
        assert_eq!(out.contains("a good key?"), content != "off", "{out}");
        assert!(out.contains("401") && out.contains("shop --with"), "{out}");
        let exported = collector
            .wait("all", |all| {
                collector::spans(all).len() == 2
                    && (content == "off" || !collector::logs(all).is_empty())
            })
            .unwrap();
        let requests: String = exported.iter().map(|e| format!("{:?}", e.body)).collect();
        let spooled = String::from_utf8_lossy(&scene.spooled()).into_owned();
        for (place, text) in [
            ("output", out),
            ("errors", errors),
            ("requests", requests),
            ("spool", spooled),
        ] {
            assert!(!text.contains(&CANARY[10..]), "{place} has our own key");
            // Found by their ends: what is cut is cut there.
            for found in keys(&text) {
                let is_asked_for = content == "full" && CONTENT.contains(&&*found);
                assert!(
                    is_asked_for,
                    "content {content}: {place} has the key of {found}"
                );
            }
        }
    }
}

/// The page of metrics once all that was planted is counted.
fn page_about_planted(child: &mut Child, pipe: &Path) -> String {
    let errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut errors = errors.map(Result::unwrap);
    let address = address_in(&errors.find(|line| line.contains("/metrics")).unwrap());
    let mut writer = opened(pipe);
    writer.write_all(planted().as_bytes()).unwrap();
    let count = "gen_ai_client_operation_duration_seconds_count{";
    until(|| page(&address, "/metrics").matches(count).count() == 2);
    page(&address, "/metrics")
}

#[test]
fn no_credential_is_on_the_page_of_metrics() {
    let scene = Scene::new();
    let pipe = scene.pipe();
    let mut command = scene.run(&pipe, &["--prometheus", "127.0.0.1:0", "--content", "full"]);
    let mut child = command.spawn().unwrap();
    let page = page_about_planted(&mut child, &pipe);
    signal(&child, "TERM");
    child.wait().unwrap();
    assert!(keys(&page).is_empty(), "{:?}", keys(&page));
}

/// What is in its memory stays there.
#[test]
#[ignore = "needs a host that keeps core dumps in files"]
fn a_crash_leaves_no_dump() {
    let scene = Scene::new();
    let pipe = scene.pipe();
    let run = scene.run(&pipe, &["--prometheus", "127.0.0.1:0"]);
    let crashed = |command: &mut Command, ready: &dyn Fn(&mut Child)| {
        let mut child = command.current_dir(scene.folder.path()).spawn().unwrap();
        ready(&mut child);
        signal(&child, "ABRT");
        child.wait().unwrap().core_dumped()
    };
    let unlimited = || {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c unlimited; echo; exec \"$@\"", "sh"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let says_a_line = |child: &mut Child| {
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().unwrap());
        output.read_line(&mut line).unwrap();
    };
    assert!(
        crashed(unlimited().args(["sleep", "60"]), &says_a_line),
        "others leave one"
    );

    let mut command = unlimited();
    command.arg(run.get_program()).args(run.get_args());
    command.envs(
        run.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let has_seen_all = |child: &mut Child| {
        page_about_planted(child, &pipe);
    };
    assert!(!crashed(&mut command, &has_seen_all));
}

/// Where the keys that are found in `text` were planted.
fn keys(text: &str) -> BTreeSet<String> {
    let ends = text.match_indices("-9876543210zyxwvutsrq");
    ends.map(|(at, _)| {
        text[..at]
            .rsplit("sk-")
            .next()
            .unwrap_or_default()
            .to_owned()
    })
    .collect()
}
