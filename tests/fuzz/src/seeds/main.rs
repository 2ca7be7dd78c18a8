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
        fs::write(directory.join(format!("{}.dict", target.name)), words)?;
        println!(
            "{}\t{}\t{count}\t{}",
            target.name, target.longest, target.what
        );
    }
    Ok(())
}
