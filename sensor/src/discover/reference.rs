//! Who refers to a constant: the way to functions of stripped programs, whose error paths
//! still name their source file.
//!
//! In: an [`Image`] and an address. Out: the instructions that load it, with the other
//! arguments of the call that they prepare, and where functions begin. Must not know:
//! what is looked for.
//!
//! Code is searched without decoding all of it, so places may turn up that are none; what
//! is made of them must be sure by itself.

mod aarch64;
mod x86_64;

use std::collections::BTreeSet;
use std::ops::Range;

use super::image::{Image, ImageError, Machine};
use super::symbols;
use super::unwind::Unwind;

/// References kept; a constant with more is no anchor.
const MAX_REFERENCES: usize = 4096;
/// How far from a reference the beginning and the end of its function are looked for.
const BEFORE: u64 = 64 << 10;
const AFTER: u64 = 8 << 10;
const MAX_STARTS: usize = 1 << 16;
/// Code around a reference that prepares the call.
const AROUND: u64 = 64;

/// Arguments of a call as far as they are constants, in the order of the calling
/// convention.
pub type Arguments = [Option<u32>; 5];

/// One place that loads the address into an argument's register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    pub address: u64,
    /// Which argument.
    pub argument: usize,
}

/// Every place that loads `target` as an argument, in order.
pub fn references(image: &Image<'_>, target: u64) -> Result<Vec<Reference>, ImageError> {
    let mut found = BTreeSet::new();
    let mut add = |reference: Reference| {
        if found.len() < MAX_REFERENCES {
            found.insert(reference);
        }
    };
    for (range, address) in image.texts() {
        let begin = range.start;
        let address = |at: u64| address.wrapping_add(at.wrapping_sub(begin));
        match image.machine {
            Machine::X86_64 => image.pieces(range, x86_64::OVERLAP, |at, bytes, _| {
                x86_64::references(bytes, address(at), target, &mut add);
            }),
            Machine::Aarch64 => image.pieces(range, aarch64::OVERLAP, |at, bytes, _| {
                aarch64::references(bytes, address(at), target, &mut add);
            }),
        }?;
    }
    let found: Vec<Reference> = found.into_iter().collect();
    match image.machine {
        Machine::X86_64 => Ok(found),
        Machine::Aarch64 => unshared(image, found),
    }
}

/// With the places that branch to a reference in its stead, where some functions share it
/// as one that does nothing else (the machine outliner of LLVM).
fn unshared(image: &Image<'_>, found: Vec<Reference>) -> Result<Vec<Reference>, ImageError> {
    const REACH: usize = aarch64::OVERLAP;
    let mut shared = Vec::new();
    let mut all = BTreeSet::new();
    for reference in found {
        if aarch64::is_shared(&image.code(reference.address, REACH)?) {
            shared.push(reference);
        } else {
            all.insert(reference);
        }
    }
    if shared.is_empty() {
        return Ok(all.into_iter().collect());
    }
    let mut branches = Vec::new();
    for (range, address) in image.texts() {
        let begin = range.start;
        image.pieces(range, 0, |at, bytes, _| {
            let address = address.wrapping_add(at.wrapping_sub(begin));
            aarch64::branches(bytes, address, &mut |from, to| {
                let near = |r: &&Reference| r.address.wrapping_sub(to) < REACH as u64;
                if let Some(reference) = shared.iter().find(near)
                    && branches.len() < MAX_REFERENCES
                {
                    branches.push((from, to, reference.argument));
                }
            });
        })?;
    }
    for (address, to, argument) in branches {
        if aarch64::is_shared(&image.code(to, REACH)?) {
            all.insert(Reference { address, argument });
        }
    }
    Ok(all.into_iter().collect())
}

/// The constants among the arguments of the call that the reference prepares.
pub fn arguments(image: &Image<'_>, reference: Reference) -> Result<Arguments, ImageError> {
    let before = reference.address.saturating_sub(AROUND);
    let bytes = image.code(before, (AROUND as usize).saturating_mul(2))?;
    Ok(match image.machine {
        Machine::X86_64 => x86_64::arguments(&bytes, before, reference.address),
        Machine::Aarch64 => aarch64::arguments(&bytes, before, reference.address),
    })
}

/// Every constant that the code of a function moves into the register of an argument.
pub fn constants(
    image: &Image<'_>,
    code: Range<u64>,
    argument: usize,
) -> Result<BTreeSet<u32>, ImageError> {
    let size = usize::try_from(code.end.saturating_sub(code.start)).unwrap_or(usize::MAX);
    let bytes = image.code(code.start, size)?;
    Ok(match image.machine {
        Machine::X86_64 => x86_64::constants(&bytes, code.start, argument),
        Machine::Aarch64 => aarch64::constants(&bytes, code.start, argument),
    })
}

