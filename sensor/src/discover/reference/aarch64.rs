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

/// `adrp x, page` and soon `add x?, x, #offset`, maybe by way of what lies before it in the
/// same section (`add y, x, #offset` and `add x?, y, #more`); or `adr`.
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
        let page = (at & !0xfff).wrapping_add_signed(distance << 12);
        // Two sums reach almost two pages far.
        let Some(distance) = target.checked_sub(page).filter(|far| *far < 0x2000) else {
            continue;
        };
        let rest = bytes
            .get(index.saturating_mul(4).saturating_add(4)..)
            .unwrap_or_default();
        let near = || words(rest, at.wrapping_add(4)).take(REACH);
        if let Some((at, register)) = sum(near(), word & 31, distance) {
            found(at, register, add);
        } else if let Some((at, register)) = sum_of_two(near(), word & 31, distance) {
            found(at, register, add);
        }
    }
}

/// `add x?, x, #constant`: the target, the source and the constant.
fn addition(word: u32) -> Option<(u32, u32, u64)> {
    let constant = u64::from((word >> 10) & 0xfff);
    (word & 0xffc0_0000 == 0x9100_0000).then_some((word & 31, (word >> 5) & 31, constant))
}

/// Where this is added to a register, and to which one it goes. Others may be added to it before,
/// but it must not become their sum.
fn sum(
    mut words: impl Iterator<Item = (u64, u32)>,
    register: u32,
    distance: u64,
) -> Option<(u64, u32)> {
    let found = words.find_map(|(at, word)| {
        let (to, from, constant) = addition(word)?;
        let ends = from == register && (constant == distance || to == register);
        ends.then_some((at, to, constant))
    });
    found
        .filter(|(.., constant)| *constant == distance)
        .map(|(at, to, _)| (at, to))
}

/// The same in two steps, of which the first is the first that starts from the register.
fn sum_of_two(
    mut words: impl Iterator<Item = (u64, u32)>,
    register: u32,
    distance: u64,
) -> Option<(u64, u32)> {
    let (between, first) = words.find_map(|(_, word)| {
        let (to, from, constant) = addition(word)?;
        (from == register).then_some((to, constant))
    })?;
    sum(words, between, distance.checked_sub(first)?)
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

/// Whether the first instruction that names the register of an argument reads it, as far as
/// instructions move, add, load, store and compare with zero.
pub fn takes(bytes: &[u8], argument: usize) -> bool {
    let first = words(bytes, 0).find_map(|(_, word)| {
        let field = |at: u32| (word >> at) & 31 == argument as u32;
        let (target, base, other) = (field(0), field(5), field(16));
        let second = field(10);
        let (reads, sets) = if word & 0x3a00_0000 == 0x2800_0000 {
            // stp, ldp
            let loads = word & (1 << 22) != 0;
            let both = target || second;
            (base || both && !loads, both && loads)
        } else if word & 0x3a00_0000 == 0x3800_0000 {
            // str, ldr
            let loads = word & (3 << 22) != 0;
            (base || target && !loads, target && loads)
        } else if word & 0x7c00_0000 == 0x3400_0000 {
            // cbz, cbnz, tbz, tbnz
            (target, false)
        } else if word & 0x1f00_0000 == 0x1100_0000 {
            // add, sub, with a constant
            (base, target)
        } else if word & 0x1e00_0000 == 0x0a00_0000 {
            // mov, and, add, sub, with a register
            (base || other, target)
        } else if word & 0x1c00_0000 == 0x1000_0000 {
            // adr, adrp, mov with a constant
            (false, target)
        } else {
            (false, false)
        };
        (reads || sets).then_some(reads)
    });
    first.unwrap_or(false)
}

pub fn constants(bytes: &[u8], address: u64, argument: usize) -> BTreeSet<u32> {
    words(bytes, address)
        .filter_map(|(_, word)| constant(word))
        .filter(|(of, _)| *of == argument)
        .map(|(_, value)| value)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What refers to 0x5f10 among these instructions, which begin at 0x1000.
    fn referring(words: &[u32]) -> Vec<(u64, usize)> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut all = Vec::new();
        references(&bytes, 0x1000, 0x5f10, &mut |r| {
            all.push((r.address, r.argument))
        });
        all
    }

    /// `adrp x2, 0x5000`, and `adrp x19, 0x4000`
    const ADRP_X2: u32 = 0x9000_0022;
    const ADRP_X19: u32 = 0xf000_0013;
    const NOP: u32 = 0xd503_201f;

    #[test]
    fn an_address_is_loaded_in_two_steps_or_three() {
        // add x2, x2, #0xf10
        assert_eq!(referring(&[ADRP_X2, NOP, 0x913c_4042]), [(0x1008, 2)]);
        // add x2, x2, #0xd60; add x2, x2, #0x1b0
        let three = [ADRP_X2, 0x9135_8042, 0x9106_c042];
        assert_eq!(referring(&three), [(0x1008, 2)]);
        // add x20, x19, #0xf80; add x0, x20, #0xf90
        let over_a_page = [ADRP_X19, 0x913e_0274, NOP, 0x913e_4280];
        assert_eq!(referring(&over_a_page), [(0x100c, 0)]);
    }

    #[test]
    fn an_argument_is_taken_where_it_is_read_before_it_is_set() {
        let takes = |words: &[u32]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            super::takes(&bytes, 4)
        };
        // stp x29, x30, [sp, #-80]!, before mov x21, x4; stp x4, x5, [sp]; cbz x4, …
        for reads in [0xaa04_03f5, 0xa900_17e4, 0xb400_0044] {
            assert!(takes(&[0xa9bb_7bfd, reads]));
        }
        // mov x4, x3; ldr x4, [x19, #24]; mov w4, #1; adrp x4, …
        for sets in [0xaa03_03e4, 0xf940_0e64, 0x5280_0024, 0x9000_0004] {
            assert!(!takes(&[sets, 0xaa04_03f5]));
        }
        assert!(!takes(&[]));
    }

    #[test]
    fn other_addresses_are_none() {
        // add x2, x2, #0xf00; add x3, x3, #0xf10; add x2, x2, #0x1b0 alone
        for other in [0x913c_0042, 0x913c_4063, 0x9106_c042] {
            assert_eq!(referring(&[ADRP_X2, other]), []);
        }
        // add x2, x2, #0xd60; add x2, x2, #0x10; add x2, x2, #0x1b0
        let more = [ADRP_X2, 0x9135_8042, 0x9100_4042, 0x9106_c042];
        assert_eq!(referring(&more), []);
        // add x2, x2, #0xd60; add x2, x2, #0xf10
        assert_eq!(referring(&[ADRP_X2, 0x9135_8042, 0x913c_4042]), []);
        // To no register of an argument.
        assert_eq!(referring(&[ADRP_X2, 0x913c_4048]), []);
    }
}
