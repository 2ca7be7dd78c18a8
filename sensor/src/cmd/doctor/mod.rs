//! `llmtap doctor`: what this host allows, and what can be seen of its processes.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use clap::{Args, ValueEnum};
use serde::Serialize;

mod checks;
mod processes;
mod render;

use checks::{Check, Status};
use processes::Process;

const EXAMPLES: &str = "\
Examples:
  llmtap doctor                          what is missing, and what to do
  llmtap doctor --format json | jq '.processes[] | select(.hook == null)'

Ends with 1 where something stands in the way of tracing.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// How the findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// All that is found.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    checks: Vec<Check>,
    /// Processes that use TLS.
    processes: Vec<Process>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        checks: checks::all(Path::new("/")),
        processes: processes::all(),
    };
    let mut stdout = io::stdout().lock();
    match arguments.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut stdout, &findings)?;
            writeln!(stdout)?;
        }
        Format::Text => {
            let colour = stdout.is_terminal() && !super::no_colour();
            write!(stdout, "{}", render::text(&findings, colour))?;
        }
    }
    let failed = findings.checks.iter().any(|c| c.status == Status::Fail);
    anyhow::ensure!(!failed, "this host cannot be traced as it is");
    Ok(())
}
