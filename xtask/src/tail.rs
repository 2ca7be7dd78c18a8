//! `cargo xtask tail`: from a checkout to the live tail.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::build;

/// Builds what has changed and becomes `llmtap tail`.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let llmtap = build::sensor()?;
    let error = Command::new(&llmtap).arg("tail").args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", llmtap.display()))
}
