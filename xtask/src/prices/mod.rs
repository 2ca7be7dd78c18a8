//! Derives the embedded table of prices from PyPI's genai-prices.
//!
//! In: the package's wheel. Out: `sensor/src/enrich/cost/prices.json`, in the format
//! that `sensor/src/enrich/cost/table.rs` tells, and the licence beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use crate::{install, shell};
use convert::{Provider, convert};

mod convert;
mod wildcards;

#[derive(Args, Debug)]
pub struct Options {
    /// Version of genai-prices [default: the newest]
    #[arg(long)]
    version: Option<String>,
}

/// `cargo xtask prices`.
pub fn run(options: &Options) -> Result<ExitCode> {
    let wheel = shell::step("download genai-prices from PyPI", || download(options))?;
    let read = || literals(&wheel);
    let providers = shell::step(&format!("read {}", wheel.display()), read)?;
    let (table, left_out) = convert(&providers)?;
    let home = shell::root().join("sensor/src/enrich/cost");
    let models: usize = table.iter().map(|provider| provider.models.len()).sum();
    shell::step(
        &format!("write {models} models to {}", home.display()),
        || {
            fs::write(home.join("prices.json"), text(&table, &wheel)?)?;
            let licence = member(&wheel, "LICENSE")?;
            Ok(fs::write(home.join("LICENSE-genai-prices"), licence)?)
        },
    )?;
    for (why, names) in left_out {
        println!("    left out, {why}: {}", names.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// The wheel in `target/prices`.
fn download(options: &Options) -> Result<PathBuf> {
    install::programs(&[("python3", "python3")])?;
    if shell::output(shell::command("python3").args(["-c", "import pip"])).is_err() {
        install::packages(&["python3-pip"])?;
    }
    let home = shell::target("prices");
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    let package = match &options.version {
        Some(version) => format!("genai-prices=={version}"),
        None => "genai-prices".to_owned(),
    };
    shell::run(
        shell::command("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-input",
                "--no-deps",
            ])
            .args(["--disable-pip-version-check", "--only-binary", ":all:"])
            // The package asks for a newer Python than the one that reads its data.
            .args(["--ignore-requires-python", "--dest"])
            .arg(&home)
            .arg(package),
    )?;
    let mut files = fs::read_dir(&home)?;
    Ok(files.next().context("pip left no wheel")??.path())
}

/// The providers in the package's data.
fn literals(wheel: &Path) -> Result<Vec<Value>> {
    let mut reader = shell::command("python3");
    reader
        .arg("-c")
        .arg(include_str!("literals.py"))
        .arg(wheel)
        .arg("genai_prices/data.py");
    Ok(serde_json::from_str(&shell::output(&mut reader)?)?)
}

/// The file of the wheel whose path ends in `name`.
fn member(wheel: &Path, name: &str) -> Result<String> {
    const READ: &str = "import sys, zipfile\n\
        wheel = zipfile.ZipFile(sys.argv[1])\n\
        [path] = [p for p in wheel.namelist() if p.endswith('/' + sys.argv[2])]\n\
        sys.stdout.write(wheel.read(path).decode())";
    shell::output(
        shell::command("python3")
            .args(["-c", READ])
            .arg(wheel)
            .arg(name),
    )
}

/// A line a model, so that an update can be read as a difference.
fn text(table: &[Provider], wheel: &Path) -> Result<String> {
    let name = wheel.file_stem().context("invariant: a file")?;
    let name = name.to_string_lossy();
    let version = name
        .split('-')
        .nth(1)
        .context("a wheel's name has its version")?;
    let today = shell::output(shell::command("date").args(["--utc", "+%F"]))?;
    let mut out = format!(
        "{{\"source\": \"genai-prices {version} of PyPI\", \"retrieved\": \"{}\",\n \
         \"licence\": \"MIT, see LICENSE-genai-prices\",\n \"providers\": [",
        today.trim()
    );
    for (at, provider) in table.iter().enumerate() {
        let models: Result<Vec<String>, _> =
            provider.models.iter().map(serde_json::to_string).collect();
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&format!(
            "  {{\"names\": {}, \"fallback\": {}, \"models\": [\n{}]}}",
            serde_json::to_string(provider.names)?,
            serde_json::to_string(&provider.fallback)?,
            models?.join(",\n"),
        ));
    }
    Ok(out + "]}\n")
}
