//! `cargo xtask picture`: docs/tail.svg, a picture of the real terminal.
//!
//! In: docs/tail.jsonl, a capture of real probes. Out: what `llmtap tail` writes to a
//! terminal of `COLUMNS` columns when it sees that traffic, as SVG.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::shell;

const COLUMNS: usize = 118;

/// Size of a character and of a line, in units of the picture.
const ADVANCE: f64 = 7.8;
const LINE: f64 = 19.0;
const SIZE: f64 = 13.0;
const MARGIN: f64 = 18.0;

const CAPTURE: &str = "docs/tail.jsonl";
const PICTURE: &str = "docs/tail.svg";

/// Runs the tail in a terminal and draws what comes.
pub fn run() -> Result<ExitCode> {
    shell::run(shell::cargo().args(["build", "--package", "llmtap"]))?;
    let tail = shell::target("debug/llmtap");
    let tail = tail.to_str().context("the build directory's name")?;
    let command =
        format!("stty cols {COLUMNS} rows 40 && exec {tail} tail --follow-text --replay {CAPTURE}");
    let written = shell::output(
        shell::command("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .env("TZ", "UTC")
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR"),
    )?;
    ensure!(written.contains("\x1b["), "the tail wrote no colour");
    let text = format!("\x1b[2m#\x1b[0m llmtap tail --follow-text\n{written}");
    fs::write(shell::root().join(PICTURE), svg(&text)).context(PICTURE)?;
    println!("{PICTURE} is drawn anew");
    Ok(ExitCode::SUCCESS)
}

/// A run of characters in one style.
#[derive(Debug, PartialEq)]
struct Run {
    class: &'static str,
    text: String,
}

/// The runs of one line. Of escape sequences the tail uses but those that set a style
/// (ECMA-48, SGR).
fn runs(line: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut class = "";
    for (at, piece) in line.split("\x1b[").enumerate() {
        let text = match piece.split_once('m') {
            Some((code, rest)) if at > 0 => {
                class = style(code);
                rest
            }
            _ => piece,
        };
        if !text.is_empty() {
            runs.push(Run {
                class,
                text: text.to_owned(),
            });
        }
    }
    runs
}

fn style(code: &str) -> &'static str {
    match code {
        "1" => "bold",
        "2" => "dim",
        "31" => "red",
        "32" => "green",
        "33" => "yellow",
        "36" => "cyan",
        _ => "",
    }
}

fn svg(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|l| l.trim_end_matches('\r')).collect();
    let width = COLUMNS as f64 * ADVANCE + 2.0 * MARGIN;
    let height = lines.len() as f64 * LINE + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"llmtap tail\">\n\
         <style>text{{font:{SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;\
         fill:#e6edf3;white-space:pre}}.bold{{font-weight:700}}.dim{{fill:#8b949e}}\
         .red{{fill:#ff7b72}}.green{{fill:#7ee787}}.yellow{{fill:#f2cc60}}\
         .cyan{{fill:#79c0ff}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n"
    );
    for (row, line) in lines.iter().enumerate() {
        let y = MARGIN + (row as f64 + 0.75) * LINE;
        let mut column = 0;
        for run in runs(line) {
            let all = run.text.chars().count();
            let text = run.text.trim_start();
            let columns = text.chars().count();
            let x = MARGIN + (column + all - columns) as f64 * ADVANCE;
            let length = columns as f64 * ADVANCE;
            column += all;
            if text.is_empty() {
                continue;
            }
            // Each run has its place and length, so that columns stand whatever the font.
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" class=\"{}\" \
                 xml:space=\"preserve\">{}</text>",
                run.class,
                escaped(text)
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_and_text_are_told_apart() {
        let run = |class, text: &str| Run {
            class,
            text: text.into(),
        };
        assert_eq!(
            runs("a \x1b[32mstop\x1b[0m m"),
            [run("", "a "), run("green", "stop"), run("", " m")]
        );
    }

    #[test]
    fn text_is_escaped_and_placed() {
        let picture = svg("ab\x1b[2m<&>\x1b[0m\r\nnext");
        assert!(picture.contains(">&lt;&amp;&gt;</text>"));
        assert!(picture.contains("x=\"33.6\""), "{picture}");
        assert!(!picture.contains('\r') && !picture.contains('\x1b'));
    }
}
