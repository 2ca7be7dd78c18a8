//! Architectures that llmtap runs on, and what builds C and Rust for them here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{install, setup, shell};

/// An architecture, with its names in Rust, in Debian (and Go) and in the GNU tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    #[value(name = "x86_64", alias = "amd64")]
    X86_64,
    #[value(name = "aarch64", alias = "arm64")]
    Aarch64,
}

impl Arch {
    pub const HOST: Self = if cfg!(target_arch = "x86_64") {
        Self::X86_64
    } else {
        Self::Aarch64
    };

    pub const fn rust(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// What begins the names of compilers, and what folders of libraries are called.
    pub fn gnu(self) -> String {
        format!("{}-linux-gnu", self.rust())
    }

    fn rust_target(self) -> String {
        format!("{}-unknown-linux-gnu", self.rust())
    }

    /// Where cargo leaves what it builds with `build`, below its target directory.
    pub fn built(self, profile: &str) -> PathBuf {
        if self == Self::HOST {
            PathBuf::from(profile)
        } else {
            Path::new(&self.rust_target()).join(profile)
        }
    }

    /// Has cargo build for this architecture.
    pub fn target(self, cargo: &mut Command) -> Result<()> {
        if self == Self::HOST {
            return Ok(());
        }
        let compiler = self.c_compiler()?;
        self.standard_library()?;
        let target = self.rust_target();
        let spelled = target.replace('-', "_");
        cargo
            .args(["--target", &target])
            .env(
                format!("CARGO_TARGET_{}_LINKER", spelled.to_uppercase()),
                &compiler,
            )
            .env(format!("CC_{spelled}"), &compiler);
        Ok(())
    }

    /// The C compiler for this architecture, installed if need be.
    pub fn c_compiler(self) -> Result<String> {
        let compiler = format!("{}-gcc", self.gnu());
        if !shell::has(&compiler) {
            install::packages(&self.compiler_packages())?;
        }
        Ok(compiler)
    }

    fn compiler_packages(self) -> [&'static str; 2] {
        match self {
            _ if self == Self::HOST => ["gcc", "libc6-dev"],
            Self::X86_64 => ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
            Self::Aarch64 => ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        }
    }

    fn standard_library(self) -> Result<()> {
        let target = self.rust_target();
        let mut rustc = shell::command(setup::rustc());
        rustc.args(["--print", "target-libdir", "--target", &target]);
        if Path::new(shell::output(&mut rustc)?.trim()).is_dir() {
            return Ok(());
        }
        shell::step(&format!("add {target} with rustup"), || {
            shell::run(shell::command("rustup").args(["target", "add", &target]))
        })
        .with_context(|| format!("Rust's standard library for {target} is needed"))
    }
}
