//! Finds the few symbols and pointers that are of interest in an image of any size.
//!
//! In: an [`Image`] and names. Out: their addresses. Must not know: what the names mean.
//!
//! The string table is searched for the names first, so that an image without them
//! costs one pass over its strings and no symbol is ever built.

use std::collections::HashMap;

use memchr::memmem::Finder;
use object::elf;
use object::endian::LittleEndian as LE;

use super::image::{Image, ImageError, Machine, Section};
use super::site::Code;

/// Places in one string table where one name stands (names share their tails).
const MAX_PLACES: usize = 64;
const MAX_NAMESAKES: usize = 8;
/// Most code of one function that is read, and of one whose size is not told.
const MAX_CODE: usize = 4096;
const UNSIZED: usize = 1024;

/// A function that the image itself defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub address: u64,
    /// In bytes; 0 where the table does not say.
    pub size: u64,
}

impl Symbol {
    /// The function's code, as much as is of use.
    pub fn code(self, image: &Image<'_>) -> Result<Vec<u8>, ImageError> {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        image.code(
            self.address,
            if size == 0 {
                UNSIZED
            } else {
                size.min(MAX_CODE)
            },
        )
    }

    pub fn as_code<'c>(self, image: &Image<'_>, bytes: &'c [u8]) -> Code<'c> {
        Code {
            machine: image.machine,
            address: self.address,
            bytes,
            whole: self.size != 0 && self.size == bytes.len() as u64,
        }
    }
}

/// Those of the wanted functions that an image defines.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    found: Vec<(&'static str, Symbol)>,
}

impl Symbols {
    /// Looks in `.dynsym` and `.symtab`, exported and local alike.
    pub fn find(image: &Image<'_>, names: &[&'static str]) -> Result<Self, ImageError> {
        let mut symbols = Self::default();
        for table in tables(image) {
            symbols.find_in(image, table, names)?;
        }
        Ok(symbols)
    }

    fn find_in(
        &mut self,
        image: &Image<'_>,
        table: &Section,
        names: &[&'static str],
    ) -> Result<(), ImageError> {
        let places = name_places(image, table, names)?;
        if places.is_empty() {
            return Ok(());
        }
        each_function(image, table, |name, symbol| {
            let Some(name) = places.get(&name).and_then(|&index| names.get(index)) else {
                return;
            };
            let namesakes = self.all(name).count();
            if namesakes < MAX_NAMESAKES && !self.all(name).any(|s| s.address == symbol.address) {
                self.found.push((name, symbol));
            }
        })
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Every function of that name: an image may hold two copies of a library.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Symbol> + 's {
        self.found
            .iter()
            .filter(move |(found, _)| *found == name)
            .map(|(_, symbol)| *symbol)
    }

    /// The function of that name, where there is only one.
    pub fn only(&self, name: &str) -> Option<Symbol> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }
}

