//! The first disk of a machine, which is all that it has: busybox, the sensor, programs that
//! make calls, the libraries and the modules that these need.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::{Archive, own_suite};
use super::machine::{Kernel, Machine};
use crate::arch::Arch;
use crate::{install, runtimes, shell};

/// What comes from Debian's packages: a shell, two clients, and what a client of ours is
/// built against.
const PACKAGES: [&str; 4] = ["busybox-static", "curl", "libssl-dev", "wget"];

/// Modules that the kernel loads for its TLS, where it has that.
const MODULES: [&str; 4] = ["arch", "crypto", "lib", "net/tls"];

/// Packs the disk of a machine, with this build of the sensor.
pub fn pack(machine: Machine, kernel: &Kernel, llmtap: &Path) -> Result<PathBuf> {
    let arch = machine.arch;
    let packages = packages(arch)?;
    let programs = [
        (packages.join("bin/busybox"), "bin/busybox"),
        (llmtap.to_owned(), "bin/llmtap"),
        (install::tls_program_for(arch, &packages)?, "bin/tls"),
        (runtimes::go_client(arch)?, "bin/go-client"),
        (install::rust_client(arch)?, "bin/rustls-client"),
        (packages.join("usr/bin/curl"), "usr/bin/curl"),
        (packages.join("usr/bin/wget"), "usr/bin/wget"),
        (shell::root().join("tests/kernel/client"), "bin/client"),
        (shell::root().join("tests/kernel/init"), "init"),
    ];
    let root = shell::target(format!("vm/root-{}", machine.name));
    shell::step("pack the machine's files", || {
        fs::remove_dir_all(&root).ok();
        for (from, to) in &programs {
            copy(from, &root.join(to))?;
        }
        shell::run(
            shell::command(format!("{}-strip", arch.gnu()))
                .args([root.join("bin/llmtap"), root.join("bin/rustls-client")]),
        )?;
        for library in libraries(&programs.map(|(from, _)| from), &packages, arch)? {
            let name = library
                .file_name()
                .context("invariant: found by its name")?;
            copy(&library, &root.join("lib").join(name))?;
        }
        // Where programs look for their loader, and the kernel for what loads modules.
        symlink("lib", root.join("lib64"))?;
        symlink("bin", root.join("sbin"))?;
        modules(kernel, &root)?;
        archive(&root)
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("invariant: below the root")?)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// The folder in which the packages lie unpacked, with all that they depend on.
fn packages(arch: Arch) -> Result<PathBuf> {
    let home = shell::target(format!("vm/packages-{}", arch.debian()));
    let stamp = home.join(".packages");
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(home);
    }
    let what = format!("unpack {wanted} for {}", arch.debian());
    shell::step(&what, || {
        fs::remove_dir_all(&home).ok();
        Archive::new(&own_suite()?, arch)?.unpack(&PACKAGES, &home)?;
        Ok(fs::write(&stamp, &wanted)?)
    })?;
    Ok(home)
}

/// The libraries below `root` that these programs are linked to, and those that these are
/// linked to, the loader among them.
fn libraries(programs: &[PathBuf], root: &Path, arch: Arch) -> Result<BTreeSet<PathBuf>> {
    let folders = ["lib", "usr/lib"].map(|lib| root.join(lib).join(arch.gnu()));
    let mut found = BTreeSet::new();
    let mut unread = programs.to_vec();
    while let Some(file) = unread.pop() {
        for name in needed(&file)? {
            let library = folders
                .iter()
                .map(|folder| folder.join(&name))
                .find(|place| place.exists())
                .with_context(|| format!("{} needs {name}", file.display()))?;
            if found.insert(library.clone()) {
                unread.push(library);
            }
        }
    }
    Ok(found)
}

/// The names of the libraries that a file is linked to.
fn needed(file: &Path) -> Result<Vec<String>> {
    let mut readelf = shell::command("readelf");
    // What is no ELF file has none, which it says to its standard error.
    let output = readelf.arg("--dynamic").arg(file).output()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| Some(line.split_once('[')?.1.trim_end_matches(']').to_owned()))
        .collect())
}

/// Some of the kernel's modules, and the list of which needs which.
fn modules(kernel: &Kernel, root: &Path) -> Result<()> {
    let version = kernel.modules.file_name().context("modules of no kernel")?;
    let to = root.join("lib/modules").join(version);
    for part in MODULES {
        let from = kernel.modules.join("kernel").join(part);
        if !from.is_dir() {
            continue;
        }
        let to = to.join("kernel").join(part);
        fs::create_dir_all(to.parent().context("invariant: below the root")?)?;
        shell::run(shell::command("cp").arg("-R").arg(from).arg(to))?;
    }
    shell::run(
        shell::command("find")
            .arg(&to)
            .args(["-name", "*.xz", "-exec", "busybox", "unxz", "{}", "+"]),
    )?;
    for list in ["modules.builtin", "modules.order"] {
        copy(&kernel.modules.join(list), &to.join(list))?;
    }
    shell::run(
        shell::command("busybox")
            .args(["depmod", "-b"])
            .arg(root)
            .arg(version),
    )
}

fn archive(root: &Path) -> Result<PathBuf> {
    let disk = root.with_extension("gz");
    shell::run(
        shell::command("sh")
            .args([
                "-ec",
                "find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >\"$0\"",
            ])
            .arg(&disk)
            .current_dir(root),
    )?;
    Ok(disk)
}
