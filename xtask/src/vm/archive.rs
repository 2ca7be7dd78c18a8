//! Debian's packages of any suite and architecture: fetched and unpacked, never installed.
//! The machine's own settings stay as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::shell;

/// One suite for one architecture.
pub struct Archive {
    home: PathBuf,
    arch: Arch,
}

impl Archive {
    pub fn new(suite: &str, arch: Arch) -> Result<Self> {
        let home = shell::target(format!("vm/apt-{suite}-{}", arch.debian()));
        for dir in ["lists/partial", "cache/archives/partial", "dpkg"] {
            fs::create_dir_all(home.join(dir))?;
        }
        let mirror = mirror()?;
        fs::write(
            home.join("sources.list"),
            format!(
                "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite} main\n"
            ),
        )?;
        // Nothing is installed, in its eyes.
        fs::write(home.join("dpkg/status"), "")?;
        let archive = Self { home, arch };
        shell::run(archive.apt("apt-get").args(["update", "-qq"]))?;
        Ok(archive)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = shell::command(program);
        let set = |name: &str, place: &str| format!("{name}={}", self.home.join(place).display());
        let arch = self.arch.debian();
        command
            .args(["-o", &set("Dir::Etc::SourceList", "sources.list")])
            .args(["-o", "Dir::Etc::SourceParts=-"])
            .args(["-o", &set("Dir::State::Lists", "lists")])
            .args(["-o", &set("Dir::State::status", "dpkg/status")])
            .args(["-o", &set("Dir::Cache", "cache")])
            .args(["-o", &format!("APT::Architecture={arch}")])
            .args(["-o", &format!("APT::Architectures={arch}")])
            // An old suite is no longer signed anew.
            .args(["-o", "Acquire::Check-Valid-Until=false"])
            // It runs as root in our own folder.
            .args(["-o", "APT::Sandbox::User=root"]);
        command
    }

    /// The package with the highest number between `before` and `after`.
    pub fn newest(&self, before: &str, after: &str) -> Result<String> {
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

    /// Unpacks one package, without those that it depends on.
    pub fn unpack_alone(&self, package: &str, into: &Path) -> Result<()> {
        let fresh = self.home.join("alone");
        fs::remove_dir_all(&fresh).ok();
        fs::create_dir_all(&fresh)?;
        shell::run(
            self.apt("apt-get")
                .args(["download", "-qq", package])
                .current_dir(&fresh),
        )?;
        extract(&fresh, into)?;
        fs::remove_dir_all(&fresh).context("cannot remove what was unpacked")
    }

    /// Unpacks packages and all that they depend on.
    pub fn unpack(&self, packages: &[&str], into: &Path) -> Result<()> {
        shell::run(
            self.apt("apt-get")
                .args(["install", "--download-only", "--no-install-recommends"])
                .args(["-y", "-qq"])
                .args(packages)
                .stdout(std::process::Stdio::null()),
        )?;
        extract(&self.home.join("cache/archives"), into)?;
        shell::run(self.apt("apt-get").arg("clean"))
    }
}

/// Unpacks every package that lies in `folder`.
fn extract(folder: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            let mut extract = shell::command("dpkg-deb");
            shell::run(extract.arg("--extract").arg(&file).arg(into))?;
        }
    }
    Ok(())
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

/// The suite of this machine, whose libraries are those that compilers here build for.
pub fn own_suite() -> Result<String> {
    let file = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    file.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release names no suite")
}
