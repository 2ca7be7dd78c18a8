//! Python's ways to speak TLS, but for those of `sdk`.

use llmtap_e2e::{Client, Scene, script, variable};

use crate::sdk::is_streamed;

use super::asked_as_usual;

fn check(library: &str, mode: &str) {
    let client = |scene: &Scene| {
        let mut command = scene.command(variable("E2E_PYTHON_STACKS"));
        command.arg(script("stacks.py")).args([mode, "4"]);
        Client::new(command)
    };
    let (_, calls) = super::seen(library, client);
    assert!(asked_as_usual(&calls) && calls.iter().all(is_streamed));
}

#[test]
fn aiohttp() {
    check("openssl", "aiohttp");
}

#[test]
fn uvloop() {
    check("openssl", "uvloop");
}

/// With a libssl in its wheel.
#[test]
fn pycurl() {
    check("openssl", "pycurl");
}

/// With BoringSSL in an extension module.
#[test]
fn curl_cffi() {
    check("boringssl", "curl_cffi");
}
