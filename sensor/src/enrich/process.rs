//! What `/proc` tells of a process: its name, file, command line, owner, service and
//! container.
//!
//! In: a process id. Out: the facts of an [`Origin`] that were missing. Reads while
//! the process lives; what is gone or not readable stays unknown. Its environment
//! may hold secrets: the service's name is all that is taken from it. All of it may be
//! hostile: a process writes its own command line. No file below its root is opened.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::command;
use super::container::Place;
use crate::event::Origin;

/// The most that is read of a file, in bytes.
const MAX_FILE: u64 = 128 << 10;

/// Processes remembered at most.
const MAX_PROCESSES: usize = 1 << 13;

/// Processes that were asked about.
#[derive(Debug, Default)]
pub struct Processes {
    known: HashMap<u32, Known>,
}

#[derive(Debug)]
struct Known {
    /// When it started, in the kernel's ticks: a number may be used again.
    started: u64,
    /// It may run another program later.
    exe: Option<Box<str>>,
    facts: Arc<Origin>,
}

impl Processes {
    /// Fills in what `origin` does not know of its process.
    pub fn fill(&mut self, origin: &mut Origin) {
        let Some(pid) = origin.pid else { return };
        let known = std::mem::take(origin);
        *origin = Origin::clone(&self.facts(pid));
        origin.update(known);
    }

    fn facts(&mut self, pid: u32) -> Arc<Origin> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let started = started(&proc);
        let exe = exe(&proc);
        if let Some(known) = self.known.get(&pid)
            // Of one that is gone the last that was known is right; one that has no command
            // line may have been looked at while it began to run its program.
            && started.is_none_or(|at| {
                at == known.started && exe == known.exe && known.facts.command_line.is_some()
            })
        {
            return Arc::clone(&known.facts);
        }
        let facts = Arc::new(facts(&proc, exe.clone()));
        if let Some(started) = started {
            if self.known.len() >= MAX_PROCESSES {
                self.known.clear();
            }
            let known = Known {
                started,
                exe,
                facts: Arc::clone(&facts),
            };
            self.known.insert(pid, known);
        }
        facts
    }
}

fn facts(proc: &Path, exe: Option<Box<str>>) -> Origin {
    // First: where it is there, so is all else of the program that is run.
    let command_line = read(&proc.join("cmdline"));
    let cgroup = text(&proc.join("cgroup")).unwrap_or_default();
    let place = Place::of(&cgroup);
    let environment = text(&proc.join("environ")).unwrap_or_default();
    Origin {
        comm: text(&proc.join("comm")).map(|comm| comm.trim_end().into()),
        exe,
        command_line: command_line.and_then(|line| command::redacted(&line)),
        owner: owner(proc, &["/proc/self", "/proc/1"].map(Path::new)),
        service: declared_service(&environment).map(Box::from),
        unit: place.unit.map(Box::from),
        container: place.container.map(|c| c.id.into()),
        runtime: place.container.and_then(|c| c.runtime).map(Box::from),
        pod_uid: place.pod.map(|uid| uid.replace('_', "-").into()),
        ..Origin::default()
    }
}

fn exe(proc: &Path) -> Option<Box<str>> {
    let path = fs::read_link(proc.join("exe")).ok()?;
    Some(path.to_string_lossy().trim_end_matches(" (deleted)").into())
}

/// Field 22 of `stat` (proc(5)); the second, a name, may hold anything.
fn started(proc: &Path) -> Option<u64> {
    let stat = text(&proc.join("stat"))?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// The name of the process's user where it sees the same files as one of those who are
/// `trusted`, its number elsewhere: what another root says of users is anybody's word, and
/// may be long in coming.
fn owner(proc: &Path, trusted: &[&Path]) -> Option<Box<str>> {
    let status = text(&proc.join("status"))?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let user = ids.split_whitespace().nth(1)?;
    let files = |proc: &Path| fs::read_link(proc.join("ns/mnt")).ok();
    let own = files(proc);
    let is_alike = |host: &&&Path| own.is_some() && files(host) == own;
    let host = trusted.iter().find(is_alike);
    let users = host.and_then(|host| text(&host.join("root/etc/passwd")));
    let name = users.iter().flat_map(|text| text.lines()).find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number == user && !name.is_empty() && name.len() <= 64).then_some(name)
    });
    Some(name.unwrap_or(user).into())
}

