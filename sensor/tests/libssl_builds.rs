//! Sites found in real builds of TLS libraries.
//!
//! `tests/support/fetch-builds.sh DIR` fetches them; `LLMTAP_BUILDS_DIR` names DIR.

use std::fs::File;
use std::path::{Path, PathBuf};

use llmtap::discover::{self, Finding};

fn builds() -> PathBuf {
    std::env::var_os("LLMTAP_BUILDS_DIR")
        .map(PathBuf::from)
        .expect("LLMTAP_BUILDS_DIR is not set")
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}

#[test]
#[ignore = "needs downloaded builds"]
fn table() {
    let root = builds();
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    for path in files {
        let start = std::time::Instant::now();
        match discover::examine(&File::open(&path).unwrap()) {
            Ok(None) => {}
            Ok(Some(Finding::Hooks(plan))) => {
                println!(
                    "== {} {} {:?} {:?}",
                    path.strip_prefix(&root).unwrap().display(),
                    plan.library,
                    plan.version,
                    start.elapsed()
                );
                for (hook, line) in plan.hooks.iter().zip(&plan.evidence) {
                    println!("   {:?} {line}", hook.exit);
                }
                if plan.hooks.len() != plan.evidence.len() {
                    println!("   {:#?}", plan.evidence);
                }
            }
            other => println!("== {} {other:?}", path.display()),
        }
    }
}
