//! End-to-end tests: real clients and real probes.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::arch::Arch;
use crate::report::Report;
use crate::{build, install, libtest, runtimes, shell, unit};

/// Runs the tests of `tests/e2e` whose names have `filter`. They share one kernel, so
/// they run one at a time.
pub fn run(llmtap: &Path, filter: Option<&str>) -> Result<Report> {
    if let Some(why) = hindrance() {
        return skipped(filter, why);
    }
    install::programs(&[
        ("curl", "curl"),
        ("unshare", "util-linux"),
        ("ip", "iproute2"),
        ("ldd", "libc-bin"),
        ("cc", "gcc"),
        ("strip", "binutils"),
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
        .env("E2E_PYTHON_DOTNET", install::python("dotnet")?)
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
    let packages = runtimes::other_tls()?;
    for (name, variable, place) in [
        ("runtimes::libraries", "E2E_PACKAGES", packages.clone()),
        ("runtimes::node", "E2E_PACKAGES", packages.clone()),
        ("listing::erlang_is_named", "E2E_PACKAGES", packages),
        (
            "receivers::prometheus",
            "E2E_PROMETHEUS",
            runtimes::prometheus()?,
        ),
        ("containers", "E2E_DEBIAN", install::debian()?),
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
    report.add(libtest::run_live("e2e", &mut tests)?);
    Ok(report)
}

/// Runs those that send to large receivers, or ask a large server.
pub fn receivers(llmtap: &Path, filter: Option<&str>) -> Result<Report> {
    if let Some(why) = hindrance() {
        return Ok(Report::skip("receivers", why));
    }
    install::programs(&[("curl", "curl"), ("unshare", "util-linux")])?;
    let is_wanted = |name: &&str| filter.is_none_or(|text| name.contains(text));
    let mut tests = tests();
    tests
        .args(["--", "--test-threads=1", "--ignored", "--exact"])
        .env("LLMTAP", llmtap)
        .env("E2E_PYTHON", install::python("clients")?);
    let mut report = Report::default();
    let mut is_any = false;
    for name in RECEIVERS.into_iter().filter(is_wanted) {
        let lack = match name {
            PHOENIX => {
                tests.env("E2E_PHOENIX", install::python("phoenix")?);
                None
            }
            MLFLOW => {
                tests.env("E2E_MLFLOW", install::python("mlflow")?);
                None
            }
            _ => cluster(&mut tests)?,
        };
        match lack {
            Some(why) => report.add(Report::skip(name, why)),
            None => {
                is_any = true;
                tests.arg(name);
            }
        }
    }
    if is_any {
        report.add(libtest::run_live("receivers", &mut tests)?);
    }
    Ok(report)
}

const PHOENIX: &str = "receivers::phoenix";
const MLFLOW: &str = "receivers::mlflow";
const RECEIVERS: [&str; 3] = [PHOENIX, MLFLOW, "kubernetes::pods_of_a_real_cluster"];

/// Lets `tests` know what a cluster is made of, or says what is lacking.
fn cluster(tests: &mut Command) -> Result<Option<&'static str>> {
    if !unit::has_groups() {
        return Ok(Some("needs control groups that can be written"));
    }
    let Some(etcd) = runtimes::etcd()? else {
        return Ok(Some("needs packages of Debian 12"));
    };
    tests
        .env("E2E_ETCD", etcd)
        .env("E2E_KUBE_APISERVER", runtimes::apiserver()?);
    Ok(None)
}

/// Runs those that need large downloads.
pub fn agents(llmtap: &Path, filter: Option<&str>) -> Result<Report> {
    if let Some(why) = hindrance() {
        return Ok(Report::skip("agents", why));
    }
    libtest::run_live(
        "agents",
        tests()
            .args(["--", "--test-threads=1", "--ignored"])
            .args(["--skip", "receivers::", "--skip", "kubernetes::"])
            .args(filter)
            .env("LLMTAP", llmtap)
            .env("E2E_PYTHON", install::python("clients")?)
            .env("E2E_BUN", runtimes::bun(true)?)
            .env("E2E_AGENTS", runtimes::agents()?)
            .env("E2E_ENVOY", runtimes::envoy()?)
            .env("E2E_RUSTLS_AGENTS", install::node("agents")?),
    )
}

/// Runs the sensor's own tests of live probes.
pub fn probes(filter: Option<&str>) -> Result<Report> {
    match hindrance() {
        Some(why) => Ok(Report::skip("probe", why)),
        None => libtest::run_live("probe", &mut set_apart("probe", &Vec::from_iter(filter))?),
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
