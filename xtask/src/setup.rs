//! Tools that the kernel half needs beyond cargo: a compiler with the source of `core`, and
//! `bpf-linker` for the LLVM of that compiler.
//!
//! In: whatever machine this is. Out: [`BuildTools`], or an error that names the packages.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::{install, shell};

const LINKER_VERSION: &str = "0.13.0";
/// Versions of LLVM that this linker can be built for.
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// What builds the kernel half.
#[derive(Debug)]
pub struct BuildTools {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    pub linker: PathBuf,
}

/// Finds the tools, installing what is missing.
pub fn ensure_build_tools() -> Result<BuildTools> {
    let compiler = match rustup_compiler() {
        Some(compiler) => compiler,
        None => debian_compiler()?,
    };
    let linker = linker(&compiler)?;
    Ok(BuildTools {
        cargo: compiler.cargo,
        rustc: compiler.rustc,
        linker,
    })
}

/// A compiler that has the source of `core`.
struct Compiler {
    cargo: PathBuf,
    rustc: PathBuf,
    sysroot: PathBuf,
    release: String,
    /// Major version of its LLVM.
    llvm: u32,
}

impl Compiler {
    /// `None` where there is no such program.
    fn at(cargo: PathBuf, rustc: PathBuf) -> Option<Self> {
        let ask = |argument: &[&str]| {
            let mut command = shell::command(&rustc);
            let output = command.args(argument).stderr(Stdio::null()).output().ok()?;
            String::from_utf8(output.stdout).ok()
        };
        let version = ask(&["-vV"])?;
        let field = |name: &str| Some(version.lines().find_map(|l| l.strip_prefix(name))?.trim());
        Some(Self {
            sysroot: PathBuf::from(ask(&["--print", "sysroot"])?.trim()),
            release: field("release:")?.to_owned(),
            llvm: field("LLVM version:")?.split('.').next()?.parse().ok()?,
            cargo,
            rustc,
        })
    }

    fn has_source(&self) -> bool {
        let library = self.sysroot.join("lib/rustlib/src/rust/library");
        library.join("core/src/lib.rs").is_file()
    }
}

/// The cargo that runs us.
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// Its compiler.
pub fn rustc() -> PathBuf {
    // They lie side by side in a toolchain.
    let beside = cargo().with_file_name("rustc");
    if beside.is_file() {
        beside
    } else {
        "rustc".into()
    }
}

/// The compiler that builds everything else, if it has the source or rustup can add it.
fn rustup_compiler() -> Option<Compiler> {
    let compiler = Compiler::at(cargo(), rustc())?;
    if !compiler.has_source() && shell::has("rustup") {
        // Where it can't be added, Debian may have it.
        let _ = shell::step("add rust-src with rustup", || {
            let toolchain = compiler.sysroot.file_name().context("sysroot has a name")?;
            let mut command = shell::command("rustup");
            command.args(["component", "add", "rust-src", "--toolchain"]);
            shell::run(command.arg(toolchain))
        });
    }
    compiler.has_source().then_some(compiler)
}

/// Debian's compiler for its browsers, which comes with its exact source.
fn debian_compiler() -> Result<Compiler> {
    let found = || {
        let compiler = Compiler::at("/usr/bin/cargo".into(), "/usr/bin/rustc".into());
        compiler.filter(|c| c.has_source() && LINKER_LLVM.contains(&c.llvm))
    };
    if let Some(compiler) = found() {
        return Ok(compiler);
    }
    let packages = ["rustc-web", "rust-web-src", "cargo-web"];
    let hint = "the kernel half needs the source of Rust's core library: \
                `rustup component add rust-src`, or on Debian \
                `apt-get install rustc-web rust-web-src cargo-web`";
    install::packages(&packages).context(hint)?;
    found().context(hint)
}

/// The linker for the LLVM of `compiler`.
fn linker(compiler: &Compiler) -> Result<PathBuf> {
    if !LINKER_LLVM.contains(&compiler.llvm) {
        bail!(
            "rustc {} has LLVM {}, and bpf-linker {LINKER_VERSION} wants {} to {}: \
             `rustup toolchain install stable`",
            compiler.release,
            compiler.llvm,
            LINKER_LLVM.start(),
            LINKER_LLVM.end(),
        );
    }
    let home = shell::target(format!(
        "tools/bpf-linker-{LINKER_VERSION}-rustc-{}",
        compiler.release
    ));
    let linker = home.join("bin/bpf-linker");
    if !linker.is_file() {
        let prefix = llvm(compiler, &home)?;
        let what = format!(
            "install bpf-linker {LINKER_VERSION} into {}",
            home.display()
        );
        shell::step(&what, || install_linker(compiler, &home, &prefix))?;
    }
    Ok(linker)
}

fn install_linker(compiler: &Compiler, home: &Path, prefix: &Path) -> Result<()> {
    let mut command = shell::cargo();
    command
        .args([
            "install",
            "bpf-linker",
            "--locked",
            "--version",
            LINKER_VERSION,
        ])
        .args(["--no-default-features", "--features"])
        .arg(format!("llvm-{}", compiler.llvm))
        .arg("--root")
        .arg(home)
        .arg("--target-dir")
        .arg(home.join("build"))
        .env("LLVM_PREFIX", prefix);
    shell::run(&mut command)?;
    fs::remove_dir_all(home.join("build")).context("cannot remove what built bpf-linker")
}

/// A folder whose `lib` has a `libLLVM.so`: rustup's compilers bring theirs, others use the
/// system's.
fn llvm(compiler: &Compiler, home: &Path) -> Result<PathBuf> {
    let own = fs::read_dir(compiler.sysroot.join("lib"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| is_libllvm(path));
    let Some(library) = own else {
        let packages = [
            &*format!("llvm-{}-dev", compiler.llvm),
            &*format!("libpolly-{}-dev", compiler.llvm),
            "libzstd-dev",
            "zlib1g-dev",
            "libxml2-dev",
        ];
        let prefix = PathBuf::from(format!("/usr/lib/llvm-{}", compiler.llvm));
        if !prefix.join("lib/libLLVM.so").exists() {
            install::packages(&packages)?;
        }
        return Ok(prefix);
    };
    let prefix = home.join("llvm");
    let folder = prefix.join("lib");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let name = library
        .file_name()
        .context("invariant: found by its name")?;
    for link in [folder.join(name), folder.join("libLLVM.so")] {
        if !link.exists() {
            symlink(&library, &link).with_context(|| format!("cannot link {}", link.display()))?;
        }
    }
    Ok(prefix)
}

/// `libLLVM.so.22.1-rust-1.95.0-stable`; the shorter names beside it are linker scripts.
fn is_libllvm(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("libLLVM.so.") && path.is_file()
}
