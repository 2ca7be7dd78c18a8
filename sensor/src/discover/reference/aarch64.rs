//! The rules of [`super`] for aarch64.

use std::collections::BTreeSet;

use super::{Arguments, Reference};

/// Instructions after an `adrp` among which its `add` is looked for.
const REACH: usize = 12;
/// Bytes of them with the `adrp`.
pub const OVERLAP: usize = 4 * (REACH + 1);

fn words(bytes: &[u8], address: u64) -> impl Iterator<Item = (u64, u32)> {
    let words = bytes.as_chunks::<4>().0.iter().enumerate();
    words.map(move |(i, word)| {
        (
            address.wrapping_add((i as u64) << 2),
            u32::from_le_bytes(*word),
        )
    })
}

/// `adrp x, page` and soon `add x?, x, #offset`; or `adr`.
pub fn references(bytes: &[u8], address: u64, target: u64, add: &mut impl FnMut(Reference)) {
    for (index, (at, word)) in words(bytes, address).enumerate() {
        if word & 0x1f00_0000 != 0x1000_0000 {
            continue;
        }
        let field = ((word >> 5) & 0x7_ffff) << 2 | ((word >> 29) & 3);
        let distance = i64::from((field << 11).cast_signed() >> 11);
        if word >> 31 == 0 {
            if at.wrapping_add_signed(distance) == target {
                found(at, word & 31, add);
            }
            continue;
        }
        if (at & !0xfff).wrapping_add_signed(distance << 12) != target & !0xfff {
            continue;
        }
        // add x?, x, #offset within the page
        let wanted = 0x9100_0000 | (target as u32 & 0xfff) << 10 | (word & 31) << 5;
        let rest = bytes
            .get(index.saturating_mul(4).saturating_add(4)..)
            .unwrap_or_default();
        let next = at.wrapping_add(4);
        if let Some((at, sum)) = words(rest, next)
            .take(REACH)
            .find(|(_, word)| word & !31 == wanted)
        {
            found(at, sum & 31, add);
        }
    }
}

fn found(address: u64, register: u32, add: &mut impl FnMut(Reference)) {
    let argument = register as usize;
    if argument < 5 {
        add(Reference { address, argument });
    }
}

pub fn calls(bytes: &[u8], address: u64, each: &mut impl FnMut(u64, u64)) {
    for (at, word) in words(bytes, address) {
        if word & 0xfc00_0000 == 0x9400_0000 {
            let distance = i64::from((word << 6).cast_signed() >> 6) << 2;
            each(at, at.wrapping_add_signed(distance));
        }
    }
}

/// `mov w?, #constant`
fn constant(word: u32) -> Option<(usize, u32)> {
    (word & 0xffe0_0000 == 0x5280_0000).then_some(((word & 31) as usize, (word >> 5) & 0xffff))
}

/// `b`, `bl`, `br`, `blr`, `ret`
const fn leaves(word: u32) -> bool {
    word & 0x7c00_0000 == 0x1400_0000
        || word & 0xff9f_fc1f == 0xd61f_0000
        || word & 0xffff_fc1f == 0xd65f_0000
}

/// Whether the code from a reference on only sets registers and returns: then it is shared
/// by functions that call or jump to it.
pub fn is_shared(bytes: &[u8]) -> bool {
    let sets = |word: u32| {
        word & 0x1f00_0000 == 0x1000_0000      // adr, adrp
            || word & 0x7f80_0000 == 0x1100_0000 // add immediate
            || word & 0x7fe0_ffe0 == 0x2a00_03e0 // mov
            || word & 0x7f80_0000 == 0x5280_0000 // mov constant
    };
    let after = words(bytes, 0).map(|(_, word)| word).find(|w| !sets(*w));
    after.is_some_and(|word| word & 0xffff_fc1f == 0xd65f_0000)
}

/// Calls `each` with the place and the target of each direct jump or call.
pub fn branches(bytes: &[u8], address: u64, each: &mut impl FnMut(u64, u64)) {
    for (at, word) in words(bytes, address) {
        if word & 0x7c00_0000 == 0x1400_0000 {
            let distance = i64::from((word << 6).cast_signed() >> 6) << 2;
            each(at, at.wrapping_add_signed(distance));
        }
    }
}

/// What is set on the straight way through `at`, between two calls or jumps.
pub fn arguments(bytes: &[u8], address: u64, at: u64) -> Arguments {
    let mut found = [None; 5];
    for (place, word) in words(bytes, address) {
        if leaves(word) && place != at {
            if place > at {
                break;
            }
            found = [None; 5];
        }
        if let Some((argument, value)) = constant(word)
            && let Some(slot) = found.get_mut(argument)
        {
            *slot = Some(value);
        }
    }
    found
}

pub fn constants(bytes: &[u8], address: u64, argument: usize) -> BTreeSet<u32> {
    words(bytes, address)
        .filter_map(|(_, word)| constant(word))
        .filter(|(of, _)| *of == argument)
        .map(|(_, value)| value)
        .collect()
}
