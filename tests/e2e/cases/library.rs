//! Wherever a TLS library lies, and whatever happens to its file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use llmtap_e2e::{Client, Scene, Tap};

use crate::matched;

/// The libraries that `curl` maps.
fn libraries_of_curl() -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(curl()).output().expect("ldd runs");
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

fn curl() -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    std::env::split_paths(&path)
        .map(|dir| dir.join("curl"))
        .find(|path| path.is_file())
        .expect("curl is installed")
}

fn libssl() -> PathBuf {
    let libraries = libraries_of_curl();
    let libssl = libraries
        .into_iter()
        .find(|l| name(l).starts_with("libssl"));
    libssl.expect("curl maps libssl")
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Copies `libssl` to a path with another name, which the loader still takes for it.
/// Needs clients that live a little: the file is new to the sensor, too.
fn copy_of_libssl(scene: &Scene) -> PathBuf {
    let libssl = libssl();
    let place = scene.folder().join("wheel.libs");
    fs::create_dir_all(&place).expect("a folder can be made");
    let copy = place.join("libssl-8b66dd34.so.3");
    fs::copy(&libssl, &copy).expect("libssl can be copied");
    let link = place.join(name(&libssl));
    if !link.exists() {
        symlink(&copy, link).expect("a link can be made");
    }
    copy
}

#[test]
fn a_copy_under_another_name() {
    let scene = Scene::new();
    let copy = copy_of_libssl(&scene);
    let tap = Tap::tail(&[]);
    let place = copy.parent().expect("a file's path").to_string_lossy();
    let client = scene.python("requests_chat", 2);
    let (pid, replies) = client.env("LD_LIBRARY_PATH", &place).run();
    matched(&scene, &tap, pid, &replies);
}

/// The client maps the library before the sensor starts; then its file is replaced.
#[test]
fn a_file_replaced_under_a_running_process() {
    let scene = Scene::new();
    let copy = copy_of_libssl(&scene);
    let place = copy
        .parent()
        .expect("a file's path")
        .to_string_lossy()
        .into_owned();
    let stepped = || {
        let client = scene.python("requests_chat", 2).env("STEPPED", "1");
        let mut client = client.env("LD_LIBRARY_PATH", &place).start();
        let first = client.reply();
        (client, first)
    };
    let (mut before, _) = stepped();
    let fresh = copy.with_extension("new");
    fs::copy(&copy, &fresh).expect("libssl can be copied");
    fs::rename(&fresh, &copy).expect("the file can be replaced");

    // The old file is deleted and mapped; the new one is at its place.
    let tap = Tap::tail(&[]);
    let (mut after, first) = stepped();
    let (pid_before, pid_after) = (before.pid(), after.pid());
    before.nudge();
    let of_before = before.reply();
    before.finish();
    matched(&scene, &tap, pid_before, &[of_before]);

    // And once more, under the running sensor.
    fs::copy(&copy, &fresh).expect("libssl can be copied");
    fs::rename(&fresh, &copy).expect("the file can be replaced");
    let (latest, of_latest) = stepped();
    let pid_latest = latest.pid();
    matched(&scene, &tap, pid_latest, &[of_latest]);
    after.nudge();
    let of_after = after.reply();
    after.finish();
    matched(&scene, &tap, pid_after, &[first, of_after]);
}

/// A root of its own, with a copy of curl and all that it maps.
#[test]
fn a_chroot_in_another_mount_namespace() {
    let scene = Scene::new();
    let root = scene.folder().join("root");
    for file in libraries_of_curl()
        .into_iter()
        .chain([curl(), scene.server.authority()])
    {
        let file = fs::canonicalize(&file).map_or(file.clone(), |_| file);
        let inside = root.join(file.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(inside.parent().expect("a file's path")).expect("a folder");
        fs::copy(&file, &inside).expect("a file can be copied");
    }
    let tap = Tap::tail(&[]);
    // Files of that root are hidden from every other mount namespace. They are new to
    // the sensor: it first sees them in a process that makes no call.
    let script = format!(
        "mount -t tmpfs none {0}.mnt && cp -a {0}/. {0}.mnt && \
         chroot {0}.mnt \"$1\" --version >/dev/null && sleep 1 && exec chroot {0}.mnt \"$@\"",
        root.display()
    );
    fs::create_dir_all(format!("{}.mnt", root.display())).expect("a folder can be made");
    let inner = scene.curl(&[]);
    let mut command = scene.command("unshare".into());
    command.args(["--mount", "sh", "-ec", &script, "sh"]);
    let (pid, replies) = Client::wrapped(command, inner).run();
    matched(&scene, &tap, pid, &replies);
}

/// Where sites are cheap, the kernel never steps through instructions of the process.
/// Told without a clock: what it steps through it first lays out in a page of its own,
/// zeroed before, where the client looks.
#[test]
fn the_sites_need_no_single_stepping() {
    let scene = Scene::new();
    let tap = Tap::tail(&[]);
    let (pid, mut replies) = scene.python("stepping", 2).run();
    let stepping = replies.pop().expect("the client's last line");
    assert_eq!((&*stepping.id, &*stepping.text), ("stepping", "0"));
    matched(&scene, &tap, pid, &replies);
}
