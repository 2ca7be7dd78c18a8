//! Installs what tests need: Debian's packages where we may, the rest into
//! `target/test-env`, each once for as long as what is asked for stays the same.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::shell;

/// A program that is needed, and the package that has it.
pub type Needed = (&'static str, &'static str);

/// Makes sure that programs are there, installing their packages if we are root.
pub fn programs(needed: &[Needed]) -> Result<()> {
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| !shell::has(program))
        .map(|(_, package)| *package)
        .collect();
    packages(&missing)
}

/// Installs Debian packages.
pub fn packages(names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let list = names.join(" ");
    if !shell::is_root() || !shell::has("apt-get") {
        bail!("these packages are needed: {list} (apt-get install {list})");
    }
    shell::step(&format!("install {list}"), || {
        let install = || {
            shell::run(
                shell::command("apt-get")
                    .args(["install", "-y", "-qq", "--no-install-recommends"])
                    .args(names)
                    .env("DEBIAN_FRONTEND", "noninteractive")
                    .stdout(std::process::Stdio::null()),
            )
        };
        // The lists of a fresh machine may be empty or old.
        install().or_else(|_| {
            shell::run(shell::command("apt-get").args(["update", "-qq"]))?;
            install()
        })
    })
}

/// The Python of an environment that has what `tests/e2e/python/NAME.txt` lists.
pub fn python(name: &str) -> Result<PathBuf> {
    let list = shell::root().join(format!("tests/e2e/python/{name}.txt"));
    let home = shell::target(format!("test-env/py-{name}"));
    let python = home.join("bin/python");
    once(
        &home,
        &[&list],
        &format!("PyPI packages of {name}.txt"),
        || {
            programs(&[("python3", "python3")])?;
            // Debian's python3 comes without ensurepip.
            if shell::output(shell::command("python3").args(["-c", "import ensurepip"])).is_err() {
                packages(&["python3-venv"])?;
            }
            shell::run(
                shell::command("python3")
                    .args(["-m", "venv", "--clear"])
                    .arg(&home),
            )?;
            shell::run(
                shell::command(&python)
                    .args(["-m", "pip", "install", "--quiet", "--no-input"])
                    .args(["--disable-pip-version-check", "--requirement"])
                    .arg(&list),
            )
        },
    )?;
    Ok(python)
}

/// The folder whose `node_modules` has what `tests/e2e/NAME/package-lock.json` lists.
pub fn node(name: &str) -> Result<PathBuf> {
    let source = shell::root().join(format!("tests/e2e/{name}"));
    let home = shell::target(format!("test-env/{name}"));
    let files = ["package.json", "package-lock.json"].map(|name| source.join(name));
    once(&home, &[&files[0], &files[1]], "npm packages", || {
        programs(&[("node", "nodejs"), ("npm", "npm")])?;
        fs::create_dir_all(&home)?;
        for file in &files {
            let name = file.file_name().expect("invariant: a file's path");
            fs::copy(file, home.join(name))?;
        }
        // Not `ci`, which wants the packages of all other systems to be there, too.
        shell::run(
            shell::command("npm")
                .args([
                    "install",
                    "--no-save",
                    "--silent",
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts",
                ])
                .current_dir(&home),
        )
    })?;
    Ok(home)
}

/// The program of `tests/e2e/rust`, built with its symbols.
pub fn rust_client(arch: Arch) -> Result<PathBuf> {
    let source = shell::root().join("tests/e2e/rust");
    let home = shell::target(if arch == Arch::HOST {
        "test-env/rust".to_owned()
    } else {
        format!("test-env/rust-{}", arch.debian())
    });
    let program = home.join(arch.built("release").join("llmtap-rust-client"));
    let files =
        ["Cargo.lock", "Cargo.toml", "src/main.rs", "src/stepped.rs"].map(|name| source.join(name));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    once(&home, &files, "the client of tests/e2e/rust", || {
        programs(&[("cc", "gcc"), ("strip", "binutils")])?;
        let mut build = shell::cargo();
        build
            .args(["build", "--release", "--locked", "--target-dir"])
            .arg(&home)
            .current_dir(&source);
        arch.target(&mut build)?;
        shell::run(&mut build)
    })?;
    Ok(program)
}

