//! Going through the bytes of an image, a piece at a time.
//!
//! In: ranges of the file. Out: where something stands in them. Must not know: what it
//! means.

use std::ops::Range;

use memchr::memmem::Finder;

use super::{Image, ImageError, SCAN_CHUNK};

impl Image<'_> {
    /// Parts of the file that hold constants: `.rodata` where it is named, else what is
    /// loaded neither writable nor executable.
    pub fn constants(&self) -> Vec<Range<u64>> {
        if let Some(section) = self.section(".rodata") {
            return vec![section.range()];
        }
        self.segments
            .iter()
            .filter(|segment| !segment.writable && !segment.executable)
            .map(|segment| segment.offset..segment.offset.saturating_add(segment.size))
            .collect()
    }

    /// Parts of the file that hold code, with the address of each.
    pub fn texts(&self) -> Vec<(Range<u64>, u64)> {
        if let Some(text) = self.section(".text")
            && self.code_offset(text.address) == Some(text.offset)
        {
            return vec![(text.range(), text.address)];
        }
        let executable = self.segments.iter().filter(|segment| segment.executable);
        executable
            .map(|s| (s.offset..s.offset.saturating_add(s.size), s.address))
            .collect()
    }

    /// Calls `each` with pieces that cover the range: where the piece lies, its bytes, and
    /// how many of these ended the piece before. `overlap` are so many, if there are.
    pub fn pieces(
        &self,
        range: Range<u64>,
        overlap: usize,
        mut each: impl FnMut(u64, &[u8], usize),
    ) -> Result<(), ImageError> {
        let mut window: Vec<u8> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let piece = at..at.saturating_add(SCAN_CHUNK as u64).min(range.end);
            let fresh = self.read_up_to(piece.clone())?;
            let carried = window.len();
            window.extend_from_slice(&fresh);
            each(at.saturating_sub(carried as u64), &window, carried);
            if (fresh.len() as u64) < piece.end.saturating_sub(piece.start) {
                break;
            }
            let keep = window.len().saturating_sub(overlap);
            window.drain(..keep);
            at = piece.end;
        }
        Ok(())
    }

    /// Calls `hit` with the index of the needle and its offset in the file, for each
    /// place of `range` where one stands.
    pub fn scan(
        &self,
        range: Range<u64>,
        needles: &[Finder<'_>],
        mut hit: impl FnMut(usize, u64),
    ) -> Result<(), ImageError> {
        let longest = needles.iter().map(|n| n.needle().len()).max().unwrap_or(0);
        self.pieces(range, longest.saturating_sub(1), |base, bytes, carried| {
            for (index, needle) in needles.iter().enumerate() {
                // What ends inside the carried bytes was reported with them.
                let first = carried
                    .saturating_add(1)
                    .saturating_sub(needle.needle().len());
                for place in needle.find_iter(bytes.get(first..).unwrap_or_default()) {
                    hit(
                        index,
                        base.saturating_add(first.saturating_add(place) as u64),
                    );
                }
            }
        })
    }

    /// The address at which the text (up to a zero byte) begins that `offset` of the file
    /// lies in.
    pub fn beginning_of_text(&self, offset: u64) -> Result<Option<u64>, ImageError> {
        const LONGEST: u64 = 300;
        let from = offset.saturating_sub(LONGEST);
        let count = usize::try_from(offset.saturating_sub(from)).unwrap_or(0);
        let before = self.bytes(from, count)?;
        let start = memchr::memrchr(0, &before).map_or(0, |nul| nul.saturating_add(1));
        Ok(self.address_of(from.saturating_add(start as u64)))
    }

    /// [`Self::scan`] of all constants.
    pub fn find_constants(
        &self,
        needles: &[&[u8]],
        mut hit: impl FnMut(usize, u64),
    ) -> Result<(), ImageError> {
        let finders: Vec<Finder<'_>> = needles.iter().map(Finder::new).collect();
        self.constants()
            .into_iter()
            .try_for_each(|range| self.scan(range, &finders, &mut hit))
    }
}
