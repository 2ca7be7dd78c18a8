//! Control groups, as a kubelet names those of its containers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Client;

/// That of one container in one pod; it goes when dropped.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// `container`: 64 hexadecimal digits.
    pub fn of(pod_uid: &str, container: &str) -> Self {
        let pod = format!("kubepods-besteffort-pod{}.slice", pod_uid.replace('-', "_"));
        let place = hierarchy().join(pod);
        let place = place.join(format!("cri-containerd-{container}.scope"));
        fs::create_dir_all(&place).expect("a control group can be made");
        Self(place)
    }

    /// `client`, in the group from its beginning.
    pub fn holding(&self, client: Client) -> Client {
        let mut shell = Command::new("sh");
        let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.0.display());
        shell.args(["-ec", &script, "sh"]);
        Client::wrapped(shell, client)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

/// The first that takes a new group.
fn hierarchy() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("Linux");
    let mut places = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        kind.starts_with("cgroup").then(|| PathBuf::from(place))
    });
    let takes_processes = |place: &PathBuf| {
        let group = place.join(format!("llmtap-e2e-{}", std::process::id()));
        fs::create_dir(&group).is_ok() && {
            let usable = has_members(&group);
            fs::remove_dir(&group).is_ok() && usable
        }
    };
    places
        .find(takes_processes)
        .expect("one that can be written")
}

fn has_members(group: &Path) -> bool {
    // Some of version 1 take none before they are told on which processors.
    group.join("cgroup.procs").exists() && !group.join("cpuset.cpus").exists()
}
