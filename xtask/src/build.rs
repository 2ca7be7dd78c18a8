//! Builds the sensor.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell;

/// Builds `target/release/llmtap` and says where it is.
pub fn sensor() -> Result<PathBuf> {
    shell::step("build target/release/llmtap", || {
        shell::run(shell::cargo().args(["build", "--release", "--package", "llmtap"]))
    })?;
    Ok(shell::target("release/llmtap"))
}
