//! What is known of the TLS in one process, for people to read.
//!
//! In: a process id. Out: each mapped file that holds TLS, or that could not be looked
//! at, and why. Must not know: whether anything is attached.

use std::io;

use super::cache::Cache;
use super::image::ImageError;
use super::maps::{self, MappedFile};
use super::plan::Finding;

/// What one mapped file of a process comes to.
#[derive(Debug)]
pub struct FileFacts {
    pub file: MappedFile,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    Found(Finding),
    /// Not looked at, or not to the end.
    Failed(ImageError),
}

/// The files of process `pid` that hold TLS or could not be looked at; the rest, which
/// is most, is left out.
pub fn tls_files(pid: u32, cache: &mut Cache) -> io::Result<Vec<FileFacts>> {
    let mut facts = Vec::new();
    for file in maps::mapped_files(pid)? {
        let examined = match file.open(pid) {
            Ok(Some(open)) => cache.examine(&open),
            Ok(None) => Ok(None),
            Err(error) => Err(error.into()),
        };
        let outcome = match examined {
            Ok(Some(finding)) => Outcome::Found(finding),
            Ok(None) => continue,
            Err(error) => Outcome::Failed(error),
        };
        facts.push(FileFacts { file, outcome });
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Above the largest pid that the kernel gives out.
        assert!(tls_files(1 << 30, &mut Cache::in_memory()).is_err());
    }
}
