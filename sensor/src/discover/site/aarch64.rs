//! The rules of [`super`] for aarch64: what `arch/arm64/kernel/probes` simulates, and the
//! AAPCS64 calling convention.
//!
//! A return probe replaces the link register, so past the first instruction, where that
//! may be signed (`paciasp`) or saved, it would break the program. There the result is
//! seen by plain probes on the function's `ret`s, if it leaves by no other way.

use super::super::plan::SiteCost;
use super::{Code, Convention, First, PlacedExit, Placement, Wanted};

/// How far from the entry a site is looked for.
const MAX_STEPS: usize = 24;
const BTI_C: u32 = 0xd503_245f;
/// A function with more returns than this is not worth so many probes.
const MAX_RETURNS: usize = 16;

fn words<'c>(code: &Code<'c>) -> impl Iterator<Item = (u64, u32)> + use<'c> {
    let address = code.address;
    let (chunks, _) = code.bytes.as_chunks::<4>();
    chunks.iter().enumerate().map(move |(i, word)| {
        (
            address.wrapping_add((i as u64) << 2),
            u32::from_le_bytes(*word),
        )
    })
}

/// One instruction, as far as probing cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Branch {
        target: u64,
        link: bool,
    },
    ConditionalBranch {
        target: u64,
    },
    /// `br`, `blr`: to where a register says.
    IndirectBranch {
        link: bool,
    },
    Return,
    /// `adr`, `adrp`.
    Address,
    /// The kernel accepts no probe, or one that never fires.
    Unprobeable,
    Other,
}

fn kind(at: u64, word: u32) -> Kind {
    let relative = |field: u32, bits: u32| {
        let shift = 32_u32.saturating_sub(bits);
        let words = (field << shift).cast_signed() >> shift;
        at.wrapping_add_signed(i64::from(words) << 2)
    };
    match word {
        w if w & 0x7c00_0000 == 0x1400_0000 => Kind::Branch {
            target: relative(w & 0x03ff_ffff, 26),
            link: w >> 31 == 1,
        },
        // b.cond and bc.cond, cbz and cbnz
        w if w & 0xff00_0000 == 0x5400_0000 || w & 0x7e00_0000 == 0x3400_0000 => {
            Kind::ConditionalBranch {
                target: relative((w >> 5) & 0x7_ffff, 19),
            }
        }
        // tbz and tbnz
        w if w & 0x7e00_0000 == 0x3600_0000 => Kind::ConditionalBranch {
            target: relative((w >> 5) & 0x3fff, 14),
        },
        w if w & 0xffff_fc1f == 0xd65f_0000 => Kind::Return,
        w if w & 0xffff_fc1f == 0xd61f_0000 => Kind::IndirectBranch { link: false },
        w if w & 0xffff_fc1f == 0xd63f_0000 => Kind::IndirectBranch { link: true },
        w if w & 0x1f00_0000 == 0x1000_0000 => Kind::Address,
        w if is_unprobeable(w) => Kind::Unprobeable,
        _ => Kind::Other,
    }
}

fn is_unprobeable(word: u32) -> bool {
    // nop, xpaclri, pacia1716 to autibsp, bti
    let harmless_hint = word & 0xffff_f01f == 0xd503_201f
        && matches!(
            (word >> 5) & 0x7f,
            0 | 7 | 8 | 10 | 12 | 14 | 24..=31 | 32 | 34 | 36 | 38
        );
    let system_or_branch = word & 0x1c00_0000 == 0x1400_0000 && !harmless_hint;
    let load_literal = word & 0x3b00_0000 == 0x1800_0000;
    let exclusive = word & 0x3f00_0000 == 0x0800_0000;
    system_or_branch || load_literal || exclusive
}

/// Whether the kernel simulates it, so that no single step is taken. (It simulates
/// register branches, too; those it meets here are no sites.)
const fn is_simulated(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Branch { .. } | Kind::ConditionalBranch { .. } | Kind::Return | Kind::Address
    )
}

/// Registers of arguments.
const REGISTERS: usize = 8;

