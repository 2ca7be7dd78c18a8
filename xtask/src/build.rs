//! Builds the sensor: the kernel half first, which goes into the binary of the other half.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{setup, shell};

#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Options {
    /// Build the user half without optimisation, into target/debug
    #[arg(long)]
    debug: bool,
}

/// Builds `target/release/llmtap` and says where it is.
pub fn sensor() -> Result<PathBuf> {
    sensor_with(Options::default())
}

pub fn sensor_with(options: Options) -> Result<PathBuf> {
    ebpf()?;
    let profile = if options.debug { "debug" } else { "release" };
    shell::step(&format!("build target/{profile}/llmtap"), || {
        let mut command = shell::cargo();
        command.args(["build", "--package", "llmtap"]);
        if !options.debug {
            command.arg("--release");
        }
        // It looks for the object where we left it.
        shell::run(command.env_remove("LLMTAP_EBPF_OBJECT"))
    })?;
    Ok(shell::target(format!("{profile}/llmtap")))
}

/// Builds the kernel half for this machine's architecture and says where its object is.
pub fn ebpf() -> Result<PathBuf> {
    let tools = setup::ensure_build_tools()?;
    shell::step("build the eBPF object", || {
        compile(&tools, std::env::consts::ARCH)
    })
}

/// Lints the kernel half; `None` where its toolchain has no clippy.
pub fn lint_ebpf() -> Result<Option<()>> {
    let tools = setup::ensure_build_tools()?;
    if !tools.rustc.with_file_name("clippy-driver").is_file() {
        return Ok(None);
    }
    let mut command = kernel_half("clippy", &tools, std::env::consts::ARCH);
    shell::run(command.args(["--quiet", "--", "--deny", "warnings"]))?;
    Ok(Some(()))
}

fn compile(tools: &setup::BuildTools, arch: &str) -> Result<PathBuf> {
    shell::run(&mut kernel_half("build", tools, arch))?;
    let object = shell::target("llmtap-ebpf/bpfel-unknown-none/ebpf/llmtap-ebpf");
    object
        .canonicalize()
        .with_context(|| format!("no object at {}", object.display()))
}

/// A subcommand of cargo on the kernel half. `arch`: whose registers and system calls it
/// is to know, as Rust names it.
fn kernel_half(subcommand: &str, tools: &setup::BuildTools, arch: &str) -> Command {
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        format!("-Clinker={}", tools.linker.display()),
        "-Clink-arg=--btf".to_owned(),
    ];
    let mut command = shell::command(&tools.cargo);
    command
        .args([subcommand, "--package", "llmtap-ebpf", "--profile", "ebpf"])
        .args(["--target", "bpfel-unknown-none", "-Zbuild-std=core"])
        .arg("--target-dir")
        .arg(shell::target("llmtap-ebpf"))
        .env("RUSTC", &tools.rustc)
        // Building `core` is not stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_CFG_BPF_TARGET_ARCH", arch)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        // Of the toolchain that runs us, which may be another one.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    command
}
