//! What a process's control groups tell: its container, its pod, its systemd unit.
//!
//! In: the text of `/proc/PID/cgroup`, of either version, which a container's own
//! processes may have shaped. Out: a [`Place`]. Must not know: files.

/// Where a process runs. Unknown is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    pub container: Option<Container<'a>>,
    /// The uid of its pod, as control groups spell it: with dashes or underscores.
    pub pod: Option<&'a str>,
    /// The systemd unit, a service or a scope; not the scope of a container.
    pub unit: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    /// 64 hexadecimal digits.
    pub id: &'a str,
    /// `docker`, `containerd`, `cri-o` or `podman`, where the name of the group says so.
    pub runtime: Option<&'static str>,
}

/// What the runtimes put before the id in the name of a group.
const RUNTIMES: [(&str, &str); 6] = [
    ("docker", "docker"),
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "cri-o"),
    ("libpod", "podman"),
    // podman, where systemd does not run the host
    ("libpod_parent", "podman"),
];

impl<'a> Place<'a> {
    pub fn of(cgroup: &'a str) -> Self {
        // `number:controllers:path`, a line a hierarchy.
        let paths = || cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        Self {
            container: paths().find_map(container),
            pod: paths().find_map(pod),
            unit: paths().find_map(unit),
        }
    }
}

/// The innermost container of a group's path.
fn container(path: &str) -> Option<Container<'_>> {
    let mut names = path.rsplit('/').peekable();
    while let Some(name) = names.next() {
        let Some((prefix, id)) = split_id(name) else {
            continue;
        };
        // What watches a container is not in it.
        if prefix.ends_with("conmon") {
            return None;
        }
        let above = names.peek().copied().unwrap_or_default();
        let prefix = if prefix.is_empty() { above } else { prefix };
        let known = RUNTIMES.iter().find(|(name, _)| *name == prefix);
        let runtime = known.map(|(_, runtime)| *runtime);
        return Some(Container { id, runtime });
    }
    None
}

/// The pod of a group's path: `kubepods-burstable-podUID.slice`, `podUID`.
fn pod(path: &str) -> Option<&str> {
    path.rsplit(['/', ':']).find_map(|name| {
        let name = name.strip_suffix(".slice").unwrap_or(name);
        let (before, uid) = name.rsplit_once("pod")?;
        let is_uid = matches!(uid.len(), 32 | 36)
            && uid
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || matches!(b, b'-' | b'_'));
        (is_uid && (before.is_empty() || before.ends_with('-'))).then_some(uid)
    })
}

/// The id at the end of a group's name, and what stands before it:
/// `docker-ID.scope`, `kubepods-…:cri-containerd:ID`, `ID`.
fn split_id(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (before, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let prefix = before.rsplit_once(':').map_or(before, |(_, last)| last);
    is_id.then_some((prefix, id))
}

/// The innermost unit of a group's path.
fn unit(path: &str) -> Option<&str> {
    path.rsplit('/')
        .filter(|name| name.ends_with(".service") || name.ends_with(".scope"))
        .filter(|name| split_id(name).is_none())
        // It is only what a user's own units run below.
        .find(|name| !name.starts_with("user@"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e1c0b2a59687f3f4e1c0b2a59687f3f4e1c0b2a59687f3f4e1c0b2a59687f";

    fn found(cgroup: &str) -> (Option<&str>, Option<&str>) {
        let place = Place::of(cgroup);
        let container = place.container;
        (container.map(|c| c.id), container.and_then(|c| c.runtime))
    }

    #[test]
    fn containers_of_each_runtime() {
        for (path, runtime) in [
            (
                format!("0::/system.slice/docker-{ID}.scope\n"),
                Some("docker"),
            ),
            (
                format!("12:cpu,cpuacct:/docker/{ID}\n11:pids:/docker/{ID}"),
                Some("docker"),
            ),
            (
                format!(
                    "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a_1b.slice/cri-containerd-{ID}.scope"
                ),
                Some("containerd"),
            ),
            (
                format!("0::/system.slice/x.service/a/kubepods-pod1.slice:cri-containerd:{ID}"),
                Some("containerd"),
            ),
            (
                format!("0::/kubepods.slice/kubepods-pod0a.slice/crio-{ID}.scope/container"),
                Some("cri-o"),
            ),
            (
                format!("0::/machine.slice/libpod-{ID}.scope/container"),
                Some("podman"),
            ),
            (
                format!(
                    "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"
                ),
                Some("podman"),
            ),
            (format!("0::/libpod_parent/libpod-{ID}"), Some("podman")),
            (format!("0::/kubepods/burstable/pod1/{ID}/init"), None),
            (format!("1:name=systemd:/\n0::/ecs/task/{ID}"), None),
            // One inside of another, as kind has them.
            (
                format!(
                    "0::/docker/{}/kubelet/pod1/cri-containerd-{ID}.scope",
                    ID.replace('3', "4")
                ),
                Some("containerd"),
            ),
        ] {
            assert_eq!(found(&path), (Some(ID), runtime), "{path}");
        }
    }

    #[test]
    fn what_is_no_container_is_none() {
        for path in [
            "",
            "0::/",
            "0::/user.slice/session-1.scope",
            "no colons here",
            &format!("0::/system.slice/crio-conmon-{ID}.scope"),
            &format!("0::/machine.slice/libpod-conmon-{ID}.scope"),
            &format!("0::/docker/{}", &ID[1..]),
            &format!("0::/docker/{}", ID.replace('3', "x")),
        ] {
            assert_eq!(found(path), (None, None), "{path}");
        }
    }

    #[test]
    fn pods_have_uids() {
        const UID: &str = "0a1b2c3d-0000-1111-2222-333344445555";
        let underscored = UID.replace('-', "_");
        for (path, uid) in [
            (format!("0::/kubepods/burstable/pod{UID}/{ID}"), Some(UID)),
            (
                format!("0::/kubepods.slice/kubepods-pod{underscored}.slice/crio-{ID}.scope"),
                Some(&*underscored),
            ),
            (
                format!("0::/x/kubepods-besteffort-pod{underscored}.slice:cri-containerd:{ID}"),
                Some(&*underscored),
            ),
            (
                format!("0::/kubepods/pod{}/{ID}", &ID[..32]),
                Some(&ID[..32]),
            ),
            (format!("0::/kubepods/pod1/{ID}"), None),
            (format!("0::/tripod{UID}"), None),
        ] {
            assert_eq!(Place::of(&path).pod, uid, "{path}");
        }
    }

    #[test]
    fn units_are_services_or_scopes() {
        for (path, unit) in [
            ("0::/system.slice/ollama.service\n", Some("ollama.service")),
            (
                "1:name=systemd:/system.slice/a@b.service",
                Some("a@b.service"),
            ),
            ("0::/system.slice/a.service/worker", Some("a.service")),
            ("0::/user.slice/user-0.slice/user@0.service/app", None),
            (
                "0::/user.slice/user-0.slice/user@0.service/app.slice/run-r1.scope",
                Some("run-r1.scope"),
            ),
            (
                "0::/user.slice/user-0.slice/session-3.scope",
                Some("session-3.scope"),
            ),
            ("0::/", None),
        ] {
            assert_eq!(Place::of(path).unit, unit, "{path}");
        }
        let container = format!("0::/system.slice/docker-{ID}.scope");
        assert_eq!(Place::of(&container).unit, None);
    }
}
