//! Rows as a table for people.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::rows::{Row, State};
use crate::cmd::tail::render::{clean, grouped};

const RESET: &str = "\x1b[0m";
const HEAD: [&str; 8] = [
    "PID", "PROCESS", "RUNTIME", "LIBRARY", "FOUND BY", "STATE", "CALLS", "BYTES",
];
/// Columns of numbers.
const RIGHT: [bool; 8] = [true, false, false, false, false, false, true, true];
/// The column that has a colour.
const STATE: usize = 5;
/// What is not known.
const UNKNOWN: &str = "–";

/// A line for each row, under a head.
pub fn text(rows: &[Row], colour: bool) -> String {
    let head = HEAD.map(str::to_owned);
    let lines: Vec<[String; 8]> = rows.iter().map(cells).collect();
    let widths: [usize; 8] = std::array::from_fn(|column| {
        let all = std::iter::once(&head).chain(&lines);
        all.map(|line| line[column].width()).max().unwrap_or(0)
    });
    let mut out = String::new();
    line(&mut out, &head, &widths, None);
    for (row, cells) in rows.iter().zip(&lines) {
        line(&mut out, cells, &widths, colour.then(|| ink(row.state)));
        if let Some(reason) = &row.image.reason {
            let _ = writeln!(out, "{:>width$}  {}", "", clean(reason), width = widths[0]);
        }
    }
    out
}

fn cells(row: &Row) -> [String; 8] {
    let image = &row.image;
    let library = image.library.as_deref().unwrap_or(UNKNOWN);
    let version = image.version.as_deref().unwrap_or_default();
    let seen = |number: u64| match image.hook {
        None if number == 0 => UNKNOWN.to_owned(),
        _ => grouped(number),
    };
    [
        row.pid.to_string(),
        clean(&row.comm),
        row.runtime.unwrap_or(UNKNOWN).to_owned(),
        clean(format!("{library} {version}").trim_end()),
        image.found_by.map_or(UNKNOWN, |by| by.name()).to_owned(),
        word(row.state).to_owned(),
        seen(row.calls),
        seen(row.bytes),
    ]
}

fn line(out: &mut String, cells: &[String; 8], widths: &[usize; 8], ink: Option<&str>) {
    let mut line = String::new();
    for (column, cell) in cells.iter().enumerate() {
        let space = " ".repeat(widths[column].saturating_sub(cell.width()));
        let cell = match ink {
            Some(ink) if column == STATE => format!("{ink}{cell}{RESET}"),
            _ => cell.clone(),
        };
        let gap = if column == 0 { "" } else { "  " };
        let _ = match RIGHT[column] {
            true => write!(line, "{gap}{space}{cell}"),
            false => write!(line, "{gap}{cell}{space}"),
        };
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

pub const fn word(state: State) -> &'static str {
    match state {
        State::Verified => "verified",
        State::Attached => "attached",
        State::Released => "released",
        State::Withdrawn => "withdrawn",
        State::Failed => "failed",
        State::Known => "known",
        State::Unsupported => "unsupported",
    }
}

const fn ink(state: State) -> &'static str {
    match state {
        State::Verified => "\x1b[32m",
        State::Attached | State::Released | State::Known => "\x1b[36m",
        State::Withdrawn | State::Failed | State::Unsupported => "\x1b[31m",
    }
}

#[cfg(test)]
mod tests {
    use llmtap::discover::FoundBy;

    use super::super::rows::{Hook, Image};
    use super::*;

    fn rows() -> Vec<Row> {
        let hooked = Row {
            pid: 4242,
            comm: "py\x1b[2Jthon3".into(),
            runtime: Some("python"),
            state: State::Verified,
            calls: 3,
            connections: 1,
            bytes: 12_345,
            image: Image {
                file: "/usr/lib/libssl.so.3".into(),
                library: Some("openssl".into()),
                version: Some("3.0.22".into()),
                found_by: Some(FoundBy::Pair),
                hook: Some(Hook {
                    sites: 7,
                    slow_sites: 0,
                }),
                reason: None,
                facts: vec![],
            },
        };
        let mut unsupported = Row {
            pid: 7,
            comm: "java".into(),
            runtime: Some("java"),
            state: State::Unsupported,
            calls: 0,
            connections: 0,
            bytes: 0,
            ..hooked.clone()
        };
        unsupported.image = Image {
            file: "/usr/lib/libjvm.so".into(),
            library: Some("java".into()),
            version: None,
            found_by: None,
            hook: None,
            reason: Some("no native point".into()),
            facts: vec![],
        };
        vec![unsupported, hooked]
    }

    #[test]
    fn columns_stand_under_each_other_and_nothing_steers_the_terminal() {
        assert_eq!(
            text(&rows(), false),
            " PID  PROCESS      RUNTIME  LIBRARY         FOUND BY  STATE        CALLS   BYTES\n\
             \x20  7  java         java     java            –         unsupported      –       –\n\
             \x20     no native point\n\
             4242  py\u{fffd}[2Jthon3  python   openssl 3.0.22  pair      verified         3  12,345\n"
        );
        assert!(text(&rows(), true).contains("\x1b[32mverified\x1b[0m"));
    }
}