fn text(path: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&read(path)?).into_owned())
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The name that OpenTelemetry's variables give the service.
fn declared_service(environment: &str) -> Option<&str> {
    let variable = |name: &str| {
        environment
            .split('\0')
            .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
            .filter(|value| !value.is_empty())
    };
    variable("OTEL_SERVICE_NAME").or_else(|| {
        variable("OTEL_RESOURCE_ATTRIBUTES")?
            .split(',')
            .find_map(|pair| pair.trim().strip_prefix("service.name="))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};

    /// A process that waits until it is dropped.
    struct Waiting(Child);

    impl Waiting {
        fn start(change: impl FnOnce(&mut Command)) -> Self {
            let mut command = Command::new("sleep");
            command.env_clear();
            change(&mut command);
            let waiting = Self(command.spawn().unwrap());
            // The kernel lets us go on a little before it is set up.
            let line = PathBuf::from(format!("/proc/{}/cmdline", waiting.0.id()));
            while read(&line).unwrap().is_empty() {
                std::thread::yield_now();
            }
            waiting
        }

        fn facts(&self) -> Origin {
            facts_of(&mut Processes::default(), self.0.id())
        }
    }

    impl Drop for Waiting {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    fn facts_of(processes: &mut Processes, pid: u32) -> Origin {
        let mut origin = Origin {
            pid: Some(pid),
            ..Origin::default()
        };
        processes.fill(&mut origin);
        origin
    }

    #[test]
    fn a_process_is_found() {
        let process = Waiting::start(|command| {
            command.arg("600").env("OTEL_SERVICE_NAME", "cart");
        });
        let origin = process.facts();
        assert_eq!(origin.pid, Some(process.0.id()));
        assert_eq!(origin.comm.as_deref(), Some("sleep"));
        assert!(origin.exe.unwrap().starts_with('/'));
        assert_eq!(origin.command_line.as_deref(), Some("sleep 600"));
        assert_eq!(origin.service.as_deref(), Some("cart"));
    }

    #[test]
    #[ignore = "needs root"]
    fn the_owner_has_a_name_or_a_number() {
        let owner = |user| {
            let process = Waiting::start(|command| {
                command.arg("600").uid(user);
            });
            process.facts().owner
        };
        assert_eq!(owner(0).as_deref(), Some("root"));
        assert_eq!(owner(54_321).as_deref(), Some("54321"));
    }

    #[test]
    fn what_is_known_is_kept_and_what_changes_is_seen() {
        let mut processes = Processes::default();
        let mut child = Command::new("sh");
        let child = child.args(["-c", "read x; exec sleep 600"]);
        let mut process = Waiting(child.stdin(std::process::Stdio::piped()).spawn().unwrap());
        let pid = process.0.id();
        let shell = facts_of(&mut processes, pid).exe;
        drop(process.0.stdin.take());
        let changes = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            facts_of(&mut processes, pid).command_line.as_deref() == Some("sleep 600")
        });
        assert!(changes);
        let known = facts_of(&mut processes, pid);
        assert_ne!(known.exe, shell);
        drop(process);
        assert_eq!(facts_of(&mut processes, pid), known, "it is gone");
    }

    #[test]
    fn a_process_that_is_gone_changes_nothing() {
        let known = Origin {
            pid: Some(u32::MAX),
            comm: Some("gone".into()),
            ..Origin::default()
        };
        let mut origin = known.clone();
        Processes::default().fill(&mut origin);
        assert_eq!(origin, known);
    }

    #[test]
    fn only_the_host_names_users() {
        let folder = tempfile::tempdir().unwrap();
        let process = |name: &str, files: &str| {
            let proc = folder.path().join(name);
            for part in ["ns", "root/etc"] {
                fs::create_dir_all(proc.join(part)).unwrap();
            }
            std::os::unix::fs::symlink(files, proc.join("ns/mnt")).unwrap();
            fs::write(proc.join("status"), "Name:\tx\nUid:\t7\t7\t7\t7\n").unwrap();
            let users = format!("x\na:b\n{name}:x:7:7::/:/bin/sh\n");
            fs::write(proc.join("root/etc/passwd"), users).unwrap();
            proc
        };
        let init = process("bob", "mnt:[1]");
        let here = process("here", "mnt:[1]");
        let elsewhere = process("eve", "mnt:[2]");
        assert_eq!(owner(&here, &[&elsewhere, &init]).as_deref(), Some("bob"));
        assert_eq!(owner(&elsewhere, &[&here, &init]).as_deref(), Some("7"));
        assert_eq!(owner(&folder.path().join("gone"), &[&init]), None);
    }

    #[test]
    fn the_start_is_told_whatever_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let fields: Vec<String> = (3..52).map(|n| n.to_string()).collect();
        let stat = format!("1 (a) b) S {}", fields[1..].join(" "));
        fs::write(folder.path().join("stat"), stat).unwrap();
        assert_eq!(started(folder.path()), Some(22));
    }

    #[test]
    fn the_service_is_what_it_says() {
        let environment = "PATH=/bin\0OTEL_RESOURCE_ATTRIBUTES=a=b,service.name=shop\0";
        assert_eq!(declared_service(environment), Some("shop"));
        let both = format!("{environment}OTEL_SERVICE_NAME=cart\0");
        assert_eq!(declared_service(&both), Some("cart"));
        assert_eq!(declared_service("HOME=/root\0"), None);
    }

    /// Makes groups in the real hierarchy and puts a process into them.
    #[test]
    #[ignore = "needs control groups that can be written"]
    fn a_process_in_a_group_of_a_runtime() {
        const ID: &str = "3f4e1c0b2a59687f3f4e1c0b2a59687f3f4e1c0b2a59687f3f4e1c0b2a59687f";
        let base = CgroupFolder::hierarchy().expect("one that can be written");
        for (group, runtime) in [
            (format!("docker-{ID}.scope"), "docker"),
            (format!("cri-containerd-{ID}.scope"), "containerd"),
            (format!("crio-{ID}.scope"), "cri-o"),
            (format!("libpod-{ID}.scope"), "podman"),
        ] {
            let folder = CgroupFolder::make(&base, &group);
            let process = Waiting::start(|command| {
                command.arg("600");
            });
            fs::write(folder.0.join("cgroup.procs"), process.0.id().to_string()).unwrap();
            let origin = process.facts();
            assert_eq!(origin.container.as_deref(), Some(ID), "{group}");
            assert_eq!(origin.runtime.as_deref(), Some(runtime), "{group}");
        }
        let folder = CgroupFolder::make(&base, "llmtap-test.service");
        let process = Waiting::start(|command| {
            command.arg("600");
        });
        fs::write(folder.0.join("cgroup.procs"), process.0.id().to_string()).unwrap();
        let origin = process.facts();
        assert_eq!(origin.unit.as_deref(), Some("llmtap-test.service"));
        assert_eq!(origin.container, None);
    }

    /// A control group that goes with this.
    struct CgroupFolder(PathBuf);

    impl CgroupFolder {
        /// One that is writable, version 2 or the first of version 1.
        fn hierarchy() -> Option<PathBuf> {
            let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
            let mut places = mounts.lines().filter_map(|line| {
                let mut words = line.split(' ');
                let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
                kind.starts_with("cgroup").then(|| PathBuf::from(place))
            });
            places.find(|place| {
                let probe = place.join(format!("llmtap-probe-{}", std::process::id()));
                let made = fs::create_dir(&probe).is_ok();
                let usable = made && probe.join("cgroup.procs").exists();
                if made {
                    let _ = fs::remove_dir(&probe);
                }
                usable
            })
        }

        fn make(base: &Path, name: &str) -> Self {
            let unique = format!("llmtap-test-{}.slice", std::process::id());
            let place = base.join(unique).join(name);
            fs::create_dir_all(&place).unwrap();
            Self(place)
        }
    }

    impl Drop for CgroupFolder {
        fn drop(&mut self) {
            // Those that were in it are gone, but the kernel may not have noticed yet.
            for _ in 0..1000 {
                if fs::remove_dir(&self.0).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            let _ = self.0.parent().map(fs::remove_dir);
        }
    }
}
