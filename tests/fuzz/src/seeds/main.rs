//! Writes what each fuzz target starts from: `seeds DIRECTORY` makes a folder for each.
//!
//! In: `tests/corpus` and, where it lies beside the checkout, `../shared/corpus`. Out:
//! files, and a line for each target with its name, its longest input, the number of its
//! seeds, and what it reads.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use llmtap_fuzz::TARGETS;

mod corpus;
mod script;
mod seed;
#[allow(dead_code, reason = "seeds need fewer parts than the tests there")]
#[path = "../../../../sensor/src/discover/synthetic.rs"]
mod synthetic;

// Where the module above looks for it.
use llmtap::discover::image;

/// Seeds of one target at most; libFuzzer runs them all before anything else.
const MOST: usize = 400;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: seeds DIRECTORY");
        return ExitCode::from(2);
    };
    match write(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seeds: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    images(&directory.join("images"))?;
    let corpus = corpus::Corpus::load();
    for target in TARGETS {
        let folder = directory.join(target.name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let seeds: BTreeSet<Vec<u8>> = seed::of(target.name, &corpus)
            .into_iter()
            .filter(|seed| seed.len() <= target.longest)
            .collect();
        // Spread over all of them, where there are too many.
        let step = seeds.len().div_ceil(MOST).max(1);
        let mut count = 0;
        for seed in seeds.iter().step_by(step) {
            fs::write(folder.join(format!("{count:04}")), seed)?;
            count += 1;
        }
        let words = corpus.words(target.name);
        if !words.is_empty() {
            fs::write(directory.join(format!("{}.dict", target.name)), words)?;
        }
        println!(
            "{}\t{}\t{count}\t{}",
            target.name, target.longest, target.what
        );
    }
    Ok(())
}

/// Copies images of this machine that are small enough to be analysed often.
fn images(folder: &Path) -> io::Result<()> {
    const LARGEST: u64 = 4 << 20;
    fs::create_dir_all(folder)?;
    let libraries = llmtap::discover::maps::usual_libraries();
    let others = ["libgnutls.so.30", "libssl3.so", "libnspr4.so"];
    let others = others.map(|name| Path::new("/usr/lib/x86_64-linux-gnu").join(name));
    for file in libraries.into_iter().chain(others) {
        let (Some(name), Ok(facts)) = (file.file_name(), fs::metadata(&file)) else {
            continue;
        };
        if facts.is_file() && facts.len() <= LARGEST {
            fs::copy(&file, folder.join(name))?;
        }
    }
    Ok(())
}
