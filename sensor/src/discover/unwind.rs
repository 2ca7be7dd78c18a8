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
    /// the common part, beginning (relative, or where the code has a fixed place, absolute),
    /// size.
    fn end(&self, start: u64, entry: u64) -> Result<Option<u64>, ImageError> {
        let bytes = self.image.loaded(entry, 16)?;
        // It leads back to the same place only if it is encoded as expected.
        let begins = word(&bytes, 8).is_some_and(|word| {
            relative(entry.wrapping_add(8), word) == start || u64::from(word) == start
        });
        let size = word(&bytes, 12).filter(|_| begins);
        Ok(size.and_then(|size| start.checked_add(size.into())))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn relative(base: u64, distance: u32) -> u64 {
    base.wrapping_add_signed(distance.cast_signed().into())
}

#[cfg(test)]
mod tests {
    use super::super::image::Machine;
    use super::super::synthetic::{BASE, Builder};
    use super::*;

    /// An image with functions of 16 and 32 bytes and a hole between them, and where these
    /// begin; `damage` may change a byte of the table.
    fn sample(damage: Option<usize>) -> (Vec<u8>, [u64; 2]) {
        sample_of(damage, false)
    }

    /// With beginnings that are absolute, or not.
    fn sample_of(damage: Option<usize>, absolute: bool) -> (Vec<u8>, [u64; 2]) {
        let mut builder = Builder::new(Machine::X86_64);
        let first = builder.place(&[0x90; 16]);
        builder.place(&[0xcc; 16]);
        let second = builder.place(&[0x90; 32]);
        let functions = [(first, 16), (second, 32)];
        let mut header = builder.unwinding(&functions, absolute);
        if let Some(at) = damage {
            header[at] ^= 0xff;
        }
        builder.unwind_table(&header);
        (builder.build(), [first, second])
    }

    fn around(bytes: &[u8], address: u64) -> Option<Range<u64>> {
        let image = Image::parse(&bytes).unwrap().unwrap();
        let unwind = Unwind::open(&image).unwrap()?;
        unwind.around(address).unwrap()
    }

    #[test]
    fn tells_the_function_around_an_address() {
        let (bytes, [first, second]) = sample(None);
        assert_eq!(around(&bytes, first), Some(first..first + 16));
        assert_eq!(around(&bytes, first + 15), Some(first..first + 16));
        assert_eq!(around(&bytes, second + 31), Some(second..second + 32));
        for nowhere in [BASE, first - 1, first + 16, second + 32, u64::MAX] {
            assert_eq!(around(&bytes, nowhere), None, "{nowhere:#x}");
        }
    }

    #[test]
    fn beginnings_may_be_absolute() {
        let (bytes, [first, second]) = sample_of(None, true);
        assert_eq!(around(&bytes, first + 15), Some(first..first + 16));
        assert_eq!(around(&bytes, second + 31), Some(second..second + 32));
    }

    #[test]
    fn a_damaged_table_is_none() {
        for at in 0..28 {
            let (bytes, [first, second]) = sample(Some(at));
            for address in [first, first + 20, second + 31] {
                if let Some(extent) = around(&bytes, address) {
                    assert!(extent.contains(&address), "{at}");
                }
            }
        }
    }
}
