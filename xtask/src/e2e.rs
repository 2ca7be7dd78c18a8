//! End-to-end tests: real clients and real probes.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::arch::Arch;
use crate::report::Report;
use crate::{build, install, libtest, runtimes, shell};

/// Runs the tests of `tests/e2e` whose names have `filter`. They share one kernel, so
/// they run one at a time.
pub fn run(llmtap: &Path, filter: Option<&str>) -> Result<Report> {
    if let Some(why) = hindrance() {
        return skipped(filter, why);
    }
    install::programs(&[
        ("curl", "curl"),
        ("unshare", "util-linux"),
        ("ldd", "libc-bin"),
        ("cc", "gcc"),
    ])?;
    runtimes::languages()?;
    let mut report = Report::default();
    let mut tests = tests();
    tests
        .args(["--", "--test-threads=1"])
        .args(filter)
        .env("LLMTAP", llmtap)
        .env("E2E_PYTHON", install::python("clients")?)
        .env("E2E_PYTHON_STACKS", install::python("stacks")?)
        .env("E2E_COLLECTORS", install::python("collectors")?)
        .env("E2E_NODE", install::node("node")?)
        .env("E2E_RUST", install::rust_client(Arch::HOST)?)
        .env("E2E_GO", runtimes::go()?)
        .env("E2E_BUN", runtimes::bun(false)?);
    if !kernel_has_tls() {
        let name = "transports::tls_of_the_kernel";
        tests.args(["--skip", name]);
        report.add(Report::skip(name, "needs a kernel with CONFIG_TLS"));
    }
    if !shell::has("java") {
        let name = "listing::a_jvm_is_named";
        tests.args(["--skip", name]);
        report.add(Report::skip(name, "needs a JDK"));
    }
    for (name, variable, place) in [
        (
            "runtimes::libraries",
            "E2E_PACKAGES",
            runtimes::other_tls()?,
        ),
        (
            "receivers::prometheus",
            "E2E_PROMETHEUS",
            runtimes::prometheus()?,
        ),
    ] {
        match place {
            Some(place) => {
                tests.env(variable, place);
            }
            None => {
                tests.args(["--skip", name]);
                report.add(Report::skip(name, "needs packages of Debian 12"));
            }
        }
    }
    report.add(libtest::run("e2e", &mut tests)?);
    Ok(report)
}

/// Runs those that send to large receivers.
pub fn receivers(llmtap: &Path, filter: Option<&str>) -> Result<Report> {
    if let Some(why) = hindrance() {
        return Ok(Report::skip("receivers", why));
    }
    install::programs(&[("curl", "curl")])?;
    libtest::run(
        "receivers",
        tests()
            .args(["--", "--test-threads=1", "--ignored"])
            .arg(format!("receivers::{}", filter.unwrap_or_default()))
            .env("LLMTAP", llmtap)
            .env("E2E_PYTHON", install::python("clients")?)
            .env("E2E_PHOENIX", install::python("phoenix")?)
            .env("E2E_MLFLOW", install::python("mlflow")?),
    )
}

/// Runs those that need large downloads.
pub fn agents(llmtap: &Path, filter: Option<&str>) -> Result<Report> {
    if let Some(why) = hindrance() {
        return Ok(Report::skip("agents", why));
    }
    libtest::run(
        "agents",
        tests()
            .args(["--", "--test-threads=1", "--ignored"])
            .args(["--skip", "receivers::"])
            .args(filter)
            .env("LLMTAP", llmtap)
            .env("E2E_BUN", runtimes::bun(true)?)
            .env("E2E_AGENTS", runtimes::agents()?)
            .env("E2E_RUSTLS_AGENTS", install::node("agents")?),
    )
}

/// Runs the sensor's own tests of live probes.
pub fn probes(filter: Option<&str>) -> Result<Report> {
    match hindrance() {
        Some(why) => Ok(Report::skip("probe", why)),
        None => libtest::run("probe", &mut set_apart("probe", &Vec::from_iter(filter))?),
    }
}

/// The tests of the sensor's test program `name` that a plain `cargo test` leaves out.
pub fn set_apart(name: &str, filters: &[&str]) -> Result<Command> {
    let mut cargo = shell::cargo();
    cargo
        .args(["test", "--locked", "--package", "llmtap", "--test", name])
        .args(["--", "--ignored", "--test-threads=1"])
        .args(filters)
        .env("LLMTAP_EBPF_OBJECT", build::ebpf(Arch::HOST)?);
    Ok(cargo)
}

/// Why no probe can be set here.
pub fn hindrance() -> Option<&'static str> {
    if !shell::is_root() {
        return Some("needs root");
    }
    let btf = Path::new("/sys/kernel/btf/vmlinux");
    (!btf.exists()).then_some("needs a kernel with BTF")
}

/// Whether sockets can encrypt; the module may have to be loaded first.
fn kernel_has_tls() -> bool {
    const PROTOCOLS: &str = "/proc/sys/net/ipv4/tcp_available_ulp";
    let has = || {
        let protocols = std::fs::read_to_string(PROTOCOLS).unwrap_or_default();
        protocols.split_whitespace().any(|name| name == "tls")
    };
    has() || (shell::run(shell::command("modprobe").arg("tls")).is_ok() && has())
}

fn tests() -> Command {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--locked", "--package", "llmtap-e2e"]);
    cargo.args(["--test", "e2e"]);
    cargo
}

fn skipped(filter: Option<&str>, why: &str) -> Result<Report> {
    let list = shell::output(tests().args(["--", "--list"]).args(filter))?;
    let mut report = Report::default();
    for name in list.lines().filter_map(|line| line.strip_suffix(": test")) {
        report.add(Report::skip(format!("e2e/{name}"), why));
    }
    Ok(report)
}