/// The names that the image's tables give to the function at `address`.
pub fn names_of(image: &Image<'_>, address: u64) -> Result<Vec<String>, ImageError> {
    const LONGEST: usize = 128;
    let mut names = Vec::new();
    for table in tables(image) {
        let Some(strings) = strings_of(image, table) else {
            continue;
        };
        let mut places = Vec::new();
        each_function(image, table, |name, symbol| {
            if symbol.address == address && places.len() < MAX_NAMESAKES {
                places.push(name);
            }
        })?;
        for place in places {
            let bytes = image.bytes(strings.offset.saturating_add(place.into()), LONGEST)?;
            let end = memchr::memchr(0, &bytes).unwrap_or(bytes.len());
            let name = bytes.get(..end).unwrap_or_default();
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(names)
}

/// Whether the code calls or jumps to one of these functions, directly or by way of the
/// linkage table.
pub fn leads_to(image: &Image<'_>, code: &Code<'_>, functions: &[u64]) -> Result<bool, ImageError> {
    const STUB: usize = 32;
    for target in code.leaves_to() {
        if functions.contains(&target) {
            return Ok(true);
        }
        let bytes = image.code(target, STUB)?;
        let stub = Code {
            machine: image.machine,
            address: target,
            bytes: &bytes,
            whole: false,
        };
        if let Some(slot) = stub.linkage_slot()
            && linked(image, slot)?.is_some_and(|function| functions.contains(&function))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The function of the image itself that the loader puts into a slot of the linkage table.
fn linked(image: &Image<'_>, slot: u64) -> Result<Option<u64>, ImageError> {
    let Some(section) = image.sections.iter().find(|s| *s.name == *b".rela.plt") else {
        return Ok(None);
    };
    let mut index = None;
    image.table(section.range(), |entry: &elf::Rela64<LE>| {
        if entry.r_offset.get(LE) == slot {
            index = Some(entry.r_info.get(LE) >> 32);
        }
    })?;
    let table = image
        .sections
        .iter()
        .find(|section| section.kind == elf::SHT_DYNSYM);
    let (Some(index), Some(table)) = (index, table) else {
        return Ok(None);
    };
    let width = size_of::<elf::Sym64<LE>>() as u64;
    let at = table.offset.saturating_add(index.saturating_mul(width));
    let mut address = None;
    image.table(at..at.saturating_add(width), |symbol: &elf::Sym64<LE>| {
        address = Some(symbol.st_value.get(LE)).filter(|&value| value != 0);
    })?;
    Ok(address)
}

/// The pointers that stand at `addresses` once the image is loaded (relative to its own
/// addresses): relocated ones first, then what the file holds.
pub fn pointers(image: &Image<'_>, addresses: &[u64]) -> Result<Vec<Option<u64>>, ImageError> {
    let mut values: Vec<Option<u64>> = vec![None; addresses.len()];
    relocations(image, |at, value| {
        let index = addresses.iter().position(|&address| address == at);
        if let Some(slot) = index.and_then(|index| values.get_mut(index)) {
            *slot = Some(value);
        }
    })?;
    for (value, &address) in values.iter_mut().zip(addresses) {
        if value.is_none() {
            let bytes = image.loaded(address, 8)?;
            let raw = bytes.try_into().ok().map(u64::from_le_bytes);
            *value = raw.filter(|&raw| raw != 0);
        }
    }
    Ok(values)
}

/// Where pointers to `target` stand in the data that the program may write to or that
/// the loader relocates.
pub fn pointers_to(image: &Image<'_>, target: u64) -> Result<Vec<u64>, ImageError> {
    const MAX_PLACES: usize = 64;
    let mut places = Vec::new();
    relocations(image, |at, value| {
        if value == target && places.len() < MAX_PLACES {
            places.push(at);
        }
    })?;
    let raw = target.to_le_bytes();
    for segment in image.segments.iter().filter(|segment| segment.writable) {
        let range = segment.offset..segment.offset.saturating_add(segment.size);
        image.scan(range, &[Finder::new(&raw)], |_, at| {
            let address = segment
                .address
                .saturating_add(at.saturating_sub(segment.offset));
            if address & 7 == 0 && places.len() < MAX_PLACES {
                places.push(address);
            }
        })?;
    }
    Ok(places)
}

/// Calls `each` with the place and the value of each pointer that the loader relocates.
pub fn relocations(image: &Image<'_>, mut each: impl FnMut(u64, u64)) -> Result<(), ImageError> {
    let relative = match image.machine {
        Machine::X86_64 => elf::R_X86_64_RELATIVE.0,
        Machine::Aarch64 => elf::R_AARCH64_RELATIVE.0,
    };
    let Some(section) = image.sections.iter().find(|s| *s.name == *b".rela.dyn") else {
        return Ok(());
    };
    image.table(section.range(), |entry: &elf::Rela64<LE>| {
        if entry.r_info.get(LE) & 0xffff_ffff == u64::from(relative) {
            each(
                entry.r_offset.get(LE),
                entry.r_addend.get(LE).cast_unsigned(),
            );
        }
    })
}

/// The format allows one table of each kind; more would make the work quadratic.
fn tables<'i>(image: &'i Image<'_>) -> impl Iterator<Item = &'i Section> {
    [elf::SHT_DYNSYM, elf::SHT_SYMTAB]
        .into_iter()
        .filter_map(|kind| image.sections.iter().find(|section| section.kind == kind))
}

fn strings_of<'i>(image: &'i Image<'_>, table: &Section) -> Option<&'i Section> {
    image
        .sections
        .get(table.link as usize)
        .filter(|strings| strings.kind == elf::SHT_STRTAB)
}

/// Offset in the table's strings -> index of the wanted name that stands there.
fn name_places(
    image: &Image<'_>,
    table: &Section,
    names: &[&'static str],
) -> Result<HashMap<u32, usize>, ImageError> {
    let mut places = HashMap::new();
    let Some(strings) = strings_of(image, table) else {
        return Ok(places);
    };
    let terminated: Vec<String> = names.iter().map(|name| format!("{name}\0")).collect();
    let finders: Vec<Finder<'_>> = terminated.iter().map(Finder::new).collect();
    let mut counts = vec![0_usize; names.len()];
    image.scan(strings.range(), &finders, |index, at| {
        let place = u32::try_from(at.saturating_sub(strings.offset));
        if let (Some(count), Ok(place)) = (counts.get_mut(index), place)
            && *count < MAX_PLACES
        {
            *count = count.saturating_add(1);
            places.insert(place, index);
        }
    })?;
    Ok(places)
}

/// Calls `each` with the place of the name and the symbol, for each defined function.
fn each_function(
    image: &Image<'_>,
    table: &Section,
    mut each: impl FnMut(u32, Symbol),
) -> Result<(), ImageError> {
    image.table(table.range(), |entry: &elf::Sym64<LE>| {
        let defined = entry.st_shndx.get(LE) != elf::SHN_UNDEF;
        if defined && entry.st_info.st_type() == elf::STT_FUNC {
            let symbol = Symbol {
                address: entry.st_value.get(LE),
                size: entry.st_size.get(LE),
            };
            each(entry.st_name.get(LE), symbol);
        }
    })
}
