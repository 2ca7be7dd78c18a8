//! Findings for people.

use std::fmt::Write as _;

use super::Findings;
use super::checks::{Check, Status};
use super::processes::{Image, Process};
use crate::cmd::tail::render::{clean, count};

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// All findings as text.
pub fn text(findings: &Findings, colour: bool) -> String {
    let mut out = format!("llmtap {}\n\n", findings.version);
    for check in &findings.checks {
        check_line(&mut out, check, colour);
    }
    let seen = findings.processes.iter().filter(|p| p.image.hook.is_some());
    let _ = writeln!(
        out,
        "\nTLS in {} of processes, of which {} can be seen",
        count(findings.processes.len() as u64, "file"),
        seen.count()
    );
    for (image, users) in images(&findings.processes) {
        image_lines(&mut out, image, &users, colour);
    }
    out
}

/// What is the same in every process that maps it, with the processes that do.
fn images(processes: &[Process]) -> Vec<(&Image, Vec<String>)> {
    let mut images: Vec<(&Image, Vec<String>)> = Vec::new();
    for Process {
        pid, comm, image, ..
    } in processes
    {
        let user = format!("{}({pid})", clean(comm));
        match images.iter_mut().find(|(known, _)| *known == image) {
            Some((_, users)) => users.push(user),
            None => images.push((image, vec![user])),
        }
    }
    images
}

fn check_line(out: &mut String, check: &Check, colour: bool) {
    let (word, ink) = match check.status {
        Status::Ok => ("ok  ", "\x1b[32m"),
        Status::Warn => ("warn", "\x1b[33m"),
        Status::Fail => ("FAIL", "\x1b[31m"),
    };
    let word = painted(word, ink, colour);
    let _ = writeln!(out, "{word}  {:<26} {}", check.name, clean(&check.found));
    if let Some(advice) = check.advice {
        let _ = writeln!(out, "      → {advice}");
    }
}

fn image_lines(out: &mut String, image: &Image, users: &[String], colour: bool) {
    let (word, ink, how) = match image.hook {
        Some(hook) => {
            let slow = match hook.slow_sites {
                0 => String::new(),
                slow => format!(", {slow} of them slow"),
            };
            let sites = count(hook.sites as u64, "site");
            ("seen", "\x1b[32m", format!("{sites}{slow}"))
        }
        None => ("none", "\x1b[31m", "cannot be seen".to_owned()),
    };
    let word = painted(word, ink, colour);
    let library = image.library.as_deref().unwrap_or("unknown");
    let version = image.version.as_deref().unwrap_or_default();
    let name = clean(format!("{library} {version}").trim_end());
    let _ = writeln!(out, "\n{word}  {name}, {how}: {}", clean(&image.file));
    let _ = writeln!(out, "      in {}", users.join(", "));
    for fact in &image.facts {
        let fact = painted(&clean(fact), DIM, colour);
        let _ = writeln!(out, "      {fact}");
    }
}

fn painted(text: &str, ink: &str, colour: bool) -> String {
    if colour {
        format!("{ink}{text}{RESET}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::processes::Hook;
    use super::*;

    #[test]
    fn what_is_wrong_comes_with_what_to_do_and_nothing_steers_the_terminal() {
        let process = |pid, hook| Process {
            pid,
            comm: "no\x1b[2Jde".into(),
            image: Image {
                file: "/usr/bin/node".into(),
                library: Some("openssl".into()),
                version: Some("3.0.2".into()),
                hook,
                facts: vec!["SSL_read in .dynsym".into()],
            },
        };
        let hook = Hook {
            sites: 7,
            slow_sites: 1,
        };
        let findings = Findings {
            version: "1",
            checks: vec![Check {
                name: "tracefs",
                status: Status::Fail,
                found: "not mounted".into(),
                advice: Some("mount it"),
            }],
            processes: vec![
                process(1, Some(hook)),
                process(2, None),
                process(3, Some(hook)),
            ],
        };
        assert_eq!(
            text(&findings, false),
            "llmtap 1\n\n\
             FAIL  tracefs                    not mounted\n      → mount it\n\n\
             TLS in 3 files of processes, of which 2 can be seen\n\n\
             seen  openssl 3.0.2, 7 sites, 1 of them slow: /usr/bin/node\n\
             \x20     in no\u{fffd}[2Jde(1), no\u{fffd}[2Jde(3)\n\
             \x20     SSL_read in .dynsym\n\n\
             none  openssl 3.0.2, cannot be seen: /usr/bin/node\n\
             \x20     in no\u{fffd}[2Jde(2)\n\
             \x20     SSL_read in .dynsym\n"
        );
        assert!(text(&findings, true).contains("\x1b[31mFAIL\x1b[0m"));
    }
}