/// Fills the folder `home`, unless it was filled from the same `sources` before.
pub fn once(
    home: &Path,
    sources: &[&Path],
    what: &str,
    fill: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut wanted = String::new();
    for source in sources {
        wanted += &fs::read_to_string(source)
            .with_context(|| format!("cannot read {}", source.display()))?;
    }
    let stamp = home.join(".filled-from");
    if fs::read_to_string(&stamp).is_ok_and(|filled| filled == wanted) {
        return Ok(());
    }
    shell::step(&format!("install {what} into {}", home.display()), fill)?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// What `tests/kernel/tls.c` is made of.
const TLS_SOURCES: [&str; 3] = ["tls.c", "echo.h", "end.h"];

/// `tests/kernel/tls.c`, built for this machine.
pub fn tls_program() -> Result<PathBuf> {
    own_openssl()?;
    c_program("tls", &TLS_SOURCES, || Ok(shell::command("cc")))
}

/// The same for an architecture, against the libssl in the packages unpacked at `root`.
pub fn tls_program_for(arch: Arch, root: &Path) -> Result<PathBuf> {
    let include = root.join("usr/include");
    let name = format!("tls-{}", arch.debian());
    c_program(&name, &TLS_SOURCES, || {
        let mut compiler = shell::command(arch.c_compiler()?);
        compiler
            .args([OsStr::new("-I"), include.as_os_str()])
            .args([OsStr::new("-I"), include.join(arch.gnu()).as_os_str()])
            .args([
                OsStr::new("-L"),
                root.join("usr/lib").join(arch.gnu()).as_os_str(),
            ]);
        Ok(compiler)
    })
}

/// `tests/kernel/empty.c`, built.
pub fn empty_probes() -> Result<PathBuf> {
    own_openssl()?;
    c_program("empty", &["empty.c"], || Ok(shell::command("cc")))
}

fn own_openssl() -> Result<()> {
    programs(&[("cc", "gcc")])?;
    if !Path::new("/usr/include/openssl/ssl.h").exists() {
        packages(&["libssl-dev", "libc6-dev"])?;
    }
    Ok(())
}

/// A program of `tests/kernel`, whose source is the first of `sources`.
fn c_program(
    name: &str,
    sources: &[&str],
    compiler: impl FnOnce() -> Result<Command>,
) -> Result<PathBuf> {
    let sources: Vec<PathBuf> = sources
        .iter()
        .map(|source| shell::root().join("tests/kernel").join(source))
        .collect();
    let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
    let home = shell::target(format!("test-env/{name}"));
    let program = home.join(name);
    once(&home, &sources, name, || {
        fs::create_dir_all(&home)?;
        shell::run(
            compiler()?
                .args(["-O2", "-Wall", "-Wextra", "-o"])
                .arg(&program)
                .arg(sources[0])
                .args(["-lssl", "-lcrypto"]),
        )
    })?;
    Ok(program)
}

/// The folder below `test-env/NAME` in which packages of Debian's lie unpacked, and not
/// installed: some would start a service. `None` where there are no such packages.
pub fn unpacked(name: &str, packages: &[&str]) -> Result<Option<PathBuf>> {
    let home = shell::target(format!("test-env/{name}"));
    let stamp = home.join(".packages");
    let wanted = packages.join(" ");
    let root = home.join("root");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(Some(root));
    }
    if !shell::has("apt-get") || !shell::has("dpkg-deb") {
        return Ok(None);
    }
    shell::step(&format!("unpack {wanted}"), || {
        fs::remove_dir_all(&home).ok();
        fs::create_dir_all(&root)?;
        let mut download = shell::command("apt-get");
        download
            .args(["download", "-qq", "-o", "APT::Sandbox::User=root"])
            .args(packages)
            .current_dir(&home);
        if shell::run(&mut download).is_err() {
            return Ok(None);
        }
        for entry in fs::read_dir(&home)? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                let mut extract = shell::command("dpkg-deb");
                shell::run(extract.arg("--extract").arg(&file).arg(&root))?;
            }
        }
        fs::write(&stamp, &wanted)?;
        Ok(Some(root.clone()))
    })
}

/// The folder of a small Debian with curl and Python, as an image of a container has it.
/// `None` where it can't be had: without debootstrap, or off Debian.
pub fn debian() -> Result<Option<PathBuf>> {
    if !shell::has("debootstrap") && (!shell::has("apt-get") || packages(&["debootstrap"]).is_err())
    {
        return Ok(None);
    }
    let home = shell::target("test-env/debian");
    let root = home.join("root");
    let filled = once(&home, &[], "a small Debian", || {
        fs::remove_dir_all(&home).ok();
        fs::create_dir_all(&home)?;
        shell::run(
            shell::command("debootstrap")
                .args(["--variant=minbase", "--include=curl,python3", "bookworm"])
                .arg(&root),
        )
    });
    Ok(filled.is_ok().then_some(root))
}
