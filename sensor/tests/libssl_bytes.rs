//! On real builds of libssl that run here: the sites take no single step, they are
//! passed as often as the public functions, and live probes on them deliver every byte.
//!
//! Needs root, `LLMTAP_BUILDS_DIR` as `libssl_builds.rs` does, and for the bytes the
//! eBPF object.

#![allow(unsafe_code, reason = "performance counters have no safe interface")]

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use llmtap::discover::process::{self, Outcome};
use llmtap::discover::{self, Cache, Exit, Finding, Function, Hook, HookPlan, SiteCost};
use llmtap::event::{Direction, Event, EventKind};
use llmtap::probe::{Options, Pids, Sensor};

/// Builds that run on x86-64: directory, part of the file's name, suite of the C library
/// that it needs if that is not the machine's own.
const BUILDS: &[(&str, &str, Option<&str>)] = &[
    ("debian/bullseye-amd64/libssl1.1", "libssl.so", None),
    ("debian/bookworm-amd64/libssl3", "libssl.so", None),
    (
        "debian/trixie-amd64/libssl3t64",
        "libssl.so",
        Some("trixie"),
    ),
    ("debian/sid-amd64/libssl3t64", "libssl.so", Some("sid")),
    (
        "wheels/psycopg2-binary-2.7.7-manylinux1_x86_64",
        "libssl-",
        None,
    ),
    (
        "wheels/psycopg2-binary-2.9.5-manylinux2014_x86_64",
        "libssl-",
        None,
    ),
    (
        "wheels/psycopg2-binary-2.9.9-manylinux2014_x86_64",
        "libssl-",
        None,
    ),
    (
        "wheels/psycopg2-binary-2.9.13-manylinux2014_x86_64",
        "libssl-",
        None,
    ),
    (
        "wheels/psycopg-binary-3.3.9-manylinux2014_x86_64",
        "libssl-",
        None,
    ),
    (
        "wheels/pycurl-7.49.0-manylinux_2_28_x86_64",
        "libssl-",
        None,
    ),
    (
        "wheels/pymssql-2.4.6-manylinux_2_28_x86_64",
        "libssl-",
        None,
    ),
];

/// OpenSSL 1.0.2 has no cheap place for SSL_write.
const STEPPED: &str = "wheels/psycopg2-binary-2.7.7-manylinux1_x86_64";

fn root() -> PathBuf {
    std::env::var_os("LLMTAP_BUILDS_DIR")
        .map(PathBuf::from)
        .expect("LLMTAP_BUILDS_DIR is not set")
}

/// The first file below `directory` whose name has that part.
fn find(directory: &Path, part: &str) -> Option<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|e| e.path())
        .collect();
    entries.sort();
    let (directories, files): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .filter(|path| !path.is_symlink())
        .partition(|path| path.is_dir());
    let named = |path: &&PathBuf| {
        path.file_name()
            .is_some_and(|n| n.to_string_lossy().contains(part))
    };
    let found = files.iter().find(named).cloned();
    found.or_else(|| {
        directories
            .iter()
            .find_map(|directory| find(directory, part))
    })
}

/// A process that talks TLS with itself when told to.
struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What each end sent and got is left here.
    out: PathBuf,
}

impl Talk {
    fn new(name: &str, library: &Path, suite: Option<&str>) -> Self {
        let exe = std::env::current_exe().unwrap();
        let program = exe
            .ancestors()
            .nth(2)
            .unwrap()
            .join("examples/tls_exchange");
        let out = std::env::temp_dir().join(format!("llmtap-{name}-{}", std::process::id()));
        fs::create_dir_all(&out).unwrap();
        let own = library.parent().unwrap().display().to_string();
        let mut command = match suite {
            None => Command::new(&program),
            Some(suite) => {
                let c = root().join(format!(
                    "debian/{suite}-amd64/libc6/usr/lib/x86_64-linux-gnu"
                ));
                let mut command = Command::new(c.join("ld-linux-x86-64.so.2"));
                let rest = "/usr/lib/x86_64-linux-gnu:/lib/x86_64-linux-gnu";
                command
                    .arg("--library-path")
                    .arg(format!("{own}:{}:{rest}", c.display()));
                command.arg(&program);
                command
            }
        };
        command.arg(library).arg(&out).env("LD_LIBRARY_PATH", own);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut talk = Self {
            child,
            input,
            output,
            out,
        };
        assert_eq!(talk.line(), "ready", "{}", library.display());
        talk
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn go(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// What it wrote and read on each end of each connection, in no order.
    fn streams(&self) -> Vec<[Vec<u8>; 2]> {
        let stream = |number, end, direction| {
            fs::read(self.out.join(format!("{number}-{end}-{direction}"))).unwrap()
        };
        (0..4)
            .flat_map(|number| ["client", "server"].map(|end| (number, end)))
            .map(|(number, end)| [stream(number, end, "write"), stream(number, end, "read")])
            .collect()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.out);
    }
}

fn plan(library: &Path) -> HookPlan {
    discover::analyse(&File::open(library).unwrap())
        .unwrap()
        .expect("a plan")
}

/// Counts how often a place of a file is passed. No return probe is involved.
struct Counter(Vec<File>);

impl Counter {
    fn new(path: &Path, offset: u64) -> Self {
        let cpus = std::thread::available_parallelism().unwrap().get();
        Self((0..cpus).map(|cpu| Self::on(cpu, path, offset)).collect())
    }

