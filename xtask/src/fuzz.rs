//! `cargo xtask fuzz`: runs what reads foreign bytes on bytes that are made up, guided by
//! which code they reach.
//!
//! The fuzzer is libFuzzer, and the stable toolchain does: LLVM's own pass counts what is
//! reached. Everything it needs is built apart, in `target/fuzz`. Findings stay in
//! `tests/fuzz/findings`, where a test of that crate replays them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::report::Report;
use crate::shell;

const EXAMPLES: &str = "\
Examples:
  cargo xtask fuzz                             every target, a minute each
  cargo xtask fuzz http1 sse --seconds 600     ten minutes of two targets
  cargo xtask fuzz --jobs 2                    two targets at a time
  cargo xtask fuzz --list                      what targets there are
  cargo xtask fuzz http1 --input FILE          run one input, as a finding says";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Targets; all of them where none is named
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Targets that run at a time
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// What chance begins with; the same number, the same inputs, up to the clock
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u32>,
    /// List the targets, with the number of their seeds
    #[arg(long)]
    list: bool,
    /// Run a target on this one input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// Built by stable rustc: coverage by LLVM's pass, and every check that debug builds have.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// An input that takes longer (by the clock of a machine that may be busy), or more memory,
/// is a finding.
const LIMITS: [&str; 2] = ["-timeout=60", "-rss_limit_mb=1024"];

