//! Other kernels: Debian's, each in a virtual machine with the sensor and TLS traffic.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::report::Report;
use crate::{build, install, libtest, shell};

#[derive(clap::Args)]
pub struct Options {
    /// Kernels to boot, of 5.10, 6.1 and 6.12; all of them where none is named
    kernels: Vec<String>,
}

/// A kernel, and the suite of Debian that has it.
const KERNELS: [(&str, &str); 3] = [
    ("5.10", "bullseye"),
    ("6.1", "bookworm"),
    ("6.12", "bookworm-backports"),
];

/// What `tests/kernel/init` says of each kernel.
const CHECKS: [&str; 7] = ["load", "links", "sync", "streamed", "big", "bio", "unload"];

/// `cargo xtask vm`.
pub fn run(options: &Options) -> Result<ExitCode> {
    let llmtap = build::sensor()?;
    let mut report = Report::default();
    for (kernel, _) in KERNELS {
        if options.kernels.is_empty() || options.kernels.iter().any(|k| k == kernel) {
            report.add(boot(kernel, &llmtap)?);
        }
    }
    for kernel in &options.kernels {
        ensure!(
            KERNELS.iter().any(|(known, _)| known == kernel),
            "no kernel {kernel} is known here"
        );
    }
    println!("{report}");
    Ok(if report.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Boots one kernel; skipped by name where no machine can be made.
pub fn boot(kernel: &str, llmtap: &Path) -> Result<Report> {
    if let Some(why) = hindrance() {
        let mut report = Report::default();
        for check in CHECKS {
            report.add(Report::skip(format!("vm::{kernel}::{check}"), why));
        }
        return Ok(report);
    }
    install::programs(&[
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("strip", "binutils"),
    ])?;
    let image = image(kernel)?;
    let disk = shell::step("pack the machine's files", || initramfs(llmtap))?;
    shell::step(&format!("boot {kernel}"), || {
        let name = format!("vm::{kernel}");
        let seen = |report: &Report| report.passed + report.failed.len();
        let mut report = libtest::run(&name, &mut machine(&image, &disk))?;
        if seen(&report) == 0 {
            // Emulated, newer kernels die now and then before they run anything of ours.
            println!("    {name}: it did not come as far as the first check; once more");
            report = libtest::run(&name, &mut machine(&image, &disk))?;
        }
        let seen = seen(&report);
        if seen < CHECKS.len() && report.failed.is_empty() {
            let all = CHECKS.len();
            report
                .failed
                .push(format!("{name}: ended after {seen} of {all} checks"));
        }
        Ok(report)
    })
}

fn hindrance() -> Option<&'static str> {
    if !cfg!(target_arch = "x86_64") {
        return Some("needs x86-64");
    }
    if !shell::is_root() {
        return Some("needs root");
    }
    (!shell::has("apt-get")).then_some("needs Debian's packages")
}

fn machine(image: &Path, disk: &Path) -> Command {
    let mut command = shell::command("timeout");
    command
        // It ends by itself; this is for a kernel that hangs.
        .args(["--kill-after=10", "420", "qemu-system-x86_64"])
        // Nested virtual machines differ too much from each other; and with more than one
        // emulated CPU, newer kernels die at random while they boot.
        .args(["-accel", "tcg", "-smp", "1"])
        .args(["-m", "1024", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(disk)
        .args(["-append", "console=ttyS0 quiet panic=-1"]);
    command
}

/// The kernel, from Debian's package, which is unpacked and not installed.
fn image(kernel: &str) -> Result<PathBuf> {
    let home = shell::target(format!("vm/{kernel}"));
    if let Ok(found) = image_in(&home) {
        return Ok(found);
    }
    let suite = KERNELS.iter().find(|(name, _)| *name == kernel);
    let (_, suite) = suite.with_context(|| format!("no kernel {kernel} is known here"))?;
    shell::step(&format!("fetch kernel {kernel} of {suite}"), || {
        let archive = Archive::new(suite)?;
        let package = archive.newest(&format!("linux-image-{kernel}."), "-cloud-amd64")?;
        fs::create_dir_all(&home)?;
        shell::run(
            archive
                .apt("apt-get")
                .args(["download", "-qq", &package])
                .current_dir(&home),
        )?;
        let file = only_file(&home, |name| name.ends_with(".deb"))?;
        shell::run(
            shell::command("dpkg-deb")
                .arg("--extract")
                .arg(&file)
                .arg(&home),
        )?;
        // Modules are never loaded, and large.
        fs::remove_dir_all(home.join("lib")).ok();
        fs::remove_file(&file)?;
        Ok(())
    })?;
    image_in(&home)
}

fn image_in(home: &Path) -> Result<PathBuf> {
    only_file(&home.join("boot"), |name| name.starts_with("vmlinuz-"))
}

fn only_file(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    fs::read_dir(dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|n| wanted(&n.to_string_lossy()))
        })
        .with_context(|| format!("not what was expected in {}", dir.display()))
}

/// One suite of Debian, looked at with settings of our own: the machine's stay as they
/// are.
struct Archive {
    home: PathBuf,
}

impl Archive {
    fn new(suite: &str) -> Result<Self> {
        let home = shell::target(format!("vm/apt-{suite}"));
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(home.join(dir))?;
        }
        let mirror = mirror()?;
        fs::write(
            home.join("sources.list"),
            format!(
                "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite} main\n"
            ),
        )?;
        let archive = Self { home };
        shell::run(archive.apt("apt-get").args(["update", "-qq"]))?;
        Ok(archive)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = shell::command(program);
        let set = |name: &str, place: &str| format!("{name}={}", self.home.join(place).display());
        command
            .args(["-o", &set("Dir::Etc::SourceList", "sources.list")])
            .args(["-o", "Dir::Etc::SourceParts=-"])
            .args(["-o", &set("Dir::State::Lists", "lists")])
            .args(["-o", &set("Dir::Cache", "cache")])
            // An old suite is no longer signed anew.
            .args(["-o", "Acquire::Check-Valid-Until=false"])
            // It runs as root in our own folder.
            .args(["-o", "APT::Sandbox::User=root"]);
        command
    }

    /// The package with the highest number between `before` and `after`.
    fn newest(&self, before: &str, after: &str) -> Result<String> {
        let names = shell::output(self.apt("apt-cache").args(["pkgnames", before]))?;
        names
            .lines()
            .filter_map(|name| {
                let middle = name.strip_prefix(before)?.strip_suffix(after)?;
                let numbers = middle.split(|c: char| !c.is_ascii_digit());
                let numbers: Vec<u32> = numbers.filter_map(|n| n.parse().ok()).collect();
                Some((numbers, name))
            })
            .max()
            .map(|(_, name)| name.to_owned())
            .with_context(|| format!("no package {before}*{after}"))
    }
}

