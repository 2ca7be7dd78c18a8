//! The rules of [`super`] for x86-64.

use std::collections::BTreeSet;

use iced_x86::{
    Code as Op, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, OpAccess, OpKind, Register,
};
use memchr::memchr_iter;

use super::super::image::{Image, ImageError};
use super::{AROUND, Arguments, BEFORE, Reference};

/// Bytes of `lea r64, [rip+…]`, less one.
pub const OVERLAP: usize = 6;
/// Bytes of `call rel32`.
pub const CALL: usize = 5;

/// Numbers that instructions use for the registers of arguments, in their order.
const ARGUMENTS: [u8; 5] = [7, 6, 2, 1, 8];

fn argument_of(register: u8) -> Option<usize> {
    ARGUMENTS.iter().position(|&argument| argument == register)
}

fn displacement(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(i64::from(i32::from_le_bytes(*word)).cast_unsigned())
}

/// `lea r64, [rip+…]`, or `mov r32, …` where addresses fit.
pub fn references(bytes: &[u8], address: u64, target: u64, add: &mut impl FnMut(Reference)) {
    let mut add = |at: usize, register: u8| {
        if let Some(argument) = argument_of(register) {
            add(Reference {
                address: address.wrapping_add(at as u64),
                argument,
            });
        }
    };
    for opcode in memchr_iter(0x8d, bytes) {
        let Some(start) = opcode.checked_sub(1) else {
            continue;
        };
        let Some([rex, _, modrm]) = bytes.get(start..).and_then(|b| b.first_chunk::<3>()) else {
            continue;
        };
        if rex & 0xfb != 0x48 || modrm & 0xc7 != 0x05 {
            continue;
        }
        let next = address.wrapping_add(start as u64).wrapping_add(7);
        if displacement(bytes, start.saturating_add(3)).map(|d| next.wrapping_add(d))
            == Some(target)
        {
            add(start, (modrm >> 3) & 7 | (rex & 4) << 1);
        }
    }
    let Ok(short) = u32::try_from(target) else {
        return;
    };
    for operand in memchr::memmem::find_iter(bytes, &short.to_le_bytes()) {
        let Some(start) = operand.checked_sub(1) else {
            continue;
        };
        let extended = start.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&0x41);
        if let Some(opcode @ 0xb8..=0xbf) = bytes.get(start) {
            add(start, opcode & 7 | u8::from(extended) << 3);
        }
    }
}

/// Calls `each` for each `call rel32` that does not end inside the first `carried` bytes.
pub fn calls(bytes: &[u8], address: u64, carried: usize, each: &mut impl FnMut(u64, u64)) {
    for at in memchr_iter(0xe8, bytes) {
        let end = at.saturating_add(CALL);
        if let Some(distance) = displacement(bytes, at.saturating_add(1))
            && end > carried
        {
            let site = address.wrapping_add(at as u64);
            each(
                site,
                address.wrapping_add(end as u64).wrapping_add(distance),
            );
        }
    }
}

/// Functions before the places that begin with `push rbp; mov rbp, rsp`, on a multiple
/// of 16: not all are called directly.
pub fn framed(
    image: &Image<'_>,
    places: &[u64],
    add: &mut impl FnMut(u64),
) -> Result<(), ImageError> {
    const FRAME: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
    let mut searched = 0;
    for &place in places {
        let from = place.saturating_sub(BEFORE).max(searched) & !15;
        let size = usize::try_from(place.saturating_sub(from)).unwrap_or(0);
        let bytes = image.code(from, size)?;
        for at in memchr::memmem::find_iter(&bytes, &FRAME) {
            let start = from.saturating_add(at as u64);
            if start & 15 == 0 {
                add(start);
            }
        }
        searched = place;
    }
    Ok(())
}

/// Whether code does not run on behind these bytes: they end with a return, a jump, a trap,
/// a call (of what never returns) or padding.
pub fn ends_flow(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [.., 0xc3 | 0xcc | 0x90]
            | [.., 0x0f, 0x0b]
            | [.., 0xeb, _]
            | [.., 0xe8 | 0xe9, _, _, _, _]
            | [.., 0xff, 0x15 | 0x25, _, _, _, _]
            | [.., 0xff, 0xd0..=0xd7 | 0xe0..=0xe7]
            | [.., 0x0f, 0x1f, 0x00]
            | [.., 0x0f, 0x1f, 0x40 | 0x44, 0x00]
            | [.., 0x00, 0x00, 0x00, 0x00]
    )
}

