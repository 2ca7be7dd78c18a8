//! Probe sites in real builds of TLS libraries: Debian's suites, PyPI's wheels, Node.

use std::path::Path;

use anyhow::Result;

use crate::report::Report;
use crate::{e2e, libtest, shell};

/// What is fetched, and the tests that need no more than that.
const GROUPS: [&str; 4] = ["debian", "wheels", "node", "rustls"];
const ANALYSED: [&str; 6] = [
    "debian",
    "wheels",
    "node",
    "gnutls_and_nss",
    "grpc",
    "nameless",
];

/// The same of what is large.
const LARGE_GROUPS: [&str; 3] = ["bun", "go", "agents"];
const LARGE_ANALYSED: [&str; 3] = ["bun", "go", "proxies"];

/// Analyses the builds and, as root, runs TLS over those that this machine can load.
pub fn run(filter: Option<&str>) -> Result<Report> {
    if !Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists() {
        let why = "its packages come from Debian's suites";
        return Ok(Report::skip("builds", why));
    }
    let builds = shell::target("builds");
    shell::step("fetch builds of libssl and Node", || {
        shell::run(
            shell::command("sensor/tests/support/fetch-builds.sh")
                .arg(&builds)
                .args(GROUPS),
        )
    })?;
    let mut report = test(
        "libssl_builds",
        &builds,
        &filter.map_or(ANALYSED.to_vec(), |f| vec![f]),
    )?;
    report.add(test("aead_builds", &builds, &[filter.unwrap_or("rustls")])?);
    if let Some(why) = e2e::hindrance() {
        report.add(Report::skip("builds/libssl_bytes", why));
        return Ok(report);
    }
    shell::run(shell::cargo().args(["build", "--package", "llmtap", "--example", "tls_exchange"]))?;
    report.add(test("libssl_bytes", &builds, &Vec::from_iter(filter))?);
    Ok(report)
}

/// Coding agents, Bun, Envoy and programs of Go, of both architectures.
pub fn agents() -> Result<Report> {
    let builds = shell::target("builds");
    let mut fetch = shell::command("sensor/tests/support/fetch-builds.sh");
    shell::step("fetch coding agents, Bun, Envoy, Go", || {
        shell::run(fetch.arg(&builds).args(LARGE_GROUPS))
    })?;
    let mut report = test("aead_builds", &builds, &["agents"])?;
    report.add(test("libssl_builds", &builds, &LARGE_ANALYSED)?);
    Ok(report)
}

fn test(program: &str, builds: &Path, filters: &[&str]) -> Result<Report> {
    let mut command = e2e::set_apart(program, filters)?;
    libtest::run(program, command.env("LLMTAP_BUILDS_DIR", builds))
}