/// Whether a function uses what it is called with in the register of an argument: the first
/// instruction of its code that names the register reads it.
pub fn takes(image: &Image<'_>, code: Range<u64>, argument: usize) -> Result<bool, ImageError> {
    let size = usize::try_from(code.end.saturating_sub(code.start)).unwrap_or(usize::MAX);
    let bytes = image.code(code.start, size)?;
    Ok(match image.machine {
        Machine::X86_64 => x86_64::takes(&bytes, code.start, argument),
        Machine::Aarch64 => aarch64::takes(&bytes, argument),
    })
}

/// Whether `start` may begin a function that holds one of the places, or the next. They are
/// sorted: near one is near its neighbour in this list.
fn is_near(places: &[u64], start: u64) -> bool {
    let next = places.partition_point(|&place| place < start);
    let follows = places
        .get(next)
        .is_some_and(|place| place.wrapping_sub(start) < BEFORE);
    let precedes = next.checked_sub(1).and_then(|last| places.get(last));
    follows || precedes.is_some_and(|place| start.wrapping_sub(*place) < AFTER)
}

/// Where functions begin, near some references.
#[derive(Debug, Default)]
pub struct Starts(BTreeSet<u64>);

impl Starts {
    /// What is called directly from anywhere.
    pub fn near(image: &Image<'_>, references: &[Reference]) -> Result<Self, ImageError> {
        let mut starts = BTreeSet::new();
        let places: Vec<u64> = references.iter().map(|r| r.address).collect();
        let near = |start| is_near(&places, start);
        each_call(image, |_, target| {
            if near(target) && starts.len() < MAX_STARTS {
                starts.insert(target);
            }
        })?;
        if image.machine == Machine::X86_64 {
            starts.retain(|start| start & 15 == 0);
            x86_64::framed(image, &places, &mut |start| {
                if near(start) && starts.len() < MAX_STARTS {
                    starts.insert(start);
                }
            })?;
        }
        Ok(Self(starts))
    }

    /// What is called directly or pointed to, on any address, behind code that does not
    /// run on into it: compilers that want short code align nothing.
    pub fn unaligned(image: &Image<'_>, references: &[Reference]) -> Result<Self, ImageError> {
        let mut starts = BTreeSet::new();
        let places: Vec<u64> = references.iter().map(|r| r.address).collect();
        let mut add = |start| {
            if is_near(&places, start) && starts.len() < MAX_STARTS {
                starts.insert(start);
            }
        };
        each_call(image, |_, target| add(target))?;
        symbols::relocations(image, |_, target| add(target))?;
        if image.machine == Machine::X86_64 {
            let mut ending = BTreeSet::new();
            for start in starts {
                const BEFORE: u64 = 8;
                let from = start.saturating_sub(BEFORE);
                if x86_64::ends_flow(&image.code(from, BEFORE as usize)?) {
                    ending.insert(start);
                }
            }
            starts = ending;
        }
        Ok(Self(starts))
    }

    /// From the last beginning at or before `address` to the next behind it.
    pub fn around(&self, address: u64) -> Option<Range<u64>> {
        let start = *self.0.range(..=address).next_back()?;
        let next = *self.0.range(address.saturating_add(1)..).next()?;
        Some(start..next)
    }
}

/// The functions around some references, by the tables for unwinding where these know
/// them, else by what is called or pointed to.
#[derive(Debug)]
pub struct Extents<'i> {
    unwind: Option<Unwind<'i>>,
    starts: Starts,
}

impl<'i> Extents<'i> {
    pub fn near(image: &'i Image<'i>, references: &[Reference]) -> Result<Self, ImageError> {
        let unwind = Unwind::open(image)?;
        let mut unknown = Vec::new();
        for reference in references {
            let known = match &unwind {
                Some(unwind) => unwind.around(reference.address)?.is_some(),
                None => false,
            };
            if !known {
                unknown.push(*reference);
            }
        }
        let starts = if unknown.is_empty() {
            Starts::default()
        } else {
            Starts::unaligned(image, &unknown)?
        };
        Ok(Self { unwind, starts })
    }

    /// From the first byte of the function that holds `address` to the first behind it.
    pub fn around(&self, address: u64) -> Result<Option<Range<u64>>, ImageError> {
        if let Some(unwind) = &self.unwind
            && let Some(extent) = unwind.around(address)?
        {
            return Ok(Some(extent));
        }
        Ok(self.starts.around(address))
    }
}

/// Calls `each` with the place and the target of what looks like a direct call.
pub fn each_call(image: &Image<'_>, mut each: impl FnMut(u64, u64)) -> Result<(), ImageError> {
    for (range, address) in image.texts() {
        let begin = range.start;
        let address = |at: u64| address.wrapping_add(at.wrapping_sub(begin));
        match image.machine {
            Machine::X86_64 => image.pieces(range, x86_64::CALL - 1, |at, bytes, carried| {
                x86_64::calls(bytes, address(at), carried, &mut each);
            }),
            Machine::Aarch64 => image.pieces(range, 0, |at, bytes, _| {
                aarch64::calls(bytes, address(at), &mut each);
            }),
        }?;
    }
    Ok(())
}