pub fn run(options: &Options) -> Result<ExitCode> {
    let fuzzer = Fuzzer::build()?;
    let targets = fuzzer.chosen(&options.targets)?;
    if options.list {
        for Target {
            name, seeds, what, ..
        } in &targets
        {
            println!("{name:14} {what} ({seeds} seeds)");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(input) = &options.input {
        let [target] = &targets[..] else {
            bail!("--input takes one target");
        };
        shell::run(fuzzer.command(target).arg(fs::canonicalize(input)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan {
        time: Duration::from_secs(options.seconds),
        seed: options.seed,
        corpus: fuzzer.home.join("corpus"),
    };
    let report = fuzzer.run(&targets, &plan, options.jobs);
    println!("{report}");
    Ok(if report.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Ten seconds of each target, as a step of the tests. Every time these begin alike, so
/// that a test that passed is likely to pass again; what is new is for `cargo xtask fuzz`.
pub fn briefly(filter: Option<&str>) -> Result<Report> {
    let fuzzer = Fuzzer::build()?;
    let targets = fuzzer.targets.iter();
    let targets: Vec<&Target> = targets
        .filter(|target| filter.is_none_or(|text| target.name.contains(text)))
        .collect();
    let plan = Plan {
        time: Duration::from_secs(10),
        seed: Some(1),
        corpus: fuzzer.home.join("brief"),
    };
    // What an earlier run kept would lead elsewhere.
    let _ = fs::remove_dir_all(&plan.corpus);
    Ok(fuzzer.run(&targets, &plan, 2))
}

/// How targets run.
struct Plan {
    time: Duration,
    /// `None`: by chance.
    seed: Option<u32>,
    /// Where inputs that reach something new are kept, a folder a target.
    corpus: PathBuf,
}

/// One target, as the program that makes seeds tells it.
struct Target {
    name: String,
    longest: usize,
    seeds: usize,
    what: String,
}

struct Fuzzer {
    program: PathBuf,
    /// Of seeds, and of logs.
    home: PathBuf,
    targets: Vec<Target>,
}

impl Fuzzer {
    fn build() -> Result<Self> {
        let home = shell::target("fuzz");
        let host = host()?;
        shell::step("build the fuzz targets with coverage", || {
            // With `--target`, what runs at build time is built without the flags.
            let mut command = shell::cargo();
            command.args(["build", "--quiet", "--locked", "--package", "llmtap-fuzz"]);
            command.args(["--bin", "fuzz", "--profile", "fuzz", "--target", &host]);
            command.arg("--target-dir").arg(&home);
            shell::run(command.env("RUSTFLAGS", FLAGS))
        })?;
        let told = shell::step("derive seeds from recorded traffic", || {
            let mut command = shell::cargo();
            command.args(["run", "--quiet", "--locked", "--package", "llmtap-fuzz"]);
            shell::output(
                command
                    .args(["--bin", "seeds", "--"])
                    .arg(home.join("seeds")),
            )
        })?;
        Ok(Self {
            program: home.join(&host).join("fuzz/fuzz"),
            home,
            targets: told.lines().map(Target::parse).collect::<Result<_>>()?,
        })
    }

    fn chosen(&self, names: &[String]) -> Result<Vec<&Target>> {
        if names.is_empty() {
            return Ok(self.targets.iter().collect());
        }
        let chosen = names.iter().map(|name| {
            let target = self.targets.iter().find(|target| target.name == *name);
            target.with_context(|| format!("there is no target `{name}`; see --list"))
        });
        chosen.collect()
    }

    /// Runs targets, `jobs` at a time, and says how each went.
    fn run(&self, targets: &[&Target], plan: &Plan, jobs: usize) -> Report {
        let (count, span) = (targets.len(), shell::seconds(plan.time));
        println!("==> fuzz {count} targets, {span} each, {jobs} at a time");
        let run = |target: &&Target| self.one(target, plan);
        Report::of_each(("fuzz", jobs), targets, |target| &target.name, run)
    }

    /// Runs one target until its time is over, or an input breaks it.
    fn one(&self, target: &Target, plan: &Plan) -> Result<()> {
        let begun = Instant::now();
        let corpus = plan.corpus.join(&target.name);
        let findings = findings(target);
        let log = self.home.join(format!("{}.log", target.name));
        for folder in [&corpus, &findings] {
            fs::create_dir_all(folder)?;
        }
        let mut command = self.command(target);
        command.arg(&corpus).arg(&findings).arg(self.seeds(target));
        command.arg(format!("-max_total_time={}", plan.time.as_secs()));
        // Zero: by chance.
        command.arg(format!("-seed={}", plan.seed.unwrap_or(0)));
        command.arg(format!("-artifact_prefix={}/", findings.display()));
        let words = self
            .home
            .join("seeds")
            .join(format!("{}.dict", target.name));
        if words.exists() {
            command.arg(format!("-dict={}", words.display()));
        }
        let file =
            fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let status = command.stdout(file.try_clone()?).stderr(file).status()?;
        let told = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        // A folder of findings is there only where there are some.
        let _ = fs::remove_dir(&findings);
        let Numbers { runs, reached } = Numbers::of(&told);
        let took = shell::seconds(begun.elapsed());
        println!(
            "    {:14} {runs:>11} runs, {reached:>6} places reached, {took}",
            target.name
        );
        ensure!(status.success(), "{}", finding(target, &told, &log));
        Ok(())
    }

    fn seeds(&self, target: &Target) -> PathBuf {
        self.home.join("seeds").join(&target.name)
    }

    /// The fuzzer, on this target; it gives way to other work.
    fn command(&self, target: &Target) -> std::process::Command {
        let mut command = shell::command("nice");
        command.args(["-n", "19"]).arg(&self.program).args(LIMITS);
        command.arg("-print_final_stats=1");
        command.arg(format!("-max_len={}", target.longest));
        command.env("LLMTAP_FUZZ_TARGET", &target.name);
        command.env("LLMTAP_FUZZ_IMAGES", self.home.join("seeds/images"));
        command.env("RUST_BACKTRACE", "1");
        command
    }
}

impl Target {
    fn parse(line: &str) -> Result<Self> {
        let mut words = line.splitn(4, '\t');
        let mut next = || {
            words
                .next()
                .context("invariant: `seeds` tells four things a target")
        };
        Ok(Self {
            name: next()?.to_owned(),
            longest: next()?.parse()?,
            seeds: next()?.parse()?,
            what: next()?.to_owned(),
        })
    }
}

/// What libFuzzer says at the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Numbers {
    runs: u64,
    /// Edges between blocks of code.
    reached: u64,
}

impl Numbers {
    fn of(log: &str) -> Self {
        let mut numbers = Self::default();
        for line in log.lines() {
            if let Some(runs) = line.strip_prefix("stat::number_of_executed_units:") {
                numbers.runs = runs.trim().parse().unwrap_or_default();
            } else if let Some((_, rest)) = line.split_once(" cov: ") {
                let reached = rest.split(' ').next().unwrap_or_default();
                numbers.reached = reached.parse().unwrap_or_default();
            }
        }
        numbers
    }
}

fn findings(target: &Target) -> PathBuf {
    shell::root().join("tests/fuzz/findings").join(&target.name)
}

/// What broke, and how to see it again.
fn finding(target: &Target, log: &str, file: &Path) -> String {
    let name = &target.name;
    let input = log
        .lines()
        .find_map(|line| Some(line.split_once("Test unit written to ")?.1));
    let why = log.lines().find(|line| {
        line.contains("panicked at") || line.starts_with("==") && line.contains("ERROR")
    });
    let why = why.unwrap_or("see its log");
    match input {
        Some(input) => format!(
            "    {name}: {why}\n    log: {}\n    again: cargo xtask fuzz {name} --input {input}",
            file.display()
        ),
        None => format!("    {name}: {why}\n    log: {}", file.display()),
    }
}

/// The machine that this is built on, as rustc names it.
fn host() -> Result<String> {
    let told = shell::output(shell::command("rustc").arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_last_that_are_told() {
        let log = "#2 INITED cov: 10 ft: 10 corp: 1/1b\n#9 DONE cov: 12 ft: 10\n\
            stat::number_of_executed_units: 81\nstat::peak_rss_mb: 3";
        let (runs, reached) = (81, 12);
        assert_eq!(Numbers::of(log), Numbers { runs, reached });
        assert_eq!(Numbers::of("nothing"), Numbers::default());
    }

    #[test]
    fn a_finding_tells_how_to_see_it_again() {
        let target = Target::parse("sse\t10\t3\tevents").expect("four words");
        let log =
            "thread panicked at src/a.rs:3\nartifact_prefix='x'; Test unit written to x/crash-1\n";
        let told = finding(&target, log, Path::new("sse.log"));
        assert!(
            told.contains("panicked at src/a.rs:3") && told.contains("fuzz sse --input x/crash-1")
        );
    }
}
