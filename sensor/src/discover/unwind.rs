//! Where functions begin and end, as the tables for unwinding the stack tell.
//!
//! In: an [`Image`]. Out: the extent of the function around an address. Must not know:
//! what the function does.
//!
//! `.eh_frame_hdr` is sorted by where functions begin (Linux Standard Base, 10.6.2), so a
//! few reads find an entry; the entry in `.eh_frame` tells how long the function is. Other
//! encodings than the one that all linkers write are taken for no table.

use std::ops::Range;

use super::image::{Image, ImageError};

/// Version 1; the pointer and the entries relative, in four bytes.
const HEADER: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
/// Bytes before the first entry, and of each.
const FIRST: u64 = 12;
const ENTRY: u64 = 8;

/// The table of an image.
#[derive(Debug)]
pub struct Unwind<'i> {
    image: &'i Image<'i>,
    /// Where the table lies in the file, and at which address.
    offset: u64,
    address: u64,
    count: u64,
}

impl<'i> Unwind<'i> {
    /// `None`: the image has none, or one of another form.
    pub fn open(image: &'i Image<'i>) -> Result<Option<Self>, ImageError> {
        let Some(section) = image.section(".eh_frame_hdr") else {
            return Ok(None);
        };
        let head = image.bytes(section.offset, FIRST as usize)?;
        let count = word(&head, 8).filter(|_| head.starts_with(&HEADER));
        Ok(count.map(|count| Self {
            image,
            offset: section.offset.saturating_add(FIRST),
            address: section.address,
            count: count.into(),
        }))
    }

    /// From the first byte of the function that holds `address` to the first behind it.
    pub fn around(&self, address: u64) -> Result<Option<Range<u64>>, ImageError> {
        // The last entry that begins at or before the address.
        let (mut low, mut high) = (0, self.count);
        let mut last = None;
        while low < high {
            let middle = low.midpoint(high);
            let Some((start, entry)) = self.entry(middle)? else {
                return Ok(None);
            };
            if start <= address {
                last = Some((start, entry));
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        let Some((start, entry)) = last else {
            return Ok(None);
        };
        let end = self.end(start, entry)?;
        Ok(end.filter(|end| address < *end).map(|end| start..end))
    }

    fn entry(&self, index: u64) -> Result<Option<(u64, u64)>, ImageError> {
        let at = self.offset.saturating_add(index.saturating_mul(ENTRY));
        let bytes = self.image.bytes(at, ENTRY as usize)?;
        let pointer = |at| Some(relative(self.address, word(&bytes, at)?));
        Ok(pointer(0).zip(pointer(4)))
    }

    /// Where the function ends that begins at `start`, by its entry: length, distance to
    /// the common part, beginning, size.
    fn end(&self, start: u64, entry: u64) -> Result<Option<u64>, ImageError> {
        let bytes = self.image.loaded(entry, 16)?;
        let begins = word(&bytes, 8).map(|distance| relative(entry.wrapping_add(8), distance));
        // It leads back to the same place only if it is encoded as expected.
        let size = word(&bytes, 12).filter(|_| begins == Some(start));
        Ok(size.and_then(|size| start.checked_add(size.into())))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn relative(base: u64, distance: u32) -> u64 {
    base.wrapping_add_signed(distance.cast_signed().into())
}
