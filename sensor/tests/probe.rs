//! Live probes on a real program: every byte that crosses is delivered, or told to be
//! missing at its place.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use llmtap::event::{ConnectionId, Direction, Event, EventKind, Origin, Verdict};
use llmtap::probe::{Image, Options, Pids, Sensor};

#[path = "probe/links.rs"]
mod links;

/// One at a time: they share the machine's uprobes, and loads take memory.
static TURN: Mutex<()> = Mutex::new(());

/// A Python program that is client and server, see `support/traffic.py`.
struct Traffic {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    /// Local addresses that it told.
    at: Vec<String>,
}

impl Traffic {
    fn start(test: &str) -> Self {
        Self::start_with(test, |_| {})
    }

    fn start_with(test: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let folder = std::env::temp_dir().join(format!("llmtap-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("temporary folder");
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("key");
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&certificate, pair.cert.pem()).expect("writable");
        fs::write(&key, pair.signing_key.serialize_pem()).expect("writable");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/traffic.py");
        let mut command = Command::new("python3");
        command
            .arg(script)
            .arg(folder.join("sent"))
            .args([&certificate, &key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().expect("python3 is installed");
        let mut traffic = Self {
            orders: child.stdin.take().expect("piped"),
            answers: BufReader::new(child.stdout.take().expect("piped")),
            child,
            folder,
            at: vec![],
        };
        traffic.answer("start");
        traffic
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it listens");
        self.answer(order);
    }

    /// It ends without a word.
    fn order_last(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it listens");
        self.child.wait().expect("our own child");
    }

    fn answer(&mut self, order: &str) {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.answers.read_line(&mut line).expect("text"),
                0,
                "{order}"
            );
            match line.trim().strip_prefix("at ") {
                Some(address) => self.at.push(address.replace(' ', ":")),
                None if line.trim() == "done" => return,
                None => panic!("{order}: {line}"),
            }
        }
    }

    /// All that the client sent.
    fn sent(&self) -> Vec<u8> {
        fs::read(self.folder.join("sent")).expect("written")
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One direction: pieces by the position of their first byte.
#[derive(Default)]
struct Side {
    pieces: Vec<(u64, Vec<u8>)>,
    end: u64,
    lost: u64,
    cut: u64,
}

impl Side {
    fn delivered(&self) -> u64 {
        self.pieces
            .iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum()
    }

    /// Every piece is what was sent there, and the sum of all is what was sent.
    fn assert_tells(&self, sent: &[u8]) {
        for (at, bytes) in &self.pieces {
            let at = usize::try_from(*at).expect("small");
            assert!(sent[at..].starts_with(bytes), "other bytes at {at}");
        }
        assert_eq!(self.end, sent.len() as u64, "bytes told of");
    }
}

#[derive(Default)]
struct Seen {
    write: BTreeMap<ConnectionId, Side>,
    origins: BTreeMap<ConnectionId, Origin>,
    /// The first bytes of each: which way they went, and whether their socket was known.
    first: BTreeMap<ConnectionId, (Direction, bool)>,
    closed: Vec<ConnectionId>,
}

impl Seen {
    fn event(&mut self, event: Event<'_>) {
        if let EventKind::Data { direction, .. } = event.kind {
            let origin = self.origins.get(&event.connection);
            let is_known = origin.is_some_and(|origin| origin.local.is_some());
            self.first
                .entry(event.connection)
                .or_insert((direction, is_known));
        }
        match event.kind {
            EventKind::Open(origin) => {
                self.origins
                    .entry(event.connection)
                    .or_default()
                    .update(*origin);
            }
            EventKind::Close => self.closed.push(event.connection),
            EventKind::Data {
                direction: Direction::Write,
                missing,
                bytes,
            } => {
                let side = self.write.entry(event.connection).or_default();
                side.lost += missing.lost;
                side.cut += missing.cut;
                let at = side.end + missing.total();
                side.end = at + bytes.len() as u64;
                side.pieces.push((at, bytes.to_vec()));
            }
            EventKind::Data { .. } => {}
        }
    }

    /// The connection whose client end has this address.
    fn client(&self, address: &str) -> ConnectionId {
        let is_it = |o: &Origin| o.local.is_some_and(|local| local.to_string() == address);
        let found = self.origins.iter().find(|(_, origin)| is_it(origin));
        *found
            .unwrap_or_else(|| panic!("no connection at {address}"))
            .0
    }

    fn drain(&mut self, sensor: &mut Sensor) {
        sensor.drain(&mut |event| self.event(event));
    }

    /// Drains until `enough` was seen; the rest of the test tells if it never is.
    fn drain_until(&mut self, sensor: &mut Sensor, enough: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !enough(self) && Instant::now() < end {
            sensor.wait(Duration::from_millis(10)).expect("waits");
            self.drain(sensor);
        }
    }

    fn finish(&mut self, mut sensor: Sensor) {
        sensor.stop();
        while sensor.drain(&mut |event| self.event(event)) {}
    }
}

fn sensor_for(traffic: &Traffic, options: Options) -> Sensor {
    let pids = Pids::Only(vec![traffic.child.id()]);
    Sensor::start(&Options { pids, ..options }).expect("root, and an object built before")
}

/// Sends one request of `length` over a connection of `kind` and compares.
fn delivers_all(test: &str, kind: &str, order: &str) {
    let _turn = TURN.lock();
    delivers_all_with(Options::default(), test, kind, order);
}

fn delivers_all_with(options: Options, test: &str, kind: &str, order: &str) {
    let mut traffic = Traffic::start(test);
    let sensor = sensor_for(&traffic, options);
    traffic.order(kind);
    traffic.order(order);
    let mut seen = Seen::default();
    seen.finish(sensor);
    let client = seen.client(&traffic.at[0]);
    let side = &seen.write[&client];
    assert_eq!((side.lost, side.cut), (0, 0));
    side.assert_tells(&traffic.sent());
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn eight_megabytes_in_one_tls_write() {
    let _turn = TURN.lock();
    for multi in [true, false] {
        let options = Options {
            multi,
            ..Options::default()
        };
        delivers_all_with(options, "tls8", "tls", "send 8000000");
    }
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn eight_megabytes_over_a_plain_socket() {
    delivers_all("plain8", "plain", "send 8000000");
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn buffers_of_a_vector() {
    delivers_all("vector", "plain", "vector 300000");
}

/// The method comes by itself, and does not show its end.
#[test]
#[ignore = "needs root and the eBPF object"]
fn a_request_that_is_written_in_parts() {
    delivers_all("parted3", "plain", "parted 3 3000");
    delivers_all("parted4", "plain", "parted 4 3000");
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn what_a_full_ring_loses_is_told_at_its_place() {
    let _turn = TURN.lock();
    for kind in ["tls", "plain"] {
        let mut traffic = Traffic::start("loss");
        let options = Options {
            ring_bytes: 1 << 20,
            backlog_bytes: 1,
            turn_limit: 1 << 30,
            ..Options::default()
        };
        let mut sensor = sensor_for(&traffic, options);
        traffic.order(kind);
        let mut seen = Seen::default();
        for round in 0..40 {
            traffic.order("send 200000");
            // Some rounds overflow, some do not.
            if round % 8 == 0 {
                seen.drain(&mut sensor);
            }
        }
        seen.finish(sensor);
        let side = &seen.write[&seen.client(&traffic.at[0])];
        assert!(side.lost > 0, "{kind}: the ring was to overflow");
        assert!(side.delivered() > 0);
        assert_eq!(side.cut, 0);
        side.assert_tells(&traffic.sent());
    }
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn past_the_limit_head_and_tail_are_kept() {
    let _turn = TURN.lock();
    let mut traffic = Traffic::start("limit");
    let options = Options {
        turn_limit: 100_000,
        ..Options::default()
    };
    let sensor = sensor_for(&traffic, options);
    traffic.order("tls");
    traffic.order("send 1000000");
    traffic.order("send 1000");
    let mut seen = Seen::default();
    seen.finish(sensor);
    let sent = traffic.sent();
    let side = &seen.write[&seen.client(&traffic.at[0])];
    side.assert_tells(&sent);
    assert_eq!(side.lost, 0);
    assert!(side.cut > 800_000);
    let (at, first) = &side.pieces[0];
    assert_eq!(*at, 0);
    assert!(first.len() >= 64 << 10);
    let reaches = |end: usize| {
        let end = end as u64;
        side.pieces
            .iter()
            .any(|(at, b)| at + b.len() as u64 == end && b.len() > 1000)
    };
    let second = sent.len() - sent.windows(4).rposition(|w| w == b"POST").expect("two");
    assert!(reaches(sent.len() - second), "the end of the first request");
    assert!(reaches(sent.len()), "the second request");
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn verdicts_keep_bytes_in_the_kernel() {
    let _turn = TURN.lock();
    let mut traffic = Traffic::start("verdict");
    let mut sensor = sensor_for(&traffic, Options::default());
    traffic.order("tls");
    traffic.order("send 5000");
    let first = traffic.sent().len() as u64;
    let mut seen = Seen::default();
    let delivered = |seen: &Seen| seen.write.values().map(Side::delivered).sum::<u64>();
    seen.drain_until(&mut sensor, |seen| delivered(seen) == first);
    let client = seen.client(&traffic.at[0]);

    sensor.set_verdict(client, Verdict::HeadsOnly);
    traffic.order("send 100000");
    sensor.set_verdict(client, Verdict::Unwanted);
    traffic.order("send 100000");
    sensor.set_verdict(client, Verdict::Wanted);
    let before_last = traffic.sent().len() as u64;
    traffic.order("send 100000");
    seen.finish(sensor);

    let side = &seen.write[&client];
    let sent = traffic.sent();
    side.assert_tells(&sent);
    let last = sent.len() as u64 - before_last;
    assert_eq!(side.delivered(), first + 4096 + last);
    assert_eq!((side.lost, side.cut), (0, before_last - first - 4096));
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn what_is_posted_is_whole_where_else_heads_are_enough() {
    let _turn = TURN.lock();
    for kind in ["tls", "plain"] {
        let mut traffic = Traffic::start("posts");
        let mut sensor = sensor_for(&traffic, Options::default());
        traffic.order(kind);
        traffic.order("get 5000");
        let first = traffic.sent().len() as u64;
        let mut seen = Seen::default();
        let delivered = |seen: &Seen| seen.write.values().map(Side::delivered).sum::<u64>();
        seen.drain_until(&mut sensor, |seen| delivered(seen) == first);
        let client = seen.client(&traffic.at[0]);
        sensor.set_verdict(client, Verdict::HeadsAndPosts);
        for _ in 0..20 {
            traffic.order("get 5000");
        }
        let before_last = traffic.sent().len() as u64;
        traffic.order("send 200000");
        traffic.order("get 5000");
        seen.finish(sensor);

        let side = &seen.write[&client];
        let sent = traffic.sent();
        side.assert_tells(&sent);
        let last = sent.len() as u64 - first - before_last;
        assert_eq!(side.delivered(), first + 20 * 4096 + last + 4096, "{kind}");
        assert_eq!(side.lost, 0);
    }
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn connections_that_were_open_before() {
    let _turn = TURN.lock();
    for kind in ["tls", "plain"] {
        let mut traffic = Traffic::start("midway");
        traffic.order(kind);
        traffic.order("send 100");
        let before = traffic.sent().len();
        let sensor = sensor_for(&traffic, Options::default());
        traffic.order("send 3000");
        traffic.order("close");
        let mut seen = Seen::default();
        seen.finish(sensor);
        let client = seen.client(&traffic.at[0]);
        seen.write[&client].assert_tells(&traffic.sent()[before..]);
        assert!(seen.closed.contains(&client), "{kind}");
    }
}

/// The number of a descriptor is given anew before the call that closes it returns.
#[test]
#[ignore = "needs root and the eBPF object"]
fn a_descriptor_that_is_taken_while_it_is_closed() {
    let _turn = TURN.lock();
    let mut traffic = Traffic::start("reuse");
    let sensor = sensor_for(&traffic, Options::default());
    traffic.order("reuse 3000");
    let mut seen = Seen::default();
    seen.finish(sensor);
    let client = seen.client(&traffic.at[0]);
    let side = &seen.write[&client];
    assert_eq!((side.lost, side.cut), (0, 0));
    side.assert_tells(&traffic.sent());
    assert!(!seen.closed.contains(&client));
    // The one before.
    assert!(!seen.closed.is_empty());
}

/// Its end is known by another way than its bytes, and may be known before them.
#[test]
#[ignore = "needs root and the eBPF object"]
fn the_last_bytes_of_a_process_that_ends() {
    let _turn = TURN.lock();
    for kind in ["tls", "plain", "tls", "plain"] {
        let mut traffic = Traffic::start("last");
        let mut sensor = sensor_for(&traffic, Options::default());
        traffic.order(kind);
        traffic.order("send 100");
        let mut seen = Seen::default();
        seen.drain_until(&mut sensor, |seen| !seen.write.is_empty());
        traffic.order_last("last 300000");
        seen.drain_until(&mut sensor, |seen| !seen.closed.is_empty());
        let client = seen.client(&traffic.at[0]);
        assert!(seen.closed.contains(&client), "{kind}");
        let side = &seen.write[&client];
        side.assert_tells(&traffic.sent());
        assert_eq!((side.lost, side.cut), (0, 0), "{kind}");
    }
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn addresses_of_tls_without_a_descriptor() {
    let _turn = TURN.lock();
    let mut traffic = Traffic::start("bio");
    let sensor = sensor_for(&traffic, Options::default());
    traffic.order("async 12 2000");
    let mut seen = Seen::default();
    seen.finish(sensor);
    assert_eq!(traffic.at.len(), 12);
    for address in &traffic.at {
        let side = &seen.write[&seen.client(address)];
        assert!(side.delivered() > 2000, "{address}");
    }
}

/// What a server is asked first comes before it has sent anything by which its socket could
/// be told.
#[test]
#[ignore = "needs root and the eBPF object"]
fn addresses_of_servers_without_a_descriptor() {
    let _turn = TURN.lock();
    let mut traffic = Traffic::start("served");
    let sensor = sensor_for(&traffic, Options::default());
    traffic.order("served 12 2000");
    let mut seen = Seen::default();
    seen.finish(sensor);
    let asked = seen.first.values().filter(|(d, _)| *d == Direction::Read);
    let known: Vec<bool> = asked.map(|(_, is_known)| *is_known).collect();
    assert_eq!(known, [true; 12]);
}

/// A library of the name that programs map, and a process that has mapped it and calls
/// nothing before it is told to.
struct Mapped {
    child: Child,
    folder: PathBuf,
}

impl Mapped {
    /// `calls`: in Python, with the library as `ssl`.
    fn start(test: &str, source: &str, calls: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("llmtap-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("temporary folder");
        let (file, library) = (folder.join("ssl.c"), folder.join("libssl.so"));
        fs::write(&file, source).expect("writable");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &file])
            .status();
        assert!(built.expect("a C compiler").success());
        let start = "import ctypes, sys; ssl = ctypes.CDLL(sys.argv[1]); \
            print('ready', flush=True); sys.stdin.readline()";
        let mut child = Command::new("python3")
            .args(["-c", &format!("{start}\n{calls}")])
            .arg(&library)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped"))
            .read_line(&mut line)
            .expect("text");
        Self { child, folder }
    }

    fn options(&self) -> Options {
        Options {
            pids: Pids::Only(vec![self.child.id()]),
            ..Options::default()
        }
    }

    /// Lets it make its calls.
    fn finish(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("our own child").success());
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `SSL_sendfile` as a program sees it that runs where the kernel does the encrypting.
const SENDS_FILES: &str = "
    int SSL_read(void *ssl, void *buf, int num) { return 0; }
    int SSL_write(void *ssl, const void *buf, int num) { return num; }
    long SSL_sendfile(void *ssl, int fd, long offset, unsigned long size, int flags) {
        return fd < 0 ? -1 : size;
    }";

const CALLS: &str = "
ssl.SSL_write(4096, b'head', 4)
ssl.SSL_sendfile(4096, 1, 0, 1000, 0)
ssl.SSL_sendfile(4096, -1, 0, 1000, 0)
ssl.SSL_write(4096, b'tail', 4)
";

#[test]
#[ignore = "needs root and the eBPF object"]
fn a_file_that_never_was_in_memory_is_missing_at_its_place() {
    let _turn = TURN.lock();
    let mut mapped = Mapped::start("file", SENDS_FILES, CALLS);
    let sensor = Sensor::start(&mapped.options()).expect("root, and an object");
    mapped.finish();
    let mut seen = Seen::default();
    seen.finish(sensor);
    let sides: Vec<&Side> = seen.write.values().collect();
    let [side] = sides[..] else {
        panic!("{} connections", sides.len())
    };
    assert_eq!(
        side.pieces,
        [(0, b"head".to_vec()), (1004, b"tail".to_vec())]
    );
    assert_eq!((side.lost, side.cut, side.end), (1000, 0, 1008));
}

/// Its probes go with the last process that maps it, and come back with the next.
#[test]
#[ignore = "needs root and the eBPF object"]
fn a_library_that_nobody_maps_is_let_go() {
    let _turn = TURN.lock();
    let mut mapped = Mapped::start("left", SENDS_FILES, "");
    let library = mapped.folder.join("libssl.so");
    let options = Options {
        sweep_every: Duration::from_millis(50),
        ..Options::default()
    };
    let mut sensor = Sensor::start(&options).expect("root, and an object");
    let is_probed = |sensor: &Sensor| {
        let images = sensor.status().images;
        images.iter().any(|i| i.path == library && i.sites() > 0)
    };
    let mut until = |wanted: bool| {
        let end = Instant::now() + Duration::from_secs(30);
        while is_probed(&sensor) != wanted {
            assert!(Instant::now() < end, "probed: {}", !wanted);
            sensor.wait(Duration::from_millis(10)).expect("waits");
            sensor.drain(&mut |_| {});
        }
    };
    until(true);
    // Time for a good many sweeps.
    thread::sleep(Duration::from_secs(1));
    until(true);
    mapped.finish();
    until(false);
    let load = "import ctypes, sys; ctypes.CDLL(sys.argv[1]); sys.stdin.readline()";
    let mut next = Command::new("python3")
        .args(["-c", load])
        .arg(&library)
        .stdin(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    until(true);
    drop(next.stdin.take());
    assert!(next.wait().expect("our own child").success());
}

/// A library that no process had mapped before, in a process that starts after the probes.
#[test]
#[ignore = "needs root and the eBPF object"]
fn a_new_library_in_a_new_process() {
    let _turn = TURN.lock();
    let libraries = std::env::temp_dir().join(format!("llmtap-libraries-{}", std::process::id()));
    fs::create_dir_all(&libraries).expect("temporary folder");
    for name in ["libssl.so.3", "libcrypto.so.3"] {
        let listed = Command::new("ldconfig")
            .arg("-p")
            .output()
            .expect("ldconfig");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let line = listed
            .lines()
            .find(|l| l.trim().starts_with(name))
            .expect("OpenSSL 3");
        let path = line.rsplit(' ').next().expect("a path");
        fs::copy(path, libraries.join(name)).expect("copied");
    }
    let mut sensor = Sensor::start(&Options::default()).expect("root, and an object built before");
    let mut seen = Seen::default();
    let mut traffic = Traffic::start_with("new", |command| {
        command.env("LD_LIBRARY_PATH", &libraries);
    });
    let end = Instant::now() + Duration::from_secs(20);
    let is_new = |image: &Arc<Image>| image.path.starts_with(&libraries) && image.sites() > 0;
    while !sensor.status().images.iter().any(is_new) {
        assert!(Instant::now() < end, "the new library was not noticed");
        sensor.wait(Duration::from_millis(10)).expect("waits");
        seen.drain(&mut sensor);
    }
    traffic.order("tls");
    traffic.order("send 5000");
    seen.finish(sensor);
    let _ = fs::remove_dir_all(&libraries);
    let side = &seen.write[&seen.client(&traffic.at[0])];
    side.assert_tells(&traffic.sent());
}
