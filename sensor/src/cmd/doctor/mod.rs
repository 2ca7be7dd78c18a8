//! `llmtap doctor`: what this host allows, and what can be seen of its processes.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;

mod checks;
mod render;

use super::ls::{self, rows::Row};
use super::tail::filter;
use checks::{Check, Status};

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
    /// How long to look at traffic, as 500ms, 10s or 2m
    #[arg(long = "for", value_name = "DURATION", default_value = "1s",
          value_parser = filter::duration)]
    span: Duration,
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
    processes: Vec<Row>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stop = super::stop_on_signals().context("cannot handle signals")?;
    let mut checks = checks::all(Path::new("/"));
    let watched = ls::watch(arguments.span, None, &stop);
    checks.push(checks::probes(
        watched.as_ref().map(|watched| watched.by_process),
    ));
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        checks,
        processes: match watched {
            Ok(watched) => watched.rows,
            Err(_) => ls::rows::without_sensor(),
        },
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
