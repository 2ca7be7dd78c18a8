//! Programs with Go's `crypto/tls`, stripped or not.
//!
//! Go keeps the names of all functions in a table of its own (`pclntab`, described by
//! `internal/abi` and `debug/gosym`), which `strip` leaves. Goroutine stacks move, so
//! there are no return probes and no buffers remembered from an entry: a read is seen
//! where it copies plaintext to the caller, a write where it hands it on to be sealed.

use std::ops::Range;

use memchr::memmem::Finder;

use super::super::image::{Image, ImageError};
use super::super::plan::{Finding, FoundBy, Function, SiteCost, Unsupported};
use super::super::site::{Code, Placement};
use super::super::symbols::{self, Symbols};
use super::{Hooks, Runtime};

mod http;

pub const RUNTIME: Runtime = Runtime {
    symbols: &[],
    examine,
};

const READ: &str = "crypto/tls.(*Conn).Read";
const WRITE: &str = "crypto/tls.(*Conn).Write";
const CLOSE: &str = "crypto/tls.(*Conn).Close";
const WRITE_RECORD: &str = "crypto/tls.(*Conn).writeRecordLocked";
const MEMMOVE: &str = "runtime.memmove";
/// Most code of one function that is read.
const MAX_FUNCTION: u32 = 64 << 10;
/// Places that may hold a function's name, before the table is given up.
const MAX_CANDIDATES: usize = 4096;

fn examine(image: &Image<'_>, _: &Symbols) -> Result<Option<Finding>, ImageError> {
    let section = [".gopclntab", ".data.rel.ro.gopclntab"]
        .iter()
        .find_map(|n| image.section(n));
    let Some(section) = section else {
        return Ok(None);
    };
    let Some(table) = Table::open(image, section.range())? else {
        let name = [Finder::new(READ)];
        let mut has_tls = false;
        image.scan(section.range(), &name, |_, _| has_tls = true)?;
        return Ok(has_tls.then(|| unsupported("built by Go 1.17 or older")));
    };
    let [read, write, close, write_record, memmove] =
        table.find([READ, WRITE, CLOSE, WRITE_RECORD, MEMMOVE])?;
    let (&[read], &[write]) = (read.as_slice(), write.as_slice()) else {
        let unknown = unsupported("its crypto/tls is not of the known shape");
        // Without either it is a program of Go without TLS.
        return Ok((!read.is_empty() || !write.is_empty()).then_some(unknown));
    };
    for text in table.text_bases()? {
        let mut hooks = Hooks::new(image);
        if hook_read(&mut hooks, text, read, &memmove)?
            && hook_write(&mut hooks, text, write, &write_record)?
        {
            for &close in &close {
                hook_entry(&mut hooks, text, close, Function::GoClose, CLOSE)?;
            }
            http::hook(&mut hooks, &table, text)?;
            let plan = hooks.into_plan("go", version(image)?, FoundBy::Table);
            return Ok(Some(Finding::Hooks(plan)));
        }
    }
    Ok(Some(unsupported(
        "its crypto/tls is not of the known shape",
    )))
}

fn unsupported(reason: &'static str) -> Finding {
    Finding::Unsupported(Unsupported {
        library: "go".into(),
        reason: reason.into(),
    })
}

/// Hooks the one place where `Read` copies to its caller.
fn hook_read(
    hooks: &mut Hooks<'_>,
    text: u64,
    read: Entry,
    memmove: &[Entry],
) -> Result<bool, ImageError> {
    let calls = calls(hooks.image, text, read, memmove)?;
    let bytes = read.code(hooks.image, text)?;
    let home = read
        .as_code(hooks.image, text, &bytes)
        .go_home_of_first_argument();
    let (&[copy], Some(connection)) = (calls.as_slice(), home) else {
        return Ok(false);
    };
    hooks.add(
        Function::GoRead { connection },
        &at_call(copy),
        "the copy to the caller in crypto/tls.(*Conn).Read",
    );
    Ok(true)
}

