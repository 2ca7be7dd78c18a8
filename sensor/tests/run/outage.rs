//! Collectors that are busy, small or away, and an end that nobody asked for.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use super::*;

#[test]
fn a_busy_collector_gets_it_later_and_a_small_one_in_pieces() {
    let scene = Scene::new();
    let exchanges: Vec<_> = (1..=40).map(Exchange::new).collect();
    let capture = scene.capture(&exchanges);
    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::start(Behaviour {
            unavailable: 1,
            longest: Some(8 << 10),
            ..Behaviour::default()
        })
        .unwrap();
        let pipe = scene.pipe();
        let arguments = [
            "--otlp-endpoint",
            &endpoint(&collector),
            "--otlp-protocol",
            protocol,
            "--otlp-signals",
            "traces",
        ];
        let mut child = scene.run(&pipe, &arguments).spawn().unwrap();
        let mut writer = opened(&pipe);
        writer.write_all(&fs::read(&capture).unwrap()).unwrap();
        let spans = collector.spans(40).unwrap();
        assert_eq!(spans.len(), 40, "{protocol}");
        drop(writer);
        assert!(child.wait().unwrap().success());
        fs::remove_file(pipe).unwrap();
    }
}

/// A collector that is away.
struct Away {
    /// Nobody listens there.
    port: u16,
    endpoint: String,
}

impl Away {
    fn new() -> Self {
        let port = unasked_port();
        Self {
            port,
            endpoint: format!("http://127.0.0.1:{port}"),
        }
    }

    fn arguments(&self) -> [&str; 6] {
        [
            "--otlp-endpoint",
            &self.endpoint,
            "--otlp-signals",
            "traces",
            "--prometheus",
            "127.0.0.1:0",
        ]
    }

    /// Runs llmtap on a pipe, and kills it once `waiting` calls are in the spool.
    fn kill(&self, scene: &Scene, pipe: &str, waiting: u64, write: impl FnOnce(&mut fs::File)) {
        let pipe = scene.named_pipe(pipe);
        let mut child = scene.run(&pipe, &self.arguments()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut errors = errors.map(Result::unwrap);
        let metrics = address_in(&errors.find(|l| l.contains("/metrics")).unwrap());
        let mut writer = opened(&pipe);
        writer.write_all(first_line().as_bytes()).unwrap();
        write(&mut writer);
        // All is in the spool when nothing more is in a queue.
        let waiting = format!("llmtap_export_queued{{exporter=\"traces\"}} {waiting}\n");
        until(|| page(&metrics, "/metrics").contains(&waiting));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// It is back, and `calls` come, each of them once.
    fn assert_all_come(&self, scene: &Scene, calls: usize) {
        let behaviour = Behaviour {
            port: self.port,
            ..Behaviour::default()
        };
        let collector = Collector::start(behaviour).unwrap();
        let pipe = scene.pipe();
        let mut child = scene.run(&pipe, &self.arguments()).spawn().unwrap();
        let mut writer = opened(&pipe);
        writer.write_all(first_line().as_bytes()).unwrap();
        let begun = Instant::now();
        // Each has a minute for itself.
        for tenth in 1..10 {
            collector.spans(calls / 10 * tenth).unwrap();
        }
        let spans = collector.spans(calls).unwrap();
        println!("{calls} calls came in {:?}", begun.elapsed());
        drop(writer);
        assert!(child.wait().unwrap().success());
        let ids: BTreeSet<String> = spans
            .iter()
            .map(|(_, span)| text(&span.attributes, "gen_ai.response.id"))
            .collect();
        assert_eq!((spans.len(), ids.len()), (calls, calls));
    }
}

/// A free port that nobody gets who asks for any: the kernel gives those from 32768 on.
fn unasked_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1_000).unwrap() * 10;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed));
    let port = ports.find_map(|next| Some(20_000 + (own + next) % 10_000).filter(is_free));
    port.unwrap()
}

fn lines(numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|n| Exchange::new(n).lines()).collect()
}