    fn on(cpu: usize, path: &Path, offset: u64) -> File {
        /// `struct perf_event_attr` as far as it is needed.
        #[repr(C)]
        struct Attributes {
            kind: u32,
            size: u32,
            unused: [u64; 6],
            path: u64,
            offset: u64,
        }
        const ANY_PROCESS: i32 = -1;
        const NO_GROUP: i32 = -1;
        const CLOSE_ON_EXEC: u64 = 8;
        let kind = fs::read_to_string("/sys/bus/event_source/devices/uprobe/type").unwrap();
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        let attributes = Attributes {
            kind: kind.trim().parse().unwrap(),
            size: size_of::<Attributes>() as u32,
            unused: [0; 6],
            path: path.as_ptr() as u64,
            offset,
        };
        let attributes = &raw const attributes;
        // SAFETY: the attributes and the path live through the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                attributes,
                ANY_PROCESS,
                cpu,
                NO_GROUP,
                CLOSE_ON_EXEC,
            )
        };
        assert!(
            fd >= 0,
            "perf_event_open: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: a fresh descriptor that nothing else owns.
        unsafe { File::from_raw_fd(fd as i32) }
    }

    fn value(&self) -> u64 {
        let value = |mut file: &File| {
            let mut bytes = [0; 8];
            file.read_exact(&mut bytes).unwrap();
            u64::from_ne_bytes(bytes)
        };
        self.0.iter().map(value).sum()
    }
}

/// An instruction and what comes after it, as `tls_exchange` prints it.
fn instruction(library: &Path, offset: u64) -> String {
    let mut bytes = [0; 16];
    let file = File::open(library).unwrap();
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_read(function: Function) -> bool {
    matches!(function, Function::Read | Function::ReadEx)
}

fn is_write(function: Function) -> bool {
    matches!(
        function,
        Function::Write | Function::WriteEx | Function::WriteEx2
    )
}

/// Where an ELF symbol lies in the file, by `nm` and the segments.
fn public(library: &Path, name: &str) -> Option<u64> {
    let listing = Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(library)
        .output()
        .unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let line = listing.lines().find(|line| {
        line.split(' ')
            .nth(2)
            .is_some_and(|symbol| symbol.split('@').next() == Some(name))
    })?;
    let address = u64::from_str_radix(line.split(' ').next()?, 16).unwrap();
    let headers = Command::new("readelf")
        .args(["-lW"])
        .arg(library)
        .output()
        .unwrap();
    let headers = String::from_utf8(headers.stdout).unwrap();
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    headers
        .lines()
        .filter(|line| line.trim_start().starts_with("LOAD"))
        .find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (offset, start, size) = (hex(words[1]), hex(words[2]), hex(words[4]));
            (start..start + size)
                .contains(&address)
                .then(|| address - start + offset)
        })
}

#[test]
#[ignore = "needs root and downloaded builds"]
fn sites_take_no_single_step() {
    for &(directory, part, suite) in BUILDS {
        let library = find(&root().join(directory), part).expect(directory);
        let plan = plan(&library);
        let mut talk = Talk::new("steps", &library, suite);
        let carriers: Vec<&Hook> = plan
            .hooks
            .iter()
            .filter(|h| is_read(h.function) || is_write(h.function))
            .collect();
        let counters: Vec<Counter> = carriers
            .iter()
            .map(|hook| Counter::new(&library, hook.entry.offset))
            .collect();
        talk.go();
        let done = talk.line();
        let moved: Vec<u64> = done
            .split(' ')
            .skip(1)
            .map(|n| n.parse().unwrap())
            .collect();
        let passed = |wanted: fn(Function) -> bool| -> u64 {
            let both = carriers
                .iter()
                .zip(&counters)
                .filter(|(hook, _)| wanted(hook.function));
            both.map(|(_, counter)| counter.value()).sum()
        };
        println!(
            "{directory}: {done}, passed {} {}",
            passed(is_read),
            passed(is_write)
        );
        assert!(
            passed(is_read) >= moved[0],
            "{directory}: reads pass unseen"
        );
        assert!(
            passed(is_write) >= moved[1],
            "{directory}: writes pass unseen"
        );
        let cheap = carriers
            .iter()
            .all(|hook| hook.entry.cost == SiteCost::Emulated);
        assert_eq!(cheap, directory != STEPPED, "{directory}");
        // Another tracer's sites may be stepped through, but not ours.
        let stepped = talk.line();
        let is_stepped = |hook: &&Hook| stepped.contains(&instruction(&library, hook.entry.offset));
        assert_eq!(carriers.iter().any(is_stepped), !cheap, "{directory}");
    }
}

