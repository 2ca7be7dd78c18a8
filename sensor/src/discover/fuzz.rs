//! Bodies of the fuzz targets of this room.
//!
//! In: bytes that a fuzzer made up. Out: nothing, or a panic where a law is broken: what
//! is to be probed lies in the image, and no table makes the analysis read without end.

use std::collections::HashSet;
use std::io::{self, Cursor};
use std::ops::Range;
use std::sync::Mutex;

use super::image::ReadAt;
use super::plan::{Exit, Finding};
use super::{examine_bytes, maps};

/// An ELF image.
pub fn image(bytes: &[u8]) {
    examine(bytes);
}

/// A sound image, and where its analysis reads.
#[derive(Debug)]
pub struct Sound {
    bytes: Vec<u8>,
    reads: Vec<Range<usize>>,
}

impl Sound {
    /// `None`: there is nothing to find in it, and so nothing to break.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        let (finding, reads) = examine(&bytes);
        finding.map(|_| Self { bytes, reads })
    }

    /// The image with changes: six bytes of the script say in which read, how far in it,
    /// and what stands there instead.
    pub fn damaged(&self, script: &[u8]) {
        let mut bytes = self.bytes.clone();
        let (changes, _) = script.as_chunks::<6>();
        for &[read, of, at, inside, how, value] in changes {
            let number = usize::from(u16::from_be_bytes([read, of]));
            let place = number.checked_rem(self.reads.len());
            let Some(range) = place.and_then(|place| self.reads.get(place).cloned()) else {
                continue;
            };
            // Large reads are passes over strings and code, where any place is as good.
            let far = usize::from(u16::from_be_bytes([at, inside]));
            let far = far.saturating_mul(range.len() >> 16 | 1);
            let Some(far) = far.checked_rem(range.len()) else {
                continue;
            };
            let wide = if how & 1 == 0 { 1 } else { 8 };
            let places = bytes.get_mut(range.start.saturating_add(far)..);
            for byte in places.into_iter().flatten().take(wide) {
                *byte = if how & 2 == 0 {
                    value
                } else {
                    byte.wrapping_add(value)
                };
            }
        }
        examine(&bytes);
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

/// Bytes that may be read of a small image: tables that overlap are read again and again,
/// but so many times only.
const MOST: usize = 1 << 30;

/// What is found in an image, and where it was read.
fn examine(bytes: &[u8]) -> (Option<Finding>, Vec<Range<usize>>) {
    let watched = Watched {
        bytes,
        reads: Mutex::default(),
    };
    let finding = examine_bytes(&watched).unwrap_or_default();
    let reads = watched.reads.into_inner().unwrap_or_default();
    let total = reads.iter().map(Range::len).fold(0, usize::saturating_add);
    assert!(total <= MOST, "{total} bytes read of {}", bytes.len());
    if let Some(Finding::Hooks(plan)) = &finding {
        let is_inside = |offset: u64| usize::try_from(offset).is_ok_and(|at| at < bytes.len());
        for hook in &plan.hooks {
            assert!(is_inside(hook.entry.offset), "{hook:?}");
            if let Some(Exit::Sites(sites)) = &hook.exit {
                assert!(sites.iter().all(|site| is_inside(site.offset)), "{hook:?}");
            }
        }
    }
    (finding, reads)
}

/// Bytes that remember where they were read.
struct Watched<'a> {
    bytes: &'a [u8],
    reads: Mutex<Vec<Range<usize>>>,
}

impl ReadAt for Watched<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.bytes.read_at(buffer, offset)?;
        if let (Ok(start), Ok(mut reads)) = (usize::try_from(offset), self.reads.lock()) {
            reads.push(start..start.saturating_add(count));
        }
        Ok(count)
    }
}
