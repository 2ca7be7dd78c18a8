//! Virtual machines: which there are, their kernels, and how they are started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::archive::Archive;
use crate::arch::Arch;
use crate::shell;

/// A kernel for an architecture, and the suite of Debian that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub name: &'static str,
    pub arch: Arch,
    kernel: &'static str,
    suite: &'static str,
}

const fn machine(
    name: &'static str,
    arch: Arch,
    (kernel, suite): (&'static str, &'static str),
) -> Machine {
    Machine {
        name,
        arch,
        kernel,
        suite,
    }
}

const KERNEL_5: (&str, &str) = ("5.10", "bullseye");
const KERNEL_6: (&str, &str) = ("6.1", "bookworm");
const KERNEL_6_12: (&str, &str) = ("6.12", "bookworm-backports");

pub const MACHINES: [Machine; 6] = [
    machine("5.10", Arch::X86_64, KERNEL_5),
    machine("6.1", Arch::X86_64, KERNEL_6),
    machine("6.12", Arch::X86_64, KERNEL_6_12),
    machine("arm64-5.10", Arch::Aarch64, KERNEL_5),
    machine("arm64-6.1", Arch::Aarch64, KERNEL_6),
    machine("arm64-6.12", Arch::Aarch64, KERNEL_6_12),
];

impl Machine {
    /// Its emulator, and the package that has it.
    pub fn emulator(self) -> (&'static str, &'static str) {
        match self.arch {
            Arch::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
            Arch::Aarch64 => ("qemu-system-aarch64", "qemu-system-arm"),
        }
    }

    /// Starts it with a kernel and a first disk. `said`: what its first process finds in its
    /// environment.
    pub fn command(self, image: &Path, disk: &Path, said: &str) -> Command {
        let (hardware, console): (&[&str], _) = match self.arch {
            // Of QEMU 7.2 cmpxchg16b, which newer kernels allocate memory with, may leave behind
            // flags of its own making, and the kernel dies. They do without where it is not there.
            Arch::X86_64 => (&["-cpu", "qemu64,-cx16"], "ttyS0"),
            Arch::Aarch64 => (&["-M", "virt", "-cpu", "cortex-a72"], "ttyAMA0"),
        };
        let mut command = shell::command("timeout");
        command
            // It ends by itself; this is for a kernel that hangs.
            .args(["--kill-after=10", "420", self.emulator().0])
            .args(hardware)
            // Nested virtual machines differ too much from each other; and with more than one
            // emulated CPU, newer kernels die at random while they boot.
            .args(["-accel", "tcg", "-smp", "1"])
            .args(["-m", "1024", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(image)
            .arg("-initrd")
            .arg(disk)
            .arg("-append")
            .arg(format!("console={console} quiet panic=-1 {said}"));
        command
    }

    /// The folder of its kernel, from Debian's package, which is unpacked and not installed.
    pub fn kernel(self) -> Result<Kernel> {
        let home = shell::target(format!("vm/linux-{}-{}", self.kernel, self.arch.debian()));
        if let Ok(found) = Kernel::in_folder(&home) {
            return Ok(found);
        }
        let Self { kernel, suite, .. } = self;
        shell::step(&format!("fetch kernel {} of {suite}", self.name), || {
            let archive = Archive::new(suite, self.arch)?;
            let end = format!("-cloud-{}", self.arch.debian());
            let package = archive.newest(&format!("linux-image-{kernel}."), &end)?;
            fs::remove_dir_all(&home).ok();
            archive.unpack_alone(&package, &home)
        })?;
        Kernel::in_folder(&home)
    }
}

/// An unpacked kernel.
pub struct Kernel {
    pub image: PathBuf,
    /// The folder of its modules; named as `uname -r` has it.
    pub modules: PathBuf,
}

impl Kernel {
    pub fn has_tls(&self) -> bool {
        self.modules.join("kernel/net/tls").is_dir()
    }

    fn in_folder(home: &Path) -> Result<Self> {
        Ok(Self {
            image: only_file(&home.join("boot"), "vmlinuz-")?,
            modules: only_file(&home.join("lib/modules"), "")?,
        })
    }
}

fn only_file(dir: &Path, beginning: &str) -> Result<PathBuf> {
    fs::read_dir(dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(beginning))
        })
        .with_context(|| format!("not what was expected in {}", dir.display()))
}
