//! One ELF file, read in pieces.
//!
//! In: a file that anyone may have written. Out: its segments, sections, symbols and
//! pointers, as far as they are sound. Must not know: what is looked for in it.
//!
//! Nothing is mapped, because a file that shrinks under a mapping ends the reader, and
//! nothing is read whole, because it may be of any size.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::elf;
use object::endian::LittleEndian as LE;
use object::pod::{self, Pod};

mod scan;

/// Most bytes taken in one piece.
pub const MAX_PIECE: usize = 1 << 20;
const MAX_SEGMENTS: u64 = 1 << 10;
const MAX_SECTIONS: u64 = 1 << 16;
const SCAN_CHUNK: usize = 256 << 10;
/// Most bytes read of one image in all, whatever its tables claim.
const MAX_TOTAL: u64 = 2 << 30;

/// Why an image could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("cannot read the image")]
    Read(#[from] io::Error),
    #[error("malformed ELF image: {0}")]
    Malformed(&'static str),
    #[error("the image asks for more reading than is allowed")]
    TooLarge,
    #[error("ELF image of a kind that is not analysed: {0}")]
    Foreign(&'static str),
}

/// Random access to the bytes of an image.
pub trait ReadAt: Sync {
    /// Fills some of `buffer` from `offset`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

/// The instruction set of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
}

/// Part of the file that is loaded.
#[derive(Clone, Debug)]
pub struct Segment {
    pub address: u64,
    pub offset: u64,
    /// Bytes that the file holds of it.
    pub size: u64,
    pub writable: bool,
    pub executable: bool,
}

#[derive(Clone, Debug)]
pub struct Section {
    pub name: Box<[u8]>,
    pub kind: elf::SectionType,
    pub address: u64,
    pub offset: u64,
    pub size: u64,
    pub link: u32,
}

impl Section {
    /// Where it lies in the file.
    pub const fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.size)
    }
}

/// A 64-bit little-endian executable or shared object of a known machine.
pub struct Image<'a> {
    source: &'a dyn ReadAt,
    /// Bytes that may still be read.
    left: Cell<u64>,
    pub machine: Machine,
    pub segments: Vec<Segment>,
    /// Empty where the section table was removed.
    pub sections: Vec<Section>,
}

