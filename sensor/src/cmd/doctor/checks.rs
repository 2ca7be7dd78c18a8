//! What tracing needs of this host, checked one by one.
//!
//! In: files of `/proc` and `/sys`. Out: for each need whether it is met, and what to
//! do where it is not.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Works, but less well.
    Warn,
    /// Nothing can be traced.
    Fail,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    pub found: String,
    /// What to do; absent where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

fn ok(found: impl Into<String>) -> Answer {
    (Status::Ok, found.into(), None)
}

fn warn(found: impl Into<String>, advice: &'static str) -> Answer {
    (Status::Warn, found.into(), Some(advice))
}

fn fail(found: impl Into<String>, advice: &'static str) -> Answer {
    (Status::Fail, found.into(), Some(advice))
}

/// A name, and the way to check it.
type Need = (&'static str, fn(Host<'_>) -> Answer);

type Answer = (Status, String, Option<&'static str>);

/// The file system that is asked: the real one, or one of a test.
#[derive(Clone, Copy, Debug)]
struct Host<'a>(&'a Path);

impl Host<'_> {
    fn path(self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    fn exists(self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn read(self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The value of a field of `/proc/self/status`.
    fn status_field(self, name: &str) -> Option<String> {
        let status = self.read("/proc/self/status")?;
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    }

    fn has(self, capability: u32) -> bool {
        self.status_field("CapEff")
            .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
            .is_some_and(|mask| mask >> capability & 1 == 1)
    }
}

/// Every check, with `root` for the host's `/`.
pub fn all(root: &Path) -> Vec<Check> {
    const CHECKS: [Need; 10] = [
        ("kernel", kernel),
        ("types of the kernel (BTF)", btf),
        ("uprobes", uprobes),
        ("tracefs", tracefs),
        ("capabilities", capabilities),
        ("lockdown", lockdown),
        ("perf_event_paranoid", paranoid),
        ("locked memory", locked_memory),
        ("BPF compiler", compiler),
        ("process ids", process_ids),
    ];
    CHECKS
        .into_iter()
        .map(|(name, check)| {
            let (status, found, advice) = check(Host(root));
            Check {
                name,
                status,
                found,
                advice,
            }
        })
        .collect()
}

/// Whether they could be set, which is tried last; where they could, whether also in single
/// processes.
pub fn probes(outcome: Result<bool, &anyhow::Error>) -> Check {
    let (status, found, advice) = match outcome {
        Ok(true) => ok("can be set"),
        Ok(false) => warn(
            "can be set, but not in single processes",
            "busy processes that make no calls keep their probes; to release them takes the \
             process ids of the host and Linux 6.10, 6.9.4 or 6.6.33",
        ),
        Err(error) => fail(
            crate::cmd::explanation(error),
            "mend what is wrong above; where all is well, this kernel refuses what no check \
             knows of: please report it",
        ),
    };
    Check {
        name: "probes",
        status,
        found,
        advice,
    }
}

const OLDEST: (u32, u32) = (5, 10);

fn release(host: Host<'_>) -> Option<(u32, u32, String)> {
    let release = host.read("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor, release))
}

fn kernel(host: Host<'_>) -> Answer {
    match release(host) {
        Some((major, minor, release)) if (major, minor) >= OLDEST => {
            ok(format!("{release}, {}", std::env::consts::ARCH))
        }
        Some((.., release)) => fail(release, "boot a kernel of 5.10 or newer"),
        None => warn("version unknown", "mount /proc"),
    }
}

fn btf(host: Host<'_>) -> Answer {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    if host.exists(PATH) {
        ok(PATH)
    } else {
        fail(
            "no /sys/kernel/btf/vmlinux",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF, as distributions ship it; in a \
             container, mount /sys",
        )
    }
}

fn uprobes(host: Host<'_>) -> Answer {
    if host.exists("/sys/bus/event_source/devices/uprobe/type") {
        ok("perf event source")
    } else {
        fail(
            "no perf event source `uprobe`",
            "boot a kernel built with CONFIG_UPROBE_EVENTS",
        )
    }
}

fn tracefs(host: Host<'_>) -> Answer {
    let place = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .into_iter()
        .find(|place| host.exists(&format!("{place}/events/syscalls")));
    match place {
        Some(place) => ok(place),
        None => fail(
            "not mounted, or without system calls",
            "mount -t tracefs tracefs /sys/kernel/tracing",
        ),
    }
}

/// Numbers of capability.h.
const NEEDED: [(u32, &str, bool); 5] = [
    (39, "CAP_BPF", true),
    (38, "CAP_PERFMON", true),
    (19, "CAP_SYS_PTRACE", true),
    // Names the files in other mount namespaces by their mapping.
    (40, "CAP_CHECKPOINT_RESTORE", false),
    (2, "CAP_DAC_READ_SEARCH", false),
];
const SYS_ADMIN: u32 = 21;
const SYS_RESOURCE: u32 = 24;

fn capabilities(host: Host<'_>) -> Answer {
    if host.has(SYS_ADMIN) && NEEDED.iter().all(|(number, ..)| host.has(*number)) {
        return ok("all that are needed");
    }
    // CAP_SYS_ADMIN stands for the first two, which are part of it since 5.8.
    let covered = |number| host.has(number) || (number >= 38 && host.has(SYS_ADMIN));
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|(number, ..)| !covered(*number))
        .collect();
    let names: Vec<&str> = missing.iter().map(|(_, name, _)| *name).collect();
    let found = format!("without {}", names.join(", "));
    const ADVICE: &str = "run as root, or grant the capabilities (systemd: \
         AmbientCapabilities=; container: --cap-add)";
    if missing.iter().any(|(.., required)| *required) {
        fail(found, ADVICE)
    } else if missing.is_empty() {
        ok("all that are needed")
    } else {
        warn(found, ADVICE)
    }
}

fn lockdown(host: Host<'_>) -> Answer {
    let Some(modes) = host.read("/sys/kernel/security/lockdown") else {
        return ok("none");
    };
    let mode = modes
        .split_whitespace()
        .find_map(|mode| mode.strip_prefix('[')?.strip_suffix(']'))
        .unwrap_or("unknown");
    match mode {
        "confidentiality" => fail(
            mode,
            "boot with lockdown=integrity: in this mode BPF may not read memory",
        ),
        _ => ok(mode),
    }
}

fn paranoid(host: Host<'_>) -> Answer {
    let level = host.read("/proc/sys/kernel/perf_event_paranoid");
    let level = level.unwrap_or_else(|| "unknown".into());
    let strict = level.parse().is_ok_and(|level: i32| level > 2);
    if !strict || host.has(SYS_ADMIN) {
        ok(level)
    } else {
        warn(
            format!("{level}, and no CAP_SYS_ADMIN"),
            "where attaching fails, sysctl kernel.perf_event_paranoid=2: some distributions \
             ask for more than CAP_PERFMON above it",
        )
    }
}

fn locked_memory(host: Host<'_>) -> Answer {
    // Since 5.11 maps are charged to the control group.
    if release(host).is_none_or(|(major, minor, _)| (major, minor) >= (5, 11)) {
        return ok("charged to the control group");
    }
    let limits = host.read("/proc/self/limits").unwrap_or_default();
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or("unknown");
    if limit == "unlimited" || host.has(SYS_RESOURCE) {
        ok(limit)
    } else {
        fail(
            format!("{limit} bytes, and no CAP_SYS_RESOURCE"),
            "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)",
        )
    }
}

fn compiler(host: Host<'_>) -> Answer {
    match host.read("/proc/sys/net/core/bpf_jit_enable").as_deref() {
        Some("0") => warn(
            "off: probes are interpreted",
            "sysctl net.core.bpf_jit_enable=1",
        ),
        Some(_) => ok("on"),
        // Not shown where it can't be switched off, nor in other network namespaces.
        None => ok("always on, or not shown here"),
    }
}

fn process_ids(host: Host<'_>) -> Answer {
    /// The inode of the first pid namespace, fixed in the kernel.
    const INITIAL: &str = "pid:[4026531836]";
    match fs::read_link(host.path("/proc/self/ns/pid")) {
        Ok(link) if link.as_os_str() == INITIAL => ok("of the host"),
        Ok(_) => warn(
            "of a container",
            "run with the host's process ids (docker: --pid=host; Kubernetes: hostPID), or \
             only this container's processes are found",
        ),
        Err(_) => warn("unknown", "mount /proc"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host whose files are as the test wants them, removed at the end.
    struct Fixture(PathBuf);

    impl Fixture {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let name = format!("llmtap-doctor-{}-{name}", std::process::id());
            let fixture = Self(std::env::temp_dir().join(name));
            for (path, text) in files {
                let path = Host(&fixture.0).path(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            fixture
        }

        fn status(&self, check: &str) -> Status {
            let checks = all(&self.0);
            checks.iter().find(|c| c.name == check).unwrap().status
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_host_that_has_all() {
        let host = Fixture::new(
            "full",
            &[
                ("/proc/sys/kernel/osrelease", "6.1.0-18-cloud-amd64\n"),
                ("/proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n"),
                ("/sys/kernel/btf/vmlinux", ""),
                ("/sys/bus/event_source/devices/uprobe/type", "9\n"),
                ("/sys/kernel/tracing/events/syscalls/enable", "0"),
                (
                    "/sys/kernel/security/lockdown",
                    "[none] integrity confidentiality",
                ),
                ("/proc/sys/kernel/perf_event_paranoid", "3"),
                ("/proc/sys/net/core/bpf_jit_enable", "1"),
            ],
        );
        std::os::unix::fs::symlink("pid:[4026531836]", {
            let ns = host.0.join("proc/self/ns");
            fs::create_dir_all(&ns).unwrap();
            ns.join("pid")
        })
        .unwrap();
        for check in all(&host.0) {
            assert_eq!(
                (check.status, check.advice),
                (Status::Ok, None),
                "{check:?}"
            );
        }
    }

    #[test]
    fn a_host_that_has_nothing() {
        let host = Fixture::new(
            "old",
            &[
                ("/proc/sys/kernel/osrelease", "5.4.0-1\n"),
                ("/proc/self/status", "CapEff:\t0000000000000000\n"),
                (
                    "/proc/self/limits",
                    "Max locked memory         65536   65536   bytes\n",
                ),
                (
                    "/sys/kernel/security/lockdown",
                    "none integrity [confidentiality]",
                ),
                ("/proc/sys/kernel/perf_event_paranoid", "4"),
                ("/proc/sys/net/core/bpf_jit_enable", "0"),
            ],
        );
        for (check, status) in [
            ("kernel", Status::Fail),
            ("types of the kernel (BTF)", Status::Fail),
            ("uprobes", Status::Fail),
            ("tracefs", Status::Fail),
            ("capabilities", Status::Fail),
            ("lockdown", Status::Fail),
            ("perf_event_paranoid", Status::Warn),
            ("locked memory", Status::Fail),
            ("BPF compiler", Status::Warn),
            ("process ids", Status::Warn),
        ] {
            assert_eq!(host.status(check), status, "{check}");
        }
        assert!(all(&host.0).iter().all(|c| c.advice.is_some()));
    }

    #[test]
    fn single_capabilities_are_enough() {
        let mask = |numbers: &[u32]| {
            let mask = numbers.iter().fold(0_u64, |mask, n| mask | 1 << n);
            format!("CapEff:\t{mask:016x}\n")
        };
        let with = |name, numbers: &[u32]| {
            let status = mask(numbers);
            Fixture::new(name, &[("/proc/self/status", &status)]).status("capabilities")
        };
        assert_eq!(with("fine", &[39, 38, 19, 40, 2]), Status::Ok);
        assert_eq!(with("admin", &[21, 19, 2]), Status::Ok);
        assert_eq!(with("partly", &[39, 38, 19]), Status::Warn);
        assert_eq!(with("blind", &[39, 19, 40, 2]), Status::Fail);
    }
}
