//! Builds the sensor: the kernel half first, which goes into the binary of the other half.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::{setup, shell};

#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Build the user half without optimisation, into target/debug
    #[arg(long)]
    debug: bool,
    /// Build for hosts of another architecture; the end of the output says where it lies
    #[arg(long, default_value = Arch::HOST.rust())]
    arch: Arch,
}

/// Builds `target/release/llmtap` and says where it is.
pub fn sensor() -> Result<PathBuf> {
    sensor_for(Arch::HOST)
}

/// The same for hosts of that architecture, in a folder of its own.
pub fn sensor_for(arch: Arch) -> Result<PathBuf> {
    sensor_with(Options { debug: false, arch })
}

pub fn sensor_with(options: Options) -> Result<PathBuf> {
    let arch = options.arch;
    ebpf(arch)?;
    let profile = if options.debug { "debug" } else { "release" };
    let program = shell::target(arch.built(profile).join("llmtap"));
    shell::step(&format!("build {}", program.display()), || {
        let mut command = shell::cargo();
        command.args(["build", "--package", "llmtap"]);
        if !options.debug {
            command.arg("--release");
        }
        arch.target(&mut command)?;
        // It looks for the object where we left it.
        shell::run(command.env_remove("LLMTAP_EBPF_OBJECT"))
    })?;
    Ok(program)
}

/// Builds the kernel half for hosts of that architecture and says where its object is.
pub fn ebpf(arch: Arch) -> Result<PathBuf> {
    let tools = setup::ensure_build_tools()?;
    let what = format!("build the eBPF object for {}", arch.rust());
    shell::step(&what, || compile(&tools, arch))
}

/// Lints the kernel half; `None` where its toolchain has no clippy.
pub fn lint_ebpf() -> Result<Option<()>> {
    let tools = setup::ensure_build_tools()?;
    if !tools.rustc.with_file_name("clippy-driver").is_file() {
        return Ok(None);
    }
    let mut command = kernel_half("clippy", &tools, Arch::HOST);
    shell::run(command.args(["--quiet", "--", "--deny", "warnings"]))?;
    Ok(Some(()))
}

fn compile(tools: &setup::BuildTools, arch: Arch) -> Result<PathBuf> {
    shell::run(&mut kernel_half("build", tools, arch))?;
    let object = kernel_folder(arch).join("bpfel-unknown-none/ebpf/llmtap-ebpf");
    object
        .canonicalize()
        .with_context(|| format!("no object at {}", object.display()))
}

/// Where `sensor/build.rs` looks for the object that goes into a binary for `arch`.
fn kernel_folder(arch: Arch) -> PathBuf {
    shell::target("llmtap-ebpf").join(arch.rust())
}

/// A subcommand of cargo on the kernel half. `arch`: whose registers and system calls it
/// is to know.
fn kernel_half(subcommand: &str, tools: &setup::BuildTools, arch: Arch) -> Command {
    let flags = [
        format!("--cfg=bpf_target_arch=\"{}\"", arch.rust()),
        format!("-Clinker={}", tools.linker.display()),
        "-Clink-arg=--btf".to_owned(),
    ];
    let mut command = shell::command(&tools.cargo);
    command
        .args([subcommand, "--package", "llmtap-ebpf", "--profile", "ebpf"])
        .args(["--target", "bpfel-unknown-none", "-Zbuild-std=core"])
        .arg("--target-dir")
        .arg(kernel_folder(arch))
        .env("RUSTC", &tools.rustc)
        // Building `core` is not stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_CFG_BPF_TARGET_ARCH", arch.rust())
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        // Of the toolchain that runs us, which may be another one.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    command
}
