//! Languages whose TLS is the host's OpenSSL, or one like it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use llmtap_e2e::{Client, Scene, script, variable};

use crate::sdk::is_streamed;

use super::{asked_as_usual, half_streamed, over_http2};

fn check(interpreter: &str, name: &str, mode: &str) {
    let client = |scene: &Scene| {
        let mut command = scene.command(interpreter.into());
        command.arg(script(name)).args([mode, "3"]);
        Client::new(command)
    };
    let (scene, calls) = super::seen("openssl", client);
    assert!(asked_as_usual(&calls));
    assert!(over_http2(&scene, mode.starts_with("curl")));
    let streamed = mode.ends_with("stream");
    assert!(calls.iter().all(|call| is_streamed(call) == streamed));
}

#[test]
fn ruby() {
    check("ruby", "chat.rb", "unary");
    check("ruby", "chat.rb", "stream");
}

#[test]
fn php() {
    check("php", "chat.php", "streams");
    check("php", "chat.php", "curl");
    check("php", "chat.php", "curl_stream");
    check("php", "chat.php", "curl_at_once");
}

#[test]
fn perl() {
    check("perl", "chat.pl", "unary");
    check("perl", "chat.pl", "stream");
}

/// Where .NET finds a libssl of a version that it knows: those of a wheel, one of them under
/// the library's own name, too.
fn libssl_for_dotnet(folder: &Path) -> String {
    let python = PathBuf::from(variable("E2E_PYTHON_DOTNET"));
    let home = python
        .parent()
        .and_then(Path::parent)
        .expect("HOME/bin/python");
    let packages = fs::read_dir(home.join("lib"))
        .expect("an environment")
        .next();
    let packages = packages.expect("one Python").expect("an entry").path();
    let libraries = packages.join("site-packages/psycopg2_binary.libs");
    let mut files = fs::read_dir(&libraries).expect("a folder").flatten();
    let libssl = files.find(|file| file.file_name().to_string_lossy().starts_with("libssl-"));
    let libssl = libssl.expect("the wheel has one").path();
    symlink(libssl, folder.join("libssl.so.1.1")).expect("our own folder");
    format!("{}:{}", folder.display(), libraries.display())
}

/// .NET's HttpClient.
#[test]
fn dotnet() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let libraries = libssl_for_dotnet(folder.path());
    for (version, http2) in [("1.1", false), ("2.0", true)] {
        let client = |scene: &Scene| {
            let mut command = scene.command(variable("E2E_PYTHON_DOTNET"));
            command.arg(script("dotnet.py")).args([version, "4"]);
            Client::new(command).env("LD_LIBRARY_PATH", &libraries)
        };
        let (scene, calls) = super::seen("openssl", client);
        assert!(asked_as_usual(&calls) && half_streamed(&calls));
        assert!(over_http2(&scene, http2));
    }
}