impl std::fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("machine", &self.machine)
            .field("segments", &self.segments.len())
            .field("sections", &self.sections.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Image<'a> {
    /// `None`: this is no ELF image.
    pub fn parse(source: &'a dyn ReadAt) -> Result<Option<Self>, ImageError> {
        let mut image = Self {
            source,
            left: Cell::new(MAX_TOTAL),
            machine: Machine::X86_64,
            segments: Vec::new(),
            sections: Vec::new(),
        };
        let head = image.read_up_to(0..size_of::<elf::FileHeader64<LE>>() as u64)?;
        if !head.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let header = cast::<elf::FileHeader64<LE>>(&head, "file header")?;
        image.machine = machine(header)?;
        image.segments = image.read_segments(header)?;
        image.sections = image.read_sections(header)?;
        Ok(Some(image))
    }

    fn read_segments(&self, header: &elf::FileHeader64<LE>) -> Result<Vec<Segment>, ImageError> {
        let count = u64::from(header.e_phnum.get(LE));
        if count > MAX_SEGMENTS {
            return Err(ImageError::Malformed("too many program headers"));
        }
        let mut segments = Vec::new();
        self.entries(
            header.e_phoff.get(LE),
            count,
            |entry: &elf::ProgramHeader64<LE>| {
                if entry.p_type.get(LE) == elf::PT_LOAD {
                    let flags = entry.p_flags.get(LE);
                    segments.push(Segment {
                        address: entry.p_vaddr.get(LE),
                        offset: entry.p_offset.get(LE),
                        size: entry.p_filesz.get(LE),
                        writable: flags.contains(elf::PF_W),
                        executable: flags.contains(elf::PF_X),
                    });
                }
            },
        )?;
        Ok(segments)
    }

    fn read_sections(&self, header: &elf::FileHeader64<LE>) -> Result<Vec<Section>, ImageError> {
        let (offset, mut count) = (header.e_shoff.get(LE), u64::from(header.e_shnum.get(LE)));
        let mut names = u32::from(header.e_shstrndx.get(LE).0);
        if offset == 0 {
            return Ok(Vec::new());
        }
        let mut raw: Vec<elf::SectionHeader64<LE>> = Vec::new();
        self.entries(offset, 1, |first: &elf::SectionHeader64<LE>| {
            // Counts that do not fit the file header stand in the first section.
            if count == 0 {
                count = first.sh_size.get(LE);
            }
            if names == u32::from(elf::SHN_XINDEX.0) {
                names = first.sh_link.get(LE);
            }
        })?;
        if count > MAX_SECTIONS {
            return Err(ImageError::Malformed("too many sections"));
        }
        self.entries(offset, count, |entry| raw.push(*entry))?;
        let names = match raw.get(names as usize) {
            Some(table) => self.bytes(table.sh_offset.get(LE), to_usize(table.sh_size.get(LE)))?,
            None => Vec::new(),
        };
        Ok(raw.iter().map(|entry| section(entry, &names)).collect())
    }

    /// Calls `each` with the entries of a table; ends early where the file does.
    pub fn table<T: Pod>(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(&T),
    ) -> Result<(), ImageError> {
        let step = (SCAN_CHUNK as u64).next_multiple_of((size_of::<T>() as u64).max(1));
        let mut at = range.start;
        while at < range.end {
            let next = at.saturating_add(step).min(range.end);
            let piece = self.read_up_to(at..next)?;
            let whole = piece.len().checked_div(size_of::<T>()).unwrap_or(0);
            let entries = pod::slice_from_bytes::<T>(&piece, whole);
            entries
                .map_or(&[][..], |(entries, _)| entries)
                .iter()
                .for_each(&mut each);
            if (piece.len() as u64) < next.saturating_sub(at) {
                break;
            }
            at = next;
        }
        Ok(())
    }

    fn entries<T: Pod>(
        &self,
        offset: u64,
        count: u64,
        each: impl FnMut(&T),
    ) -> Result<(), ImageError> {
        let size = count.saturating_mul(size_of::<T>() as u64);
        self.table(offset..offset.saturating_add(size), each)
    }

    /// Fewer bytes than asked only at the end of the file.
    fn read_up_to(&self, range: Range<u64>) -> Result<Vec<u8>, ImageError> {
        let count = range.end.saturating_sub(range.start);
        self.left.set(
            self.left
                .get()
                .checked_sub(count)
                .ok_or(ImageError::TooLarge)?,
        );
        let mut buffer = vec![0; to_usize(count)];
        let mut filled = 0_usize;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = range.start.saturating_add(filled as u64);
            match self.source.read_at(rest, at) {
                Ok(0) => break,
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(filled);
        Ok(buffer)
    }

    /// Up to `count` bytes ([`MAX_PIECE`] at most) from an offset of the file.
    pub fn bytes(&self, offset: u64, count: usize) -> Result<Vec<u8>, ImageError> {
        let end = offset.saturating_add(count.min(MAX_PIECE) as u64);
        self.read_up_to(offset..end)
    }

    /// Up to `count` bytes that are loaded at `address`, from one segment.
    pub fn loaded(&self, address: u64, count: usize) -> Result<Vec<u8>, ImageError> {
        let Some((segment, offset)) = self.locate(address) else {
            return Ok(Vec::new());
        };
        let left = segment
            .offset
            .saturating_add(segment.size)
            .saturating_sub(offset);
        self.bytes(offset, count.min(to_usize(left)))
    }

    /// Up to `count` bytes of code at `address`; none where nothing executable lies.
    pub fn code(&self, address: u64, count: usize) -> Result<Vec<u8>, ImageError> {
        match self.code_offset(address) {
            Some(_) => self.loaded(address, count),
            None => Ok(Vec::new()),
        }
    }

    /// Where in the file the code of `address` lies.
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        let (segment, offset) = self.locate(address)?;
        segment.executable.then_some(offset)
    }

    fn locate(&self, address: u64) -> Option<(&Segment, u64)> {
        self.segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.address)?;
            (inside < segment.size).then_some(())?;
            Some((segment, segment.offset.checked_add(inside)?))
        })
    }

    /// The address that an offset of the file is loaded at.
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let inside = offset.checked_sub(segment.offset)?;
            (inside < segment.size).then_some(())?;
            segment.address.checked_add(inside)
        })
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| *section.name == *name.as_bytes())
    }
}

fn machine(header: &elf::FileHeader64<LE>) -> Result<Machine, ImageError> {
    if header.e_ident.class != elf::ELFCLASS64 {
        return Err(ImageError::Foreign("32-bit"));
    }
    if header.e_ident.data != elf::ELFDATA2LSB {
        return Err(ImageError::Foreign("big-endian"));
    }
    let entry_sizes_match = usize::from(header.e_phentsize.get(LE))
        == size_of::<elf::ProgramHeader64<LE>>()
        && (header.e_shoff.get(LE) == 0
            || usize::from(header.e_shentsize.get(LE)) == size_of::<elf::SectionHeader64<LE>>());
    if !entry_sizes_match {
        return Err(ImageError::Malformed("size of a header entry"));
    }
    match header.e_machine.get(LE) {
        elf::EM_X86_64 => Ok(Machine::X86_64),
        elf::EM_AARCH64 => Ok(Machine::Aarch64),
        _ => Err(ImageError::Foreign("another machine")),
    }
}

fn section(entry: &elf::SectionHeader64<LE>, names: &[u8]) -> Section {
    const LONGEST: usize = 64;
    let name = names
        .get(entry.sh_name.get(LE) as usize..)
        .unwrap_or_default();
    let name = name.get(..LONGEST).unwrap_or(name);
    let end = memchr::memchr(0, name).unwrap_or(name.len());
    Section {
        name: name.get(..end).unwrap_or_default().into(),
        kind: entry.sh_type.get(LE),
        address: entry.sh_addr.get(LE),
        offset: entry.sh_offset.get(LE),
        size: entry.sh_size.get(LE),
        link: entry.sh_link.get(LE),
    }
}

