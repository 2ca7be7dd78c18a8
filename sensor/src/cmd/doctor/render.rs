//! Findings for people.

use std::fmt::Write as _;

use super::Findings;
use super::checks::{Check, Status};
use crate::cmd::ls::rows::{Image, Row};
use crate::cmd::ls::table;
use crate::cmd::tail::render::{clean, count};

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// All findings as text.
pub fn text(findings: &Findings, colour: bool) -> String {
    let mut out = format!("llmtap {}\n\n", findings.version);
    for check in &findings.checks {
        check_line(&mut out, check, colour);
    }
    let with_tls = findings.processes.iter().filter(|p| !p.is_plain());
    let seen = with_tls.clone().filter(|p| p.image.hook.is_some());
    let _ = writeln!(
        out,
        "\nTLS in {} of processes, of which {} can be seen\n",
        count(with_tls.count() as u64, "file"),
        seen.count()
    );
    out.push_str(&table::text(&findings.processes, colour));
    for (image, users) in images(&findings.processes) {
        image_lines(&mut out, image, &users, colour);
    }
    out
}

/// What is the same in every process that maps it, with the processes that do.
fn images(processes: &[Row]) -> Vec<(&Image, Vec<String>)> {
    let mut images: Vec<(&Image, Vec<String>)> = Vec::new();
    for row in processes.iter().filter(|row| !row.is_plain()) {
        let Row {
            pid, comm, image, ..
        } = row;
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
    for fact in image.reason.iter().chain(&image.facts) {
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
    use super::*;
    use crate::cmd::ls::rows::{Hook, State};

    #[test]
    fn what_is_wrong_comes_with_what_to_do_and_nothing_steers_the_terminal() {
        let process = |pid, hook: Option<Hook>| Row {
            pid,
            comm: "no\x1b[2Jde".into(),
            runtime: Some("node"),
            state: hook.map_or(State::Unsupported, |_| State::Known),
            calls: 0,
            connections: 0,
            bytes: 0,
            image: Image {
                file: "/usr/bin/node".into(),
                library: Some("openssl".into()),
                version: Some("3.0.2".into()),
                found_by: None,
                hook,
                reason: None,
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
        let table = table::text(&findings.processes, false);
        let text_alone = text(&findings, false).replace(&table, "(table)\n");
        assert_eq!(
            text_alone,
            "llmtap 1\n\n\
             FAIL  tracefs                    not mounted\n      → mount it\n\n\
             TLS in 3 files of processes, of which 2 can be seen\n\n(table)\n\n\
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