/// Hooks the places where `Write` hands on what it was given: there are two, as in TLS 1.0
/// the first byte may go ahead of the rest.
fn hook_write(
    hooks: &mut Hooks<'_>,
    text: u64,
    write: Entry,
    write_record: &[Entry],
) -> Result<bool, ImageError> {
    const MOST: usize = 4;
    let calls = calls(hooks.image, text, write, write_record)?;
    for &call in &calls {
        hooks.add(
            Function::GoWrite,
            &at_call(call),
            "where crypto/tls.(*Conn).Write hands on",
        );
    }
    Ok((1..=MOST).contains(&calls.len()))
}

/// Where `function` calls one of `callees`.
fn calls(
    image: &Image<'_>,
    text: u64,
    function: Entry,
    callees: &[Entry],
) -> Result<Vec<u64>, ImageError> {
    let bytes = function.code(image, text)?;
    let code = function.as_code(image, text, &bytes);
    let callees = callees.iter().map(|callee| callee.address(text));
    Ok(callees.flat_map(|callee| code.calls_to(callee)).collect())
}

/// A call instruction, which the kernel emulates.
const fn at_call(address: u64) -> Placement {
    Placement {
        entry: address,
        cost: SiteCost::Emulated,
        exit: None,
    }
}

/// Hooks the beginning of a function, where its arguments are in their registers.
fn hook_entry(
    hooks: &mut Hooks<'_>,
    text: u64,
    entry: Entry,
    function: Function,
    name: &'static str,
) -> Result<(), ImageError> {
    let bytes = entry.code(hooks.image, text)?;
    let code = entry.as_code(hooks.image, text, &bytes);
    let wanted = function.wanted();
    if let Some(place) = code.cheap(wanted).or_else(|| code.at_entry(wanted)) {
        hooks.add(function, &place, name);
    }
    Ok(())
}

/// `go1.26.8`, from the build information.
fn version(image: &Image<'_>) -> Result<Option<Box<str>>, ImageError> {
    const MAGIC: &[u8] = b"\xff Go buildinf:";
    let Some(section) = image.section(".go.buildinfo") else {
        return Ok(None);
    };
    let bytes = image.bytes(section.offset, 128)?;
    let text = bytes.get(32..).filter(|_| bytes.starts_with(MAGIC));
    let text = text.and_then(|text| text.get(1..)?.get(..usize::from(*text.first()?)));
    let text = text.and_then(|text| std::str::from_utf8(text).ok());
    Ok(text
        .and_then(|text| text.strip_prefix("go"))
        .map(Into::into))
}

/// One function of the table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Bytes from the beginning of the text.
    offset: u32,
    size: u32,
}

impl Entry {
    fn address(self, text: u64) -> u64 {
        text.wrapping_add(self.offset.into())
    }

    fn code(self, image: &Image<'_>, text: u64) -> Result<Vec<u8>, ImageError> {
        image.code(self.address(text), self.size.min(MAX_FUNCTION) as usize)
    }

    fn as_code<'c>(self, image: &Image<'_>, text: u64, bytes: &'c [u8]) -> Code<'c> {
        Code {
            machine: image.machine,
            address: self.address(text),
            bytes,
            whole: bytes.len() == self.size as usize,
        }
    }
}

/// A `pclntab` of Go 1.18 or later.
struct Table<'i> {
    image: &'i Image<'i>,
    /// Where in the file its parts lie.
    header: u64,
    names: Range<u64>,
    functions: Range<u64>,
    /// Entries of the index at the beginning of `functions`.
    count: u64,
}

impl<'i> Table<'i> {
    /// `None`: another format.
    fn open(image: &'i Image<'i>, range: Range<u64>) -> Result<Option<Self>, ImageError> {
        /// The first word since 1.18, and since 1.20.
        const MAGIC: [[u8; 4]; 2] = [[0xf0, 0xff, 0xff, 0xff], [0xf1, 0xff, 0xff, 0xff]];
        const POINTER_SIZE: usize = 7;
        let header = image.bytes(range.start, 72)?;
        let known = header
            .first_chunk()
            .is_some_and(|magic| MAGIC.contains(magic))
            && header.get(POINTER_SIZE) == Some(&8);
        if !known {
            return Ok(None);
        }
        let words = header.get(8..).unwrap_or_default().as_chunks::<8>().0;
        let word = |index: usize| words.get(index).map(|word| u64::from_le_bytes(*word));
        let part = |index| {
            let at = range.start.saturating_add(word(index)?);
            (at <= range.end).then_some(at)
        };
        // functions, files, text, then offsets of names, units, files, pcs, functions
        let (Some(count), Some(names), Some(units), Some(functions)) =
            (word(0), part(3), part(4), part(7))
        else {
            return Err(ImageError::Malformed("Go's table of functions"));
        };
        Ok(Some(Self {
            image,
            header: range.start,
            names: names..units,
            functions: functions..range.end,
            count,
        }))
    }

