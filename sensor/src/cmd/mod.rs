//! The command line: wires the rooms together.
//!
//! In: arguments, signals, the clock. Out: text and an exit code: 0 where all went
//! well, 1 on a failure, 2 on misuse. The only place with threads and clocks.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

mod account;
mod capture;
mod config;
mod doctor;
mod estimate;
mod facts;
mod live;
mod ls;
mod pipeline;
mod record;
mod replay;
mod run;
mod source;
mod tail;

use llmtap::redact::{Content, Policy};

/// See the calls of any process to language models, live and unchanged.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print calls as they happen
    Tail(tail::Arguments),
    /// Send calls to collectors and files, as a daemon
    Run(Box<run::Arguments>),
    /// Print what is configured for `run`, or check it
    Config(Box<config::Arguments>),
    /// Write the traffic of calls to a capture file
    Record(record::Arguments),
    /// Print the calls in a capture file
    Replay(replay::Arguments),
    /// List the processes that use TLS, and how far each can be seen
    Ls(ls::Arguments),
    /// Say what this host allows, and which processes can be seen
    Doctor(doctor::Arguments),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

/// What every command with probes understands of those who make no calls.
#[derive(Clone, Copy, Debug, Args)]
struct Releasing {
    /// Take probes out of busy processes that make no call for so long, until they connect
    /// to somebody new; 0s: never
    #[arg(long, value_name = "DURATION", default_value = "60s",
          value_parser = tail::filter::duration)]
    release_idle: Duration,
}

impl Releasing {
    fn after(self) -> Option<Duration> {
        Some(self.release_idle).filter(|after| !after.is_zero())
    }
}

/// What every command that prints calls understands.
#[derive(Clone, Copy, Debug, Args)]
struct Printing {
    /// How calls are printed
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// How much of prompts and replies is printed [default: full on a terminal, else off]
    #[arg(long, value_enum)]
    content: Option<ContentArgument>,
    /// Print the requests, too, that a process served when it made calls (jsonl only)
    #[arg(long)]
    served: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people
    Text,
    /// One JSON object a line for each finished call
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ContentArgument {
    /// Nothing of it
    Off,
    /// With keys, mail addresses, card, account and phone numbers masked
    Redacted,
    /// All of it
    Full,
}

impl From<ContentArgument> for Content {
    fn from(argument: ContentArgument) -> Self {
        match argument {
            ContentArgument::Off => Self::Off,
            ContentArgument::Redacted => Self::Redacted,
            ContentArgument::Full => Self::Full,
        }
    }
}

impl Printing {
    fn policy(self) -> Policy {
        let default = if io::stdout().is_terminal() {
            Content::Full
        } else {
            Content::Off
        };
        Policy {
            content: self.content.map_or(default, Content::from),
        }
    }
}

pub fn main() -> ExitCode {
    // Its memory holds what others say: no crash writes that to a disk.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let outcome = match Cli::parse().command {
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Ls(arguments) => ls::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "llmtap", &mut io::stdout());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("llmtap: {}", explanation(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whether the user wants none, see no-color.org.
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}

/// A flag that Ctrl-C and the like raise. A second one ends the process at once.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// The error and its causes. A rejected program brings the verifier's whole log with
/// it, of which the end says what is wrong.
fn explanation(error: &anyhow::Error) -> String {
    const LINES: usize = 8;
    let text = format!("{error:#}");
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [first, ..] if lines.len() > 2 * LINES => {
            let end = lines.len() - LINES;
            let left_out = end - 1;
            format!("{first}\n… ({left_out} lines)\n{}", lines[end..].join("\n"))
        }
        _ => text,
    }
}

/// Whoever read the output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