pub fn cheap(code: &Code<'_>, wanted: Wanted) -> Option<Placement> {
    let entry = entry(code, wanted)?;
    if wanted.arguments > REGISTERS && entry != code.address {
        return None;
    }
    let exit = match (wanted.result, entry == code.address) {
        (false, _) => None,
        (true, true) => Some(PlacedExit::Return),
        (true, false) => Some(PlacedExit::At(returns(code)?)),
    };
    Some(Placement {
        entry,
        cost: SiteCost::Emulated,
        exit,
    })
}

/// The first simulated instruction, on the straight way from the entry, before which
/// nothing writes to an argument. Go passes its first arguments in the same registers.
fn entry(code: &Code<'_>, wanted: Wanted) -> Option<u64> {
    let mut begins_anew = wanted.convention == Convention::Go && has_jump_to(code, code.address);
    for (at, word) in words(code).take(MAX_STEPS) {
        match kind(at, word) {
            Kind::ConditionalBranch { .. } if begins_anew => {
                // The check of the stack, which runs a second time after it has grown.
                begins_anew = false;
            }
            kind if is_simulated(kind) => {
                return (!is_jumped_to(code, at)).then_some(at);
            }
            Kind::Other | Kind::Unprobeable
                if !is_other_branch(word) && !writes_argument(word, wanted.arguments) => {}
            _ => return None,
        }
    }
    None
}

fn has_jump_to(code: &Code<'_>, target: u64) -> bool {
    let jump = Kind::Branch {
        target,
        link: false,
    };
    words(code).any(|(at, word)| kind(at, word) == jump)
}

/// `retaa`, `braa`, `eret` and their like; `svc`, `brk`.
const fn is_other_branch(word: u32) -> bool {
    word & 0xfe00_0000 == 0xd600_0000 || word & 0xff00_0000 == 0xd400_0000
}

fn is_jumped_to(code: &Code<'_>, site: u64) -> bool {
    site != code.address
        && words(code).any(|(at, word)| match kind(at, word) {
            Kind::Branch {
                target,
                link: false,
            }
            | Kind::ConditionalBranch { target } => target > code.address && target <= site,
            _ => false,
        })
}

/// Every `ret`, if the function is known whole and has no other way out.
fn returns(code: &Code<'_>) -> Option<Vec<u64>> {
    let end = code.address.saturating_add(code.bytes.len() as u64);
    let inside = |target| (code.address..end).contains(&target);
    let mut returns = Vec::new();
    for (at, word) in words(code) {
        match kind(at, word) {
            Kind::Return => returns.push(at),
            Kind::IndirectBranch { link: false } => return None,
            Kind::Branch {
                target,
                link: false,
            } if !inside(target) => return None,
            Kind::ConditionalBranch { target } if !inside(target) => return None,
            Kind::Unprobeable if is_other_branch(word) => return None,
            _ => {}
        }
    }
    (code.whole && (1..=MAX_RETURNS).contains(&returns.len())).then_some(returns)
}

/// Whether the instruction may write to one of the first `arguments` registers. Classes
/// of instructions as the architecture's top-level encoding has them (bits 28 to 25).
fn writes_argument(word: u32, arguments: usize) -> bool {
    let argument = |register: u32| (register as usize) < arguments;
    let (rd, rn, rt2) = (word & 31, (word >> 5) & 31, (word >> 10) & 31);
    let vector = word & (1 << 26) != 0;
    match (word >> 25) & 0xf {
        // loads from beside the code
        _ if word & 0x3b00_0000 == 0x1800_0000 => !vector && argument(rd),
        // other loads and stores
        0b0100 | 0b0110 | 0b1100 | 0b1110 => {
            let pair = word & 0x3800_0000 == 0x2800_0000;
            let (load, writeback) = if pair {
                (word & (1 << 22) != 0, word & (1 << 23) != 0)
            } else {
                let unscaled = word & 0x3b20_0000 == 0x3800_0000;
                (word & 0x00c0_0000 != 0, unscaled && word & (1 << 10) != 0)
            };
            // Atomics and structure loads are not told apart.
            let plain = pair
                || word & 0x3b00_0000 == 0x3900_0000
                || word & 0x3b20_0000 == 0x3800_0000
                || word & 0x3b20_0c00 == 0x3820_0800;
            let loaded = load && !vector && (argument(rd) || (pair && argument(rt2)));
            loaded || (writeback && argument(rn)) || (!plain && (argument(rd) || argument(rn)))
        }
        // Hints and barriers write to none of these; mrs does.
        0b1010 | 0b1011 => word & 0xfff0_0000 == 0xd530_0000 && argument(rd),
        _ => argument(rd),
    }
}

