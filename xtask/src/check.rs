//! Layers: which room of the sensor may import which, and how long files are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::report::Report;
use crate::shell;

/// A room of the sensor: the other rooms that it may name, and words of the outside
/// world that it must not.
struct Room {
    name: &'static str,
    may_import: &'static [&'static str],
    must_not_name: &'static [&'static str],
}

/// What only the edges of the program may touch: files, threads, clocks, the network.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant",
    "TcpStream",
    "UdpSocket",
    "tokio",
    "anyhow",
    "aya",
    "aya_obj",
];

const NO_KERNEL: &[&str] = &["anyhow", "aya", "aya_obj"];

/// In the order of the flow. A room that is not here may not exist.
const ROOMS: &[Room] = &[
    room("time", &[], OUTSIDE),
    room("discover", &[], NO_KERNEL),
    room("event", &["time"], OUTSIDE),
    room("probe", &["discover", "event", "time"], &["anyhow"]),
    // It lets no credential into a file, whatever the framing.
    room(
        "capture",
        &["http", "jsonrpc", "content", "stream", "event", "time"],
        NO_KERNEL,
    ),
    room("stream", &["event", "time"], OUTSIDE),
    room("http", &["stream", "event", "time"], OUTSIDE),
    room("jsonrpc", &["stream", "event", "time"], OUTSIDE),
    room("content", &["stream", "event", "time"], OUTSIDE),
    room("llm", &["content", "http", "event", "time"], OUTSIDE),
    room(
        "engine",
        &[
            "llm", "content", "jsonrpc", "http", "stream", "event", "time",
        ],
        OUTSIDE,
    ),
    room("enrich", &["engine", "llm", "event", "time"], NO_KERNEL),
    room("evaluate", &["enrich", "llm", "event", "time"], OUTSIDE),
    room(
        "redact",
        &["enrich", "engine", "llm", "event", "time"],
        OUTSIDE,
    ),
    room(
        "export",
        &["redact", "enrich", "llm", "event", "time"],
        NO_KERNEL,
    ),
    room("store", &["redact", "time"], NO_KERNEL),
];

const fn room(
    name: &'static str,
    may_import: &'static [&'static str],
    must_not_name: &'static [&'static str],
) -> Room {
    Room {
        name,
        may_import,
        must_not_name,
    }
}

/// These wire rooms together and may know all of them.
const WIRING: [&str; 3] = ["cmd", "main", "lib"];

const LONG_FILE: usize = 600;

/// `cargo xtask check`.
pub fn run() -> Result<ExitCode> {
    let report = layers()?;
    println!("{report}");
    Ok(if report.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One test: every file of the sensor keeps to its room.
pub fn layers() -> Result<Report> {
    let source = shell::root().join("sensor/src");
    let mut report = Report::default();
    let mut files = Vec::new();
    for file in rust_files(&source)? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        files.push((file, text));
    }
    let of_tests: Vec<PathBuf> = files
        .iter()
        .flat_map(|(file, text)| test_modules(file, text))
        .collect();
    for (file, text) in &files {
        if of_tests
            .iter()
            .any(|module| file.starts_with(module) || *file == module.with_extension("rs"))
        {
            continue;
        }
        let inside = file.strip_prefix(&source)?;
        for breach in breaches(&room_of(inside), &code(text)) {
            report
                .failed
                .push(format!("layers: sensor/src/{}: {breach}", inside.display()));
        }
    }
    if report.failed.is_empty() {
        report.passed = 1;
    }
    long_files()?;
    Ok(report)
}

/// What `code`, a file of `room`, names and may not.
fn breaches(room: &str, code: &str) -> Vec<String> {
    if WIRING.contains(&room) {
        return Vec::new();
    }
    let Some(rules) = ROOMS.iter().find(|r| r.name == room) else {
        return vec![format!("`{room}` is no room that xtask/src/check.rs knows")];
    };
    let mut found: Vec<String> = imports(code)
        .into_iter()
        .filter(|name| *name != room && is_room(name) && !rules.may_import.contains(name))
        .map(|name| format!("`{room}` may not know `{name}`"))
        .collect();
    found.extend(
        rules
            .must_not_name
            .iter()
            .filter(|word| names(code, word))
            .map(|word| format!("`{room}` may not use `{word}`")),
    );
    found.sort();
    found.dedup();
    found
}

fn is_room(name: &str) -> bool {
    WIRING.contains(&name) || ROOMS.iter().any(|r| r.name == name)
}

/// The first segments of all paths that begin with `crate::`.
fn imports(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_segments(group)),
            None => found.push(identifier(rest)),
        }
    }
    found
}