fn cast<'b, T: Pod>(bytes: &'b [u8], what: &'static str) -> Result<&'b T, ImageError> {
    let (value, _) = pod::from_bytes(bytes).map_err(|()| ImageError::Malformed(what))?;
    Ok(value)
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::examine_bytes;
    use super::super::symbols::{Symbols, pointers};
    use super::super::synthetic::{BASE, Builder};
    use super::*;

    fn sample() -> Vec<u8> {
        let mut builder = Builder::new(Machine::X86_64);
        builder.function("SSL_read", b"\x55\xc3");
        let write = builder.function("SSL_write", b"\x55\xc3");
        let table = builder.place(&[0; 16]);
        builder.relocate(table, write);
        builder.constant(b"OpenSSL 1.1.1w  11 Sep 2023\0");
        builder.build()
    }

    #[test]
    fn addresses_and_offsets() {
        let bytes = sample();
        let source = bytes.as_slice();
        let image = Image::parse(&source).unwrap().unwrap();
        assert_eq!(image.machine, Machine::X86_64);
        assert_eq!(image.code_offset(BASE + 0x80), Some(0x80));
        assert_eq!(image.address_of(0x80), Some(BASE + 0x80));
        assert_eq!(image.code_offset(BASE - 1), None);
        assert_eq!(image.code_offset(BASE + bytes.len() as u64), None);
        assert_eq!(
            image
                .code(BASE + bytes.len() as u64 - 1, 100)
                .unwrap()
                .len(),
            1
        );
        let symbols = Symbols::find(&image, &["SSL_write", "SSL_free"]).unwrap();
        let write = symbols.only("SSL_write").unwrap();
        assert_eq!((write.address, write.size), (BASE + 0x90, 2));
        assert!(!symbols.has("SSL_free") && !symbols.has("SSL_read"));
        assert_eq!(
            pointers(&image, &[BASE + 0xa0, 1]).unwrap(),
            [Some(BASE + 0x90), None]
        );
    }

    #[test]
    fn what_is_no_image_is_none_and_what_is_foreign_says_so() {
        assert!(Image::parse(&&b""[..]).unwrap().is_none());
        assert!(Image::parse(&&b"#!/bin/sh\n"[..]).unwrap().is_none());
        assert!(matches!(
            Image::parse(&&b"\x7fELF\x02"[..]),
            Err(ImageError::Malformed(_))
        ));
        let mut bytes = sample();
        bytes[4] = 1;
        assert!(matches!(
            Image::parse(&bytes.as_slice()),
            Err(ImageError::Foreign("32-bit"))
        ));
    }

    #[test]
    fn a_needle_across_two_chunks_is_found_once() {
        let mut builder = Builder::new(Machine::X86_64);
        let needle = b"/ssl/ssl_lib.cc\0";
        for before in [SCAN_CHUNK - 7, SCAN_CHUNK - 16, 3] {
            builder.constant(&vec![b'.'; before]);
            builder.constant(needle);
        }
        let bytes = builder.build();
        let source = bytes.as_slice();
        let image = Image::parse(&source).unwrap().unwrap();
        let mut places = Vec::new();
        image
            .find_constants(&[needle, b"cc\0"], |which, at| places.push((which, at)))
            .unwrap();
        let start = image.section(".rodata").unwrap().offset;
        let expected = [SCAN_CHUNK - 7, 2 * SCAN_CHUNK - 7, 2 * SCAN_CHUNK + 12];
        let whole: Vec<u64> = expected.iter().map(|at| start + *at as u64).collect();
        let tails: Vec<u64> = whole.iter().map(|at| at + 13).collect();
        let of = |which| {
            places
                .iter()
                .filter(|p| p.0 == which)
                .map(|p| p.1)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(0), whole);
        assert_eq!(of(1), tails);
    }

    /// Claims to hold a file of 2^63 zeros behind a sound image.
    struct Endless(Vec<u8>);

    impl ReadAt for Endless {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let count = ReadAt::read_at(&self.0.as_slice(), buffer, offset)?;
            buffer[count..].fill(0);
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_table_without_end_is_given_up() {
        let mut bytes = sample();
        let sections = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
        // The size of .rodata, the sixth section.
        bytes[sections + 5 * 64 + 32..][..8].copy_from_slice(&(1_u64 << 62).to_le_bytes());
        let endless = Endless(bytes);
        let image = Image::parse(&endless).unwrap().unwrap();
        image.left.set(16 << 20);
        let result = image.find_constants(&[b"none"], |_, _| {});
        assert!(matches!(result, Err(ImageError::TooLarge)), "{result:?}");
    }

    #[test]
    fn a_damaged_image_never_panics() {
        let bytes = sample();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let _ = examine_bytes(&damaged.as_slice());
            }
            let _ = examine_bytes(&&bytes[..at]);
        }
    }
}