pub fn first(code: &Code<'_>, convention: Convention) -> Option<First> {
    let mut rest = words(code);
    if convention == Convention::Go && has_jump_to(code, code.address) {
        rest.by_ref()
            .take(MAX_STEPS)
            .find(|&(at, word)| matches!(kind(at, word), Kind::ConditionalBranch { .. }))?;
    }
    let (at, word) = rest.next()?;
    let kind = kind(at, word);
    Some(First {
        address: at,
        fires: kind != Kind::Unprobeable,
        emulated: is_simulated(kind),
    })
}

pub fn leaves_to(code: &Code<'_>) -> Vec<u64> {
    let end = code.address.saturating_add(code.bytes.len() as u64);
    words(code)
        .filter_map(|(at, word)| match kind(at, word) {
            Kind::Branch { target, .. } => Some(target),
            _ => None,
        })
        .filter(|target| !(code.address..end).contains(target))
        .collect()
}

pub fn calls_to(code: &Code<'_>, target: u64) -> Vec<u64> {
    let call = Kind::Branch { target, link: true };
    words(code)
        .filter(|&(at, word)| kind(at, word) == call)
        .map(|(at, _)| at)
        .collect()
}

/// `str x0, [sp, #…]`, the first
pub fn go_home_of_first_argument(code: &Code<'_>) -> Option<u32> {
    let (_, store) = words(code).find(|(_, word)| word & 0xffc0_03ff == 0xf900_03e0)?;
    Some(((store >> 10) & 0xfff) << 3)
}

/// `adrp x16, …; ldr x17, [x16, #…]; add x16, …; br x17`, maybe after `bti c`
pub fn linkage_slot(code: &Code<'_>) -> Option<u64> {
    const LDR_X17_X16: u32 = 0xf940_0211;
    let mut rest = words(code).skip_while(|(_, word)| *word == BTI_C);
    let (at, page) = rest
        .next()
        .filter(|(_, word)| word & 0x9f00_001f == 0x9000_0010)?;
    let (_, load) = rest
        .next()
        .filter(|(_, word)| word & 0xffc0_03ff == LDR_X17_X16)?;
    let page = (at & !0xfff).wrapping_add_signed(page_distance(page));
    Some(page.wrapping_add(u64::from((load >> 10) & 0xfff) << 3))
}

/// `adrp x0, …; add x0, x0, #…; ret`, maybe after `bti c`.
pub fn returned_address(code: &Code<'_>) -> Option<u64> {
    let mut page = None;
    let mut address = None;
    for (at, word) in words(code).take(4) {
        match (kind(at, word), address) {
            (Kind::Address, None) if word & 0x8000_001f == 0x8000_0000 => {
                page = Some((at & !0xfff).wrapping_add_signed(page_distance(word)));
            }
            (Kind::Other, None) if word & 0xffc0_03ff == 0x9100_0000 => {
                address = page.map(|page: u64| page.wrapping_add(u64::from((word >> 10) & 0xfff)));
            }
            (Kind::Return, Some(_)) => return address,
            (Kind::Other, None) if word == BTI_C => {}
            _ => return None,
        }
    }
    None
}

/// Bytes from the page of an `adrp` to the one that it names.
fn page_distance(word: u32) -> i64 {
    let field = ((word >> 5) & 0x7_ffff) << 2 | ((word >> 29) & 3);
    i64::from((field << 11).cast_signed() >> 11) << 12
}

