//! What `/proc` tells of a process: its name, file, service and container.
//!
//! In: a process id. Out: the facts of an [`Origin`] that were missing. Reads while
//! the process lives; what is gone or not readable stays unknown. Its environment
//! may hold secrets: the service's name is all that is taken from it.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::event::Origin;

/// The most that is read of a file of `/proc`, in bytes.
const MAX_FILE: u64 = 128 << 10;

/// Fills in what `origin` does not know of its process.
pub fn fill(origin: &mut Origin) {
    if let Some(pid) = origin.pid {
        fill_from(&PathBuf::from(format!("/proc/{pid}")), origin);
    }
}

fn fill_from(proc: &Path, origin: &mut Origin) {
    if origin.comm.is_none() {
        origin.comm = text(&proc.join("comm")).map(|comm| comm.trim_end().into());
    }
    if origin.exe.is_none() {
        origin.exe = fs::read_link(proc.join("exe"))
            .ok()
            .map(|path| path.to_string_lossy().into());
    }
    let cgroup = (origin.container.is_none() || origin.service.is_none())
        .then(|| text(&proc.join("cgroup")))
        .flatten()
        .unwrap_or_default();
    if origin.container.is_none() {
        origin.container = container(&cgroup).map(Box::from);
    }
    if origin.service.is_none() {
        let environment = text(&proc.join("environ")).unwrap_or_default();
        origin.service = declared_service(&environment)
            .or_else(|| unit(&cgroup))
            .map(Box::from);
    }
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
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

/// The systemd service that the control group belongs to.
fn unit(cgroup: &str) -> Option<&str> {
    cgroup
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .flat_map(|path| path.rsplit('/'))
        .find_map(|part| part.strip_suffix(".service"))
        .filter(|name| !name.starts_with("user@"))
}

/// The container's id: 64 hexadecimal digits in the control group's path, whichever
/// runtime wrote it (`docker-ID.scope`, `cri-containerd-ID.scope`, `/docker/ID`).
fn container(cgroup: &str) -> Option<&str> {
    cgroup
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .flat_map(|path| path.rsplit('/'))
        .find_map(|part| {
            let part = part.strip_suffix(".scope").unwrap_or(part);
            let id = part.rsplit(['-', ':']).next()?;
            (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e1c0b2a59687f3f4e1c0b2a59687f3f4e1c0b2a59687f3f4e1c0b2a59687f";

    #[test]
    fn this_process_is_found() {
        let mut origin = Origin {
            pid: Some(std::process::id()),
            ..Origin::default()
        };
        fill(&mut origin);
        assert!(origin.comm.is_some());
        let exe = std::env::current_exe().unwrap();
        assert_eq!(origin.exe.as_deref(), exe.to_str());
    }

    #[test]
    fn a_process_that_is_gone_changes_nothing() {
        let known = Origin {
            pid: Some(u32::MAX),
            comm: Some("gone".into()),
            ..Origin::default()
        };
        let mut origin = known.clone();
        fill(&mut origin);
        assert_eq!(origin, known);
    }

    #[test]
    fn container_ids_of_each_runtime() {
        for path in [
            format!("0::/system.slice/docker-{ID}.scope\n"),
            format!("12:cpu:/docker/{ID}\n"),
            format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
            format!("0::/kubepods/burstable/pod1/{ID}/init"),
            format!("0::/a/kubepods:cri-containerd:{ID}"),
        ] {
            assert_eq!(container(&path), Some(ID), "{path}");
        }
        assert_eq!(container("0::/user.slice/session-1.scope"), None);
    }

    #[test]
    fn the_service_is_what_it_says_or_what_systemd_runs() {
        let environment = "PATH=/bin\0OTEL_RESOURCE_ATTRIBUTES=a=b,service.name=shop\0";
        assert_eq!(declared_service(environment), Some("shop"));
        let both = format!("{environment}OTEL_SERVICE_NAME=cart\0");
        assert_eq!(declared_service(&both), Some("cart"));
        assert_eq!(declared_service("HOME=/root\0"), None);
        assert_eq!(unit("0::/system.slice/ollama.service\n"), Some("ollama"));
        assert_eq!(unit("0::/user.slice/user-0.slice/user@0.service/app"), None);
    }
}
