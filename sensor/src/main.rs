//! The `llmtap` command.

use std::process::ExitCode;

mod cmd;
#[cfg(test)]
mod samples;

fn main() -> ExitCode {
    cmd::main()
}