#[test]
#[ignore = "needs root and downloaded builds"]
fn sites_are_passed_as_often_as_public_functions() {
    for &(directory, part, suite) in BUILDS {
        let library = find(&root().join(directory), part).expect(directory);
        let plan = plan(&library);
        let mut talk = Talk::new("calls", &library, suite);
        let count = |offset| Counter::new(&library, offset);
        let offsets = |wanted: fn(Function) -> bool| {
            plan.hooks
                .iter()
                .filter(move |h| wanted(h.function))
                .map(|h| h.entry.offset)
        };
        let reads: Vec<_> = offsets(is_read).map(count).collect();
        let writes: Vec<_> = offsets(is_write).map(count).collect();
        let newest = public(&library, "SSL_write_ex2");
        let public_reads: Vec<_> = ["SSL_read", "SSL_read_ex"]
            .iter()
            .filter_map(|n| public(&library, n))
            .map(count)
            .collect();
        // Where there is SSL_write_ex2, SSL_write_ex only leads there.
        let names = if newest.is_some() {
            ["SSL_write", "SSL_write_ex2"]
        } else {
            ["SSL_write", "SSL_write_ex"]
        };
        let public_writes: Vec<_> = names
            .iter()
            .filter_map(|n| public(&library, n))
            .map(count)
            .collect();
        talk.go();
        talk.line();
        assert_ne!(
            talk.line(),
            "stepped",
            "{directory}: the public functions take single steps"
        );
        let sum = |counters: &[Counter]| counters.iter().map(Counter::value).sum::<u64>();
        println!(
            "{directory}: {} {}",
            sum(&public_reads),
            sum(&public_writes)
        );
        assert_eq!(sum(&reads), sum(&public_reads), "{directory}");
        assert_eq!(sum(&writes), sum(&public_writes), "{directory}");
        assert!(
            plan.hooks
                .iter()
                .all(|hook| !matches!(hook.exit, Some(Exit::Sites(_))))
        );
    }
}

#[test]
#[ignore = "needs root, downloaded builds and the eBPF object"]
fn every_byte_is_delivered() {
    for &(directory, part, suite) in BUILDS {
        let library = find(&root().join(directory), part).expect(directory);
        let mut talk = Talk::new("bytes", &library, suite);
        let options = Options {
            pids: Pids::Only(vec![talk.child.id()]),
            turn_limit: u64::MAX,
            ..Options::default()
        };
        let mut sensor = Sensor::start(&options).unwrap();
        talk.go();
        let seen = collect(&mut sensor, &mut talk);
        let mut expected = talk.streams();
        let bytes: usize = expected.iter().flatten().map(Vec::len).sum();
        let mut seen: Vec<_> = seen.into_values().filter(|s| !s[0].is_empty()).collect();
        expected.sort();
        seen.sort();
        println!(
            "{directory}: {} of {} streams, {bytes} bytes",
            seen.len() * 2,
            expected.len() * 2
        );
        assert!(
            seen == expected,
            "{directory}: other bytes than were sent and received"
        );
    }
}

#[test]
#[ignore = "needs root and downloaded builds"]
fn a_process_is_told_by_its_files() {
    for &(directory, part, suite) in BUILDS {
        let library = find(&root().join(directory), part).expect(directory);
        let talk = Talk::new("facts", &library, suite);
        let facts = process::tls_files(talk.child.id(), &mut Cache::in_memory()).unwrap();
        let found = facts.iter().find_map(|facts| match &facts.outcome {
            Outcome::Found(Finding::Hooks(found)) if facts.file.path == library => Some(found),
            _ => None,
        });
        assert_eq!(found, Some(&plan(&library)), "{facts:#?}");
    }
}

/// Drains the sensor until the talk is over; written and read bytes by connection.
fn collect(sensor: &mut Sensor, talk: &mut Talk) -> HashMap<u64, [Vec<u8>; 2]> {
    let mut streams: HashMap<u64, [Vec<u8>; 2]> = HashMap::new();
    let mut sink = |event: Event<'_>| {
        if let EventKind::Data {
            direction,
            missing,
            bytes,
        } = event.kind
        {
            assert!(missing.is_none(), "{missing:?}");
            let side = usize::from(direction == Direction::Read);
            streams.entry(event.connection.0).or_default()[side].extend_from_slice(bytes);
        }
    };
    std::thread::scope(|scope| {
        let (sender, done) = mpsc::channel();
        let output = &mut talk.output;
        scope.spawn(move || {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            sender.send(()).unwrap();
        });
        while done.try_recv().is_err() {
            sensor.wait(Duration::from_millis(5)).unwrap();
            sensor.drain(&mut sink);
        }
    });
    // Only a stopped sensor has nothing left in the ring.
    sensor.stop();
    while sensor.drain(&mut sink) {}
    streams
}
