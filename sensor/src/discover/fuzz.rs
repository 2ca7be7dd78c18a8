//! Bodies of the fuzz targets of this room.
//!
//! In: bytes that a fuzzer made up. Out: nothing, or a panic where a law is broken.

use std::collections::HashSet;
use std::io::Cursor;

use super::plan::{Exit, Finding};
use super::{examine_bytes, maps};

/// An ELF image. Every place that is to be probed lies in it.
pub fn image(bytes: &[u8]) {
    let Ok(Some(Finding::Hooks(plan))) = examine_bytes(&bytes) else {
        return;
    };
    let is_inside = |offset: u64| usize::try_from(offset).is_ok_and(|at| at < bytes.len());
    for hook in &plan.hooks {
        assert!(is_inside(hook.entry.offset), "{hook:?}");
        if let Some(Exit::Sites(sites)) = &hook.exit {
            assert!(sites.iter().all(|site| is_inside(site.offset)), "{hook:?}");
        }
    }
}

/// The text of a `maps` file: each file is told once.
pub fn maps(text: &[u8]) {
    let files = maps::parse(Cursor::new(text)).unwrap_or_default();
    let mut seen = HashSet::new();
    for file in &files {
        assert!(seen.insert((file.device, file.inode)), "{file:?}");
        std::hint::black_box(file.map_files_path(1));
    }
}