fn decode(bytes: &[u8], address: u64) -> impl Iterator<Item = Instruction> {
    Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).into_iter()
}

/// `mov r32, constant`
fn constant(instruction: &Instruction) -> Option<(usize, u32)> {
    const NUMBERS: [(Register, usize); 5] = [
        (Register::EDI, 0),
        (Register::ESI, 1),
        (Register::EDX, 2),
        (Register::ECX, 3),
        (Register::R8D, 4),
    ];
    let is_constant =
        instruction.mnemonic() == Mnemonic::Mov && instruction.op1_kind() == OpKind::Immediate32;
    let register = instruction.op0_register();
    let argument = NUMBERS.iter().find(|(name, _)| *name == register)?.1;
    is_constant.then(|| (argument, instruction.immediate32()))
}

/// `push constant`, which a `pop` into the register follows where code is to be short
fn pushed(instruction: &Instruction) -> Option<u32> {
    (instruction.code() == Op::Pushq_imm8).then(|| instruction.immediate8to64() as u32)
}

/// `pop r64`
fn popped(instruction: &Instruction) -> Option<usize> {
    if instruction.code() != Op::Pop_r64 {
        return None;
    }
    argument_of(u8::try_from(instruction.op0_register().number()).ok()?)
}

fn leaves(instruction: &Instruction) -> bool {
    matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::Return
    )
}

/// What is set on the straight way through `at`, between two calls or jumps.
pub fn arguments(bytes: &[u8], address: u64, at: u64) -> Arguments {
    let mut found = [None; 5];
    // Where instructions begin before `at` is not known: the first way that meets it.
    for skip in 0..=AROUND {
        let from = usize::try_from(skip).unwrap_or(usize::MAX);
        let code = bytes.get(from..).unwrap_or_default();
        let way = || decode(code, address.wrapping_add(skip));
        if !way()
            .take_while(|i| i.ip() <= at)
            .any(|i| i.ip() == at && !i.is_invalid())
        {
            continue;
        }
        let mut short = None;
        for instruction in way() {
            let behind = instruction.ip() > at;
            if leaves(&instruction) {
                if behind {
                    break;
                }
                found = [None; 5];
            }
            let set = constant(&instruction).or_else(|| popped(&instruction).zip(short));
            if let Some((argument, value)) = set
                && let Some(slot) = found.get_mut(argument)
            {
                *slot = Some(value);
            }
            short = pushed(&instruction);
        }
        break;
    }
    found
}

/// Whether the first instruction that names the register of an argument reads it.
pub fn takes(bytes: &[u8], address: u64, argument: usize) -> bool {
    const REGISTERS: [Register; 5] = [
        Register::RDI,
        Register::RSI,
        Register::RDX,
        Register::RCX,
        Register::R8,
    ];
    let Some(register) = REGISTERS.get(argument) else {
        return false;
    };
    let mut factory = InstructionInfoFactory::new();
    let first = decode(bytes, address).find_map(|instruction| {
        let used = factory.info(&instruction).used_registers();
        let named = used
            .iter()
            .filter(|u| u.register().full_register() == *register);
        let reads =
            named.map(|used| !matches!(used.access(), OpAccess::Write | OpAccess::CondWrite));
        reads.reduce(|one, other| one || other)
    });
    first.unwrap_or(false)
}

pub fn constants(bytes: &[u8], address: u64, argument: usize) -> BTreeSet<u32> {
    decode(bytes, address)
        .filter_map(|instruction| constant(&instruction))
        .filter(|(of, _)| *of == argument)
        .map(|(_, value)| value)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_taken_where_it_is_read_before_it_is_set() {
        const FIFTH: usize = 4;
        // push r15; mov r15, r8
        assert!(takes(b"\x41\x57\x4d\x89\xc7", 0, FIFTH));
        // mov [rsp+8], r8d
        assert!(takes(b"\x44\x89\x44\x24\x08", 0, FIFTH));
        // mov r8, rcx; mov r15, r8
        assert!(!takes(b"\x49\x89\xc8\x4d\x89\xc7", 0, FIFTH));
        // xor r8d, r8d
        assert!(!takes(b"\x45\x31\xc0", 0, FIFTH));
        // mov rbx, rdi
        assert!(takes(b"\x48\x89\xfb", 0, 0) && !takes(b"\x48\x89\xfb", 0, FIFTH));
    }
}
