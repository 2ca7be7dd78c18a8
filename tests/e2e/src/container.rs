//! What container runtimes are made of: namespaces, and a root of layers.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::scene::{script, variable};
use crate::{Client, Running, Scene};

/// A network namespace that has a loopback device alone.
#[derive(Debug)]
pub struct Network {
    namespace: File,
    /// Keeps it.
    _holder: Running,
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Network {
    pub fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-ec", "ip link set lo up; echo up; exec cat"]);
        let mut holder = Client::new(command).start();
        assert_eq!(holder.line().trim(), "up");
        let namespace = File::open(format!("/proc/{}/ns/net", holder.pid()));
        Self {
            namespace: namespace.expect("the namespace of a child"),
            _holder: holder,
        }
    }

    /// What `work` starts, threads and processes, is in this network.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(self.namespace.as_fd(), kind).expect("root may");
                work()
            });
            inside.join().expect("the thread ends well")
        })
    }
}

/// A root directory: Debian's files as the lower layer of an overlay, and an upper one of
/// its own. Each process mounts it for itself alone.
#[derive(Debug)]
pub struct Container {
    layers: TempDir,
}

const SCRIPT: &str = "contained.py";

impl Container {
    /// Its processes can call the server of `scene`.
    pub fn new(scene: &Scene) -> Self {
        let layers = TempDir::new().expect("a folder can be made");
        for folder in ["upper", "work", "root"] {
            fs::create_dir(layers.path().join(folder)).expect("a folder can be made");
        }
        let container = Self { layers };
        let authority = scene.server.authority();
        container.add(&authority, authority.strip_prefix("/").expect("absolute"));
        container.add(&script(SCRIPT), Path::new(SCRIPT));
        container
    }

    /// Has file `inside` of the lower layer in the upper one, too, as after a change.
    pub fn owns(self, inside: &str) -> Self {
        let lower = Path::new(&variable("E2E_DEBIAN")).join(inside);
        self.add(&lower, Path::new(inside));
        self
    }

    fn add(&self, file: &Path, inside: &Path) {
        let inside = self.layers.path().join("upper").join(inside);
        fs::create_dir_all(inside.parent().expect("a file's path")).expect("a folder");
        fs::copy(file, inside).expect("a file can be copied");
    }

    /// `client` in it, in mount and process namespaces of its own. The process that is
    /// started stays outside, and waits for it.
    pub fn wrap(&self, scene: &Scene, client: Client) -> Client {
        let place = |name| self.layers.path().join(name).display().to_string();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            variable("E2E_DEBIAN"),
            place("upper"),
            place("work")
        );
        let enter = "mount -t overlay -o \"$1\" overlay \"$2\"; mount -t proc proc \"$2/proc\"; \
                     root=$2; shift 2; exec chroot \"$root\" \"$@\"";
        let mut outer = scene.command("unshare".into());
        outer
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-ec", enter, "sh", &options, &place("root")]);
        Client::wrapped(outer, client)
    }

    /// A Python that makes so many calls over one connection, and waits for a line on its
    /// standard input before each but the first.
    pub fn python(&self, scene: &Scene, count: usize) -> Client {
        let mut command = scene.command("python3".into());
        command.arg(format!("/{SCRIPT}")).arg(count.to_string());
        self.wrap(scene, Client::new(command))
    }
}

/// The root directory of what a process in a container sees, from outside: that of the only
/// child of `outside`.
pub fn root_of_child(outside: &Running) -> PathBuf {
    let pid = outside.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("a process of ours");
    let child: u32 = children.trim().parse().expect("one child");
    PathBuf::from(format!("/proc/{child}/root"))
}
