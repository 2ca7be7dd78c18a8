//! Python's ways to speak HTTP and TLS, but for those of `sdk`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use llmtap_e2e::{Client, Scene, Tap, script, variable};

use super::{asked_as_usual, half_streamed, over_http2};

/// Which Python has the way's packages.
const CLIENTS: &str = "E2E_PYTHON";
const STACKS: &str = "E2E_PYTHON_STACKS";

/// `clients/stacks.py`: four calls at once, two of them streamed.
fn stack(scene: &Scene, python: &str, way: &str) -> Client {
    let mut command = scene.command(variable(python));
    command.arg(script("stacks.py")).args([way, "4"]);
    Client::new(command)
}

fn check(python: &str, library: &str, way: &str, http2: bool) {
    let (scene, calls) = super::seen(library, |scene| stack(scene, python, way));
    assert!(asked_as_usual(&calls) && half_streamed(&calls));
    assert!(over_http2(&scene, http2));
}

#[test]
fn requests() {
    check(CLIENTS, "openssl", "requests", false);
}

#[test]
fn httpx() {
    check(CLIENTS, "openssl", "httpx", false);
}

#[test]
fn httpx_over_http2() {
    check(CLIENTS, "openssl", "h2", true);
}

#[test]
fn aiohttp() {
    check(STACKS, "openssl", "aiohttp", false);
}

#[test]
fn uvloop() {
    check(STACKS, "openssl", "uvloop", false);
}

/// With a libssl in its wheel.
#[test]
fn pycurl() {
    check(STACKS, "openssl", "pycurl", true);
}

/// With BoringSSL in an extension module.
#[test]
fn curl_cffi() {
    check(STACKS, "boringssl", "curl_cffi", true);
}

/// With OpenSSL in an extension module.
#[test]
fn pyopenssl() {
    check(STACKS, "openssl", "urllib3", false);
}

/// A copy of the package that has OpenSSL inside, without any symbols, as a Python has it that
/// is linked statically.
fn stripped(folder: &Path) -> PathBuf {
    let output = Command::new(variable(STACKS))
        .args(["-c", "import cryptography; print(cryptography.__path__[0])"])
        .output()
        .expect("Python can be started");
    let package = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let copied = Command::new("cp")
        .args(["-r", &package])
        .arg(folder)
        .status();
    assert!(copied.expect("cp can be started").success());
    let module = folder.join("cryptography/hazmat/bindings/_rust.abi3.so");
    let size = || fs::metadata(&module).expect("it is there").len();
    let whole = size();
    let status = Command::new("strip")
        .arg("--strip-all")
        .arg(&module)
        .status();
    assert!(status.expect("strip can be started").success());
    assert!(size() < whole);
    module
}

#[test]
fn openssl_without_symbols() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let module = stripped(folder.path());
    let path = folder.path().to_str().expect("our own folder");
    let client = |scene: &Scene| stack(scene, STACKS, "urllib3").env("PYTHONPATH", path);
    let (_, calls) = super::seen("openssl", client);
    assert!(asked_as_usual(&calls) && half_streamed(&calls));

    // Seen through that file, and not through the host's libssl.
    let scene = Scene::new();
    let mut client = client(&scene).env("STEPPED", "1").start();
    assert_eq!(client.line().trim(), "waits");
    let tap = Tap::start(&["ls", "--for", "10m", "--format", "jsonl"]);
    client.nudge();
    (0..4).for_each(|_| drop(client.reply()));
    let row = crate::listing::row(tap, client.pid(), &module);
    assert_eq!(row["found_by"], "pattern");
    assert_eq!(row["version"], "4.0.3");
    assert_eq!(row["state"], "verified");
    assert_eq!(row["calls"], 4);
    client.finish();
}