    /// Looks functions up by name. One name may have several, for Go's old and new
    /// calling conventions.
    fn find<const N: usize>(&self, names: [&str; N]) -> Result<[Vec<Entry>; N], ImageError> {
        let quoted = names.map(|name| format!("\0{name}\0"));
        let finders = quoted.each_ref().map(Finder::new);
        let mut places = [None; N];
        self.image.scan(self.names.clone(), &finders, |index, at| {
            let place = at.saturating_add(1).saturating_sub(self.names.start);
            if let (Some(slot @ None), Ok(place)) = (places.get_mut(index), u32::try_from(place)) {
                *slot = Some(place);
            }
        })?;
        let mut found = [const { Vec::new() }; N];
        for (slot, place) in found.iter_mut().zip(places) {
            if let Some(place) = place {
                *slot = self.functions_named_at(place)?;
            }
        }
        Ok(found)
    }

    /// The functions whose description refers to the name at `place`. Descriptions are a
    /// few words, the offset of the code and the place of the name first; the index tells
    /// which words are the beginning of one.
    fn functions_named_at(&self, place: u32) -> Result<Vec<Entry>, ImageError> {
        let mut candidates = Vec::new();
        let reference = place.to_le_bytes();
        self.image.scan(
            self.functions.clone(),
            &[Finder::new(&reference)],
            |_, at| {
                let description = at.saturating_sub(self.functions.start).checked_sub(4);
                if let Some(description) = description.filter(|d| d & 3 == 0)
                    && candidates.len() < MAX_CANDIDATES
                {
                    candidates.push(description);
                }
            },
        )?;
        let mut found = Vec::new();
        for description in candidates {
            let bytes = self
                .image
                .bytes(self.functions.start.saturating_add(description), 4)?;
            if let Ok(offset) = bytes.try_into().map(u32::from_le_bytes) {
                found.extend(self.indexed(offset, description)?);
            }
        }
        Ok(found)
    }

    /// The function at this offset of the text, if the index has it with that description.
    fn indexed(&self, offset: u32, description: u64) -> Result<Option<Entry>, ImageError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.index(middle)? {
                Some([at, _, _]) if at < offset => low = middle.saturating_add(1),
                Some([at, of, next]) if at == offset && u64::from(of) == description => {
                    let size = next.saturating_sub(at);
                    return Ok(Some(Entry { offset, size }));
                }
                _ => high = middle,
            }
        }
        Ok(None)
    }

    /// Offset of the code, offset of the description, offset of the next function's code.
    fn index(&self, at: u64) -> Result<Option<[u32; 3]>, ImageError> {
        let at = self.functions.start.saturating_add(at.saturating_mul(8));
        let bytes = self.image.bytes(at, 12)?;
        let words = bytes.as_chunks::<4>().0;
        let words: Option<&[[u8; 4]; 3]> = words.try_into().ok();
        Ok(words.map(|words| words.map(u32::from_le_bytes)))
    }

    /// Addresses at which the text may begin, the likeliest first: up to 1.25 the table
    /// says it, later only the module's data, and without C it is where the section is.
    fn text_bases(&self) -> Result<Vec<u64>, ImageError> {
        /// Words into the table and into the module's data.
        const IN_TABLE: u64 = 3 * 8;
        const IN_MODULE: u64 = 22 * 8;
        let Some(header) = self.image.address_of(self.header) else {
            return Ok(Vec::new());
        };
        let mut wanted = vec![header.wrapping_add(IN_TABLE)];
        for module in symbols::pointers_to(self.image, header)? {
            wanted.push(module.wrapping_add(IN_MODULE));
        }
        let bases = symbols::pointers(self.image, &wanted)?;
        let section = self.image.section(".text").map(|text| text.address);
        Ok(bases.into_iter().flatten().chain(section).collect())
    }
}