/// Where this machine gets Debian's packages from.
fn mirror() -> Result<String> {
    let list = shell::output(shell::command("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(REPO_URI)",
    ]))?;
    let uris: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("Debian "))
        .filter(|uri| !uri.contains("security"))
        .collect();
    match uris.first() {
        Some(uri) => Ok((*uri).to_owned()),
        None => bail!("apt knows no mirror of Debian"),
    }
}

/// The root of the machine: busybox, the sensor, a TLS program, and what they map.
fn initramfs(llmtap: &Path) -> Result<PathBuf> {
    let home = shell::target("vm");
    let root = home.join("root");
    let tls = install::tls_program()?;
    fs::remove_dir_all(&root).ok();
    fs::create_dir_all(root.join("bin"))?;
    let sources = [
        (which("busybox")?, "bin/busybox"),
        (llmtap.to_owned(), "bin/llmtap"),
        (tls.clone(), "bin/tls"),
        (shell::root().join("tests/kernel/init"), "init"),
    ];
    for (from, to) in &sources {
        fs::copy(from, root.join(to)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    shell::run(shell::command("strip").arg(root.join("bin/llmtap")))?;
    for library in libraries(&[llmtap, &tls])? {
        let inside = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(inside.parent().context("a library has a folder")?)?;
        fs::copy(&library, inside)?;
    }
    let disk = home.join("initramfs.gz");
    shell::run(
        shell::command("sh")
            .args([
                "-ec",
                "find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >\"$0\"",
            ])
            .arg(&disk)
            .current_dir(&root),
    )?;
    Ok(disk)
}

/// What the loader maps for these programs, itself included.
fn libraries(programs: &[&Path]) -> Result<BTreeSet<PathBuf>> {
    let list = shell::output(shell::command("ldd").args(programs))?;
    Ok(list
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect())
}

fn which(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|place| place.is_file())
        .with_context(|| format!("{program} is not on the path"))
}