#[test]
fn an_outage_and_a_kill_lose_nothing() {
    const CALLS: u64 = 2_000;
    let (scene, away) = (Scene::new(), Away::new());
    away.kill(&scene, "killed.jsonl", CALLS, |writer| {
        writer.write_all(lines(1..=CALLS).as_bytes()).unwrap();
    });
    let spooled = scene.spooled();
    assert!(memmem(&spooled, b"chatcmpl-2000"));
    assert!(
        !memmem(&spooled, &CANARY.as_bytes()[10..]),
        "the spool has a credential"
    );
    away.assert_all_come(&scene, CALLS as usize);
}

/// As a collector that is down for long has it: calls go on coming, and llmtap is killed
/// and started again all the while.
#[test]
#[ignore = "takes long: cargo xtask bench outage"]
fn a_long_outage_and_kills_lose_nothing() {
    const RATE: u64 = 200;
    const KILLS: u64 = 4;
    let minutes = std::env::var("OUTAGE_MINUTES").ok();
    let minutes: u64 = minutes.and_then(|text| text.parse().ok()).unwrap_or(10);
    let each = minutes * 60 * RATE / KILLS;
    let (scene, away) = (Scene::new(), Away::new());
    for kill in 0..KILLS {
        let all = (kill + 1) * each;
        away.kill(&scene, &format!("{kill}.jsonl"), all, |writer| {
            for second in (kill * each..all).step_by(RATE as usize) {
                let calls = second + 1..=all.min(second + RATE);
                writer.write_all(lines(calls).as_bytes()).unwrap();
                thread::sleep(Duration::from_secs(1));
            }
        });
        println!("{all} calls wait in {} bytes", scene.spooled().len());
    }
    away.assert_all_come(&scene, (KILLS * each) as usize);
}

/// A disk that takes no more: here, files that may not grow.
#[test]
fn a_full_disk_loses_what_finds_no_room_and_counts_it() {
    const CALLS: u64 = 400;
    let (scene, away) = (Scene::new(), Away::new());
    let pipe = scene.named_pipe("full.jsonl");
    let calls_file = scene.path("calls.jsonl");
    let mut run = scene.run(&pipe, &away.arguments());
    run.arg("--file-path").arg(&calls_file);
    let mut limited = Command::new("sh");
    // In blocks of 512 bytes, or of a KiB.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"]);
    limited.arg(run.get_program()).args(run.get_args());
    let variables = run.get_envs();
    limited.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    limited.env("LLMTAP_OTLP_CLOSING", "1s");
    limited.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = limited.spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let metrics = address_in(&errors.find(|l| l.contains("/metrics")).unwrap());
    let mut writer = opened(&pipe);
    writer.write_all(first_line().as_bytes()).unwrap();
    writer.write_all(lines(1..=CALLS).as_bytes()).unwrap();
    let number = |name: &str| {
        let page = page(&metrics, "/metrics");
        let name = format!("{name}{{exporter=\"traces\"}} ");
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(&*name))
            .map(str::to_owned);
        line.and_then(|number| number.parse::<u64>().ok())
            .unwrap_or_default()
    };
    let (waiting, dropped) = ("llmtap_export_queued", "llmtap_export_dropped_total");
    until(|| number(waiting) + number(dropped) == CALLS);
    let (waiting, dropped) = (number(waiting), number(dropped));
    assert!(waiting > 10 && dropped > 10, "{waiting} {dropped}");
    let failed = "llmtap_export_dropped_total{exporter=\"file\"} ";
    let written = || fs::read_to_string(&calls_file).unwrap();
    until(|| {
        let page = page(&metrics, "/metrics");
        let failed = page.lines().find_map(|line| line.strip_prefix(failed));
        let failed: u64 = failed.unwrap().parse().unwrap();
        failed > 10 && failed + written().lines().count() as u64 == CALLS
    });
    for line in written().lines() {
        assert!(serde_json::from_str::<Json>(line).is_ok(), "half a line");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    away.assert_all_come(&scene, waiting as usize);
}
