//! HPACK as an observer decodes it (RFC 7541).
//!
//! In: the header blocks of one direction, in their order. Out: fields, each known or
//! not. Must not know: streams, what a field means (but that credentials are not kept).
//!
//! Peers treat an index they cannot resolve as an error of the connection. An observer
//! that joined late or lost bytes meets such indices in sound traffic: the field is
//! then [`Field::Unknown`], and decoding goes on.

use std::borrow::Cow;

mod huffman;
mod table;

use table::{Entry, Table};

/// Scratch space kept from block to block.
const SCRATCH: usize = 4096;

/// A field of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    Known {
        name: &'a str,
        value: &'a str,
        /// It stands or falls with the dynamic table being in step.
        dynamic: bool,
    },
    Unknown,
}

/// The block is damaged; the rest of it cannot be decoded and the dynamic table has
/// been forgotten.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

/// Decodes the header blocks of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    // Scratch space.
    name: Vec<u8>,
    value: Vec<u8>,
}

/// A representation of a field (section 6).
enum Representation {
    Indexed(usize),
    /// The index of its name, or 0; whether it enters the table.
    Literal(usize, bool),
    Resize(usize),
}

impl Decoder {
    pub const fn new() -> Self {
        Self {
            table: Table::new(),
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// See [`Table::forget`].
    pub fn forget(&mut self) {
        self.table.forget();
    }

    /// The receiver of these blocks announced this `SETTINGS_HEADER_TABLE_SIZE`.
    pub fn allow(&mut self, capacity: u32) {
        self.table
            .allow(usize::try_from(capacity).unwrap_or(usize::MAX));
    }

    /// Gives each field of `block` to `out`.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        out: &mut dyn FnMut(Field<'_>),
    ) -> Result<(), Broken> {
        let mut result = Ok(());
        while !block.is_empty() && result.is_ok() {
            if self.representation(&mut block, out).is_none() {
                self.forget();
                result = Err(Broken);
            }
        }
        self.wipe();
        result
    }

    /// Clears the scratch space, as a credential may stand there, and keeps it small.
    fn wipe(&mut self) {
        for scratch in [&mut self.name, &mut self.value] {
            wipe(scratch);
            scratch.shrink_to(SCRATCH);
        }
    }

    fn representation(&mut self, block: &mut &[u8], out: &mut dyn FnMut(Field<'_>)) -> Option<()> {
        match representation(block)? {
            Representation::Indexed(0) => return None,
            Representation::Indexed(index) => out(self.table.lookup(index).into()),
            Representation::Literal(index, inserted) => {
                self.literal(block, index, inserted, out)?
            }
            Representation::Resize(capacity) => self.table.resize(capacity),
        }
        Some(())
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        index: usize,
        inserted: bool,
        out: &mut dyn FnMut(Field<'_>),
    ) -> Option<()> {
        if index == 0 {
            string(block, &mut self.name)?;
        }
        string(block, &mut self.value)?;
        let value = String::from_utf8_lossy(&self.value);
        let name = match self.table.lookup(index) {
            _ if index == 0 => Some((String::from_utf8_lossy(&self.name), false)),
            Entry::Known { name, dynamic, .. } => Some((Cow::Borrowed(name), dynamic)),
            Entry::Unknown => None,
        };
        out(name
            .as_ref()
            .map_or(Field::Unknown, |(name, dynamic)| Field::Known {
                name,
                value: &value,
                dynamic: *dynamic,
            }));
        if inserted {
            let name = match index {
                0 => name.map(|(name, _)| Cow::Owned(name.into_owned())),
                _ => self.table.name(index),
            };
            let octets = name.as_ref().map_or(0, |name| name.len());
            let octets = octets.saturating_add(self.value.len());
            self.table.insert(name, &value, octets);
        }
        Some(())
    }

    /// Bytes held for the sake of later blocks.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.table.held_bytes() + self.name.capacity() + self.value.capacity()
    }
}

impl<'a> From<Entry<'a>> for Field<'a> {
    fn from(entry: Entry<'a>) -> Self {
        match entry {
            Entry::Known {
                name,
                value,
                dynamic,
            } => Self::Known {
                name,
                value,
                dynamic,
            },
            Entry::Unknown => Self::Unknown,
        }
    }
}

fn representation(block: &mut &[u8]) -> Option<Representation> {
    let first = *block.first()?;
    Some(if first & 0x80 != 0 {
        Representation::Indexed(integer(block, 7)?)
    } else if first & 0x40 != 0 {
        Representation::Literal(integer(block, 6)?, true)
    } else if first & 0x20 != 0 {
        Representation::Resize(integer(block, 5)?)
    } else {
        Representation::Literal(integer(block, 4)?, false)
    })
}

/// An integer whose first `bits` bits end the first octet (section 5.1).
fn integer(block: &mut &[u8], bits: u32) -> Option<usize> {
    let mask = 0xff_u8.checked_shr(8_u32.checked_sub(bits)?)?;
    let (&first, rest) = block.split_first()?;
    *block = rest;
    let mut value = usize::from(first & mask);
    if first & mask != mask {
        return Some(value);
    }
    // Four octets more reach beyond any length or index that a block can hold.
    for shift in [0_u32, 7, 14, 21] {
        let (&octet, rest) = block.split_first()?;
        *block = rest;
        value = value.checked_add(usize::from(octet & 0x7f).checked_shl(shift)?)?;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn wipe(scratch: &mut Vec<u8>) {
    scratch.fill(0);
    scratch.clear();
}

/// A string literal (section 5.2), put into `out` in place of what was there.
fn string(block: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    let coded = *block.first()? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (octets, rest) = block.split_at_checked(length)?;
    *block = rest;
    wipe(out);
    if coded {
        huffman::decode(octets, out).ok()
    } else {
        out.extend_from_slice(octets);
        Some(())
    }
}

#[cfg(test)]
pub mod encoder;

#[cfg(test)]
mod tests;