/// The first segment of each item of a `use` group, whose opening brace is past.
fn first_segments(group: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut depth = 0;
    let mut begins = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                found.push(identifier(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    found
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    &text[..end]
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether `word` stands in `code` as a whole word.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The text without comments and without its tests, which stand last in a file.
fn code(text: &str) -> String {
    let mut lines = Vec::new();
    let mut after_cfg_test = false;
    for line in text.lines() {
        let bare = line.trim_start();
        if after_cfg_test && bare.starts_with("mod ") && bare.ends_with('{') {
            break;
        }
        after_cfg_test = bare.starts_with("#[cfg(test)]")
            || (after_cfg_test && (bare.starts_with("#[") || bare.starts_with(')')));
        if !bare.starts_with("//") {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// The places of modules that a file declares for its tests alone, without extension.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match file.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => file.parent().unwrap_or(file).to_owned(),
        _ => file.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(test)]")
        .filter_map(|pair| pair[1].strip_suffix(';')?.rsplit(' ').next())
        .map(|name| folder.join(name))
        .collect()
}

/// The room of a file, given its path below `sensor/src`.
fn room_of(inside: &Path) -> String {
    let first = inside.iter().next().unwrap_or_default();
    Path::new(first)
        .with_extension("")
        .to_string_lossy()
        .into_owned()
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    if found.is_empty() {
        bail!("no Rust files in {}", dir.display());
    }
    Ok(found)
}

/// Names files that may hold a second room.
fn long_files() -> Result<()> {
    let root = shell::root();
    for part in [
        "sensor/src",
        "sensor-common/src",
        "sensor-ebpf/src",
        "xtask/src",
    ] {
        for file in rust_files(&root.join(part))? {
            let lines = code(&fs::read_to_string(&file)?).lines().count();
            if lines > LONG_FILE {
                let inside = file.strip_prefix(root)?;
                println!(
                    "    long: {} has {lines} lines without tests",
                    inside.display()
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_may_not_reach_downstream() {
        let code = "use crate::{event::{Event, Gap}, llm};\nfn f(_: crate::http::Head) {}";
        assert_eq!(
            breaches("stream", code),
            [
                "`stream` may not know `http`",
                "`stream` may not know `llm`"
            ]
        );
        assert_eq!(breaches("engine", code), [""; 0]);
    }

    #[test]
    fn a_room_may_not_reach_outside() {
        assert_eq!(
            breaches("http", "let now = std::time::Instant::now();"),
            ["`http` may not use `Instant`"]
        );
        assert_eq!(breaches("http", "enum InstantReply {}"), [""; 0]);
        assert_eq!(breaches("discover", "use std::fs::File;"), [""; 0]);
    }

    #[test]
    fn comments_and_tests_are_free() {
        let text =
            "//! [`crate::cmd`]\nuse crate::time;\n#[cfg(test)]\nmod tests {\nuse crate::cmd;\n}";
        assert_eq!(breaches("event", &code(text)), [""; 0]);
    }

    #[test]
    fn modules_of_tests_are_found_where_they_lie() {
        let text = "#[cfg(test)]\nmod corpus;\nmod head;\n";
        let found = |file: &str| test_modules(Path::new(file), text);
        assert_eq!(found("a/http/mod.rs"), [Path::new("a/http/corpus")]);
        assert_eq!(found("a/http/h1.rs"), [Path::new("a/http/h1/corpus")]);
    }

    #[test]
    fn an_unknown_room_is_a_breach() {
        assert_eq!(breaches("attic", "").len(), 1);
    }

    #[test]
    fn the_room_is_the_first_part_of_the_path() {
        assert_eq!(room_of(Path::new("http/h1/body.rs")), "http");
        assert_eq!(room_of(Path::new("time.rs")), "time");
    }
}
