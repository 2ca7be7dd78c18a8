//! The `llmtap` command.

use std::process::ExitCode;

mod cmd;

fn main() -> ExitCode {
    cmd::main()
}