/// `ldr x?, [x?, #displacement]` from another base than the stack.
pub fn reads_field(code: &Code<'_>, displacement: u64) -> bool {
    words(code).any(|(_, word)| {
        word & 0xffc0_0000 == 0xf940_0000
            && u64::from((word >> 10) & 0xfff) << 3 == displacement
            && (word >> 5) & 31 != 31
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::image::Machine;
    use super::*;

    const AT: u64 = 0x1000;
    const FIVE: Wanted = Wanted {
        convention: Convention::C,
        arguments: 5,
        result: true,
    };

    const PACIASP: u32 = 0xd503_233f;
    const AUTIASP: u32 = 0xd503_23bf;
    const STP_FP_LR: u32 = 0xa9be_7bfd;
    const MOV_X29_SP: u32 = 0x9100_03fd;
    const SUB_SP: u32 = 0xd100_c3ff;
    const TBNZ_W2: u32 = 0x37f8_0042;
    const CBZ_X0: u32 = 0xb400_0040;
    const BL: u32 = 0x9400_0040;
    const B_AWAY: u32 = 0x1400_0040;
    const RET: u32 = 0xd65f_03c0;
    const RETAA: u32 = 0xd65f_0bff;
    const BR_X17: u32 = 0xd61f_0220;
    const ADRP_X4: u32 = 0xd000_0004;
    const LDR_LITERAL: u32 = 0x5800_0044;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn code(bytes: &[u8]) -> Code<'_> {
        Code {
            machine: Machine::Aarch64,
            address: AT,
            bytes,
            whole: true,
        }
    }

    fn place(words: &[u32], wanted: Wanted) -> Option<(u64, Option<PlacedExit>)> {
        let bytes = bytes(words);
        let placement = cheap(&code(&bytes), wanted)?;
        assert_eq!(placement.cost, SiteCost::Emulated);
        Some((placement.entry - AT, placement.exit))
    }

    fn returns_at(distances: &[u64]) -> Option<PlacedExit> {
        Some(PlacedExit::At(distances.iter().map(|d| AT + d).collect()))
    }

    #[test]
    fn past_the_first_instruction_the_result_is_seen_at_each_ret() {
        let wrapper = [
            PACIASP, STP_FP_LR, MOV_X29_SP, TBNZ_W2, BL, AUTIASP, RET, RET,
        ];
        assert_eq!(place(&wrapper, FIVE), Some((12, returns_at(&[24, 28]))));
        let call = [SUB_SP, STP_FP_LR, BL, RET];
        assert_eq!(place(&call, FIVE), Some((8, returns_at(&[12]))));
    }

    #[test]
    fn at_the_first_instruction_a_return_probe_is_safe() {
        assert_eq!(
            place(&[CBZ_X0, PACIASP, BR_X17], FIVE),
            Some((0, Some(PlacedExit::Return)))
        );
    }

    #[test]
    fn another_way_out_forbids_it() {
        for way_out in [B_AWAY, BR_X17, RETAA] {
            assert_eq!(
                place(&[SUB_SP, TBNZ_W2, RET, way_out], FIVE),
                None,
                "{way_out:x}"
            );
        }
        let bytes = bytes(&[SUB_SP, TBNZ_W2, RET]);
        let unknown_end = Code {
            whole: false,
            ..code(&bytes)
        };
        assert_eq!(cheap(&unknown_end, FIVE), None);
        let no_result = Wanted {
            result: false,
            ..FIVE
        };
        assert_eq!(
            cheap(&unknown_end, no_result).map(|p| p.entry),
            Some(AT + 4)
        );
    }

    #[test]
    fn the_arguments_must_survive() {
        for (written, upto) in [
            (0xf940_1801_u32, 1), // ldr x1, [x0, #48]
            (0xf800_8405, 0),     // str x5, [x0], #8
            (0xa940_27e2, 2),     // ldp x2, x9, [sp]
            (0xf821_00a9, 5),     // ldadd x1, x9, [x5]
            (0xaa13_03e0, 0),     // mov x0, x19
            (0xd280_0003, 3),     // mov x3, #0
            (ADRP_X4, 4),
        ] {
            for arguments in 0..=5 {
                let writes = writes_argument(written, arguments);
                assert_eq!(writes, arguments > upto, "{written:x} {arguments}");
            }
        }
        // str x0, [sp, #8]; mov x19, x0; cmp w2, #0; ldr q0, [x9]
        for reads in [0xf900_07e0, 0xaa00_03f3, 0x7100_005f, 0x3dc0_0120] {
            assert!(!writes_argument(reads, 5), "{reads:x}");
        }
    }

    #[test]
    fn silent_instructions_get_no_probe() {
        let first = |word: u32| {
            first(&code(&word.to_le_bytes()), Convention::C).map(|f| (f.fires, f.emulated))
        };
        // ldr literal, ldxr, svc, retaa, wfi
        for silent in [LDR_LITERAL, 0xc85f_7c41, 0xd400_0001, RETAA, 0xd503_207f] {
            assert_eq!(first(silent), Some((false, false)), "{silent:x}");
        }
        for stepped in [PACIASP, BTI_C, STP_FP_LR, SUB_SP, 0xd503_201f] {
            assert_eq!(first(stepped), Some((true, false)), "{stepped:x}");
        }
        for simulated in [CBZ_X0, BL, B_AWAY, RET, ADRP_X4] {
            assert_eq!(first(simulated), Some((true, true)), "{simulated:x}");
        }
        // ldr x9, literal: passed over, the site is behind it; ldr x4 loses an argument.
        let other = [SUB_SP, 0x5800_0049, CBZ_X0, RET, RET];
        assert_eq!(place(&other, FIVE), Some((8, returns_at(&[12, 16]))));
        assert_eq!(place(&[SUB_SP, LDR_LITERAL, CBZ_X0, RET], FIVE), None);
    }

    #[test]
    fn a_go_function_is_probed_past_the_check_of_its_stack() {
        let three = Wanted {
            convention: Convention::Go,
            arguments: 3,
            result: false,
        };
        let back = 0x17ff_fffc;
        // ldr x16, [x28, #16]; b.ls; tbnz w2; ret; b to the first
        let grows = [0xf940_0b90, 0x5400_0069, TBNZ_W2, RET, back];
        assert_eq!(place(&grows, three), Some((8, None)));
        assert_eq!(place(&grows[..4], three), Some((4, None)));
        // A loop that comes back to the site: then the first instruction past the check.
        let looped = [
            0xf940_0b90,
            0x5400_0069,
            STP_FP_LR,
            TBNZ_W2,
            0x17ff_ffff,
            RET,
            0x17ff_fffa,
        ];
        assert_eq!(place(&looped, three), None);
        let looped = bytes(&looped);
        let first = code(&looped).at_entry(three).unwrap();
        assert_eq!((first.entry, first.cost), (AT + 8, SiteCost::Stepped));
        let code_bytes = bytes(&[0xf900_3fe0, BL]);
        assert_eq!(code(&code_bytes).go_home_of_first_argument(), Some(0x78));
        assert_eq!(code(&code_bytes).calls_to(AT + 4 + 0x100), [AT + 4]);
    }

    #[test]
    fn shapes_of_wrappers() {
        let jump = bytes(&[STP_FP_LR, BL, B_AWAY]);
        assert_eq!(code(&jump).leaves_to(), [AT + 4 + 0x100, AT + 8 + 0x100]);

        // adrp x16, two pages on; ldr x17, [x16, #0x18]; add x16, …; br x17
        let stub = bytes(&[BTI_C, 0xd000_0010, 0xf940_0e11, 0x9100_6210, BR_X17]);
        assert_eq!(code(&stub).linkage_slot(), Some(0x1000 + 0x2000 + 0x18));
        assert_eq!(code(&stub[8..]).linkage_slot(), None);

        // adrp x0, five pages on; add x0, x0, #0x1e0; ret
        let returned = bytes(&[0xb000_0020, 0x9107_8000, RET]);
        assert_eq!(
            code(&returned).returned_address(),
            Some(0x1000 + 0x5000 + 0x1e0)
        );

        assert!(code(&0xf940_1c84_u32.to_le_bytes()).reads_field(0x38));
        assert!(!code(&0xf940_1c84_u32.to_le_bytes()).reads_field(0x50));
        assert!(!code(&0xf940_1fe4_u32.to_le_bytes()).reads_field(0x38));
    }

    #[test]
    fn backward_branches_have_negative_distances() {
        // b .-4 ; tbz w0, #0, .-8
        assert_eq!(
            kind(AT, 0x17ff_ffff),
            Kind::Branch {
                target: AT - 4,
                link: false
            }
        );
        assert_eq!(
            kind(AT, 0x3607_ffc0),
            Kind::ConditionalBranch { target: AT - 8 }
        );
    }
}
