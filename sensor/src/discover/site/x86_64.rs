//! The rules of [`super`] for x86-64: what `arch/x86/kernel/uprobes.c` emulates, and the
//! System V calling convention.
//!
//! A return probe may stand wherever the stack pointer is still that of the entry.

use iced_x86::{Code as Op, Decoder, DecoderOptions, FlowControl, Instruction};
use iced_x86::{Mnemonic, OpKind, Register};

use super::super::plan::SiteCost;
use super::{Code, Convention, First, PlacedExit, Placement, Wanted};

/// Integer arguments in their order.
const fn arguments(convention: Convention) -> [Register; 6] {
    use Register::{R8, R9, RAX, RBX, RCX, RDI, RDX, RSI};
    match convention {
        Convention::C => [RDI, RSI, RDX, RCX, R8, R9],
        Convention::Go => [RAX, RBX, RCX, RDI, RSI, R8],
    }
}

/// How far from the entry a site is looked for.
const MAX_STEPS: usize = 10;
/// Prefixes that make the kernel refuse a probe without a word: the segment overrides
/// that mean nothing in 64-bit code, and `lock`.
const REFUSED_PREFIXES: [u8; 5] = [0x26, 0x2e, 0x36, 0x3e, 0xf0];

/// Instructions with their bytes, up to the first that is none.
fn instructions<'c>(code: &Code<'c>) -> impl Iterator<Item = (Instruction, &'c [u8])> {
    let bytes = code.bytes;
    let address = code.address;
    let decoder = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE);
    decoder
        .into_iter()
        .take_while(|i| !i.is_invalid())
        .map(move |instruction| {
            let start = instruction.ip().wrapping_sub(address) as usize;
            let end = start.saturating_add(instruction.len());
            (instruction, bytes.get(start..end).unwrap_or_default())
        })
}

/// Kernels from 5.10 on take no single step for these. (Newer ones emulate some longer
/// `nop`s as well; they are not counted on.)
fn is_emulated(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0x50..=0x57]                       // push
            | [0x41, 0x50..=0x57]           // push r8 to r15
            | [0x90] | [0x66, 0x90]         // nop
            | [0xe8 | 0xe9, _, _, _, _]     // call, jmp
            | [0xeb | 0x70..=0x7f, _]       // jmp, jcc
            | [0x0f, 0x80..=0x8f, _, _, _, _]
    )
}

fn has_refused_prefix(bytes: &[u8]) -> bool {
    let is_prefix = |byte: &&u8| {
        matches!(
            **byte,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3
        )
    };
    bytes
        .iter()
        .take_while(is_prefix)
        .any(|byte| REFUSED_PREFIXES.contains(byte))
}

pub fn cheap(code: &Code<'_>, wanted: Wanted) -> Option<Placement> {
    let registers = arguments(wanted.convention);
    let kept = registers.get(..wanted.arguments).unwrap_or(&registers);
    let stack = wanted.result || wanted.arguments > registers.len();
    let mut begins_anew = wanted.convention == Convention::Go && has_jump_to(code, code.address);
    for (instruction, bytes) in instructions(code).take(MAX_STEPS) {
        if begins_anew && instruction.flow_control() == FlowControl::ConditionalBranch {
            // The check of the stack, which runs a second time after the stack has grown.
            begins_anew = false;
            continue;
        }
        if is_emulated(bytes) {
            let entry = instruction.ip();
            return (!is_jumped_to(code, entry)).then(|| Placement {
                entry,
                cost: SiteCost::Emulated,
                exit: wanted.result.then_some(PlacedExit::Return),
            });
        }
        if !keeps(&instruction, kept, stack) {
            return None;
        }
    }
    None
}

/// Whether the arguments (and the stack pointer, where it is needed) are
/// after this instruction what they were before, and the next one always runs.
fn keeps(instruction: &Instruction, kept: &[Register], stack: bool) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Endbr64 | Mnemonic::Test | Mnemonic::Cmp | Mnemonic::Nop => true,
        Mnemonic::Sub if instruction.op0_register() == Register::RSP => !stack,
        Mnemonic::Mov
        | Mnemonic::Xor
        | Mnemonic::Lea
        | Mnemonic::Movzx
        | Mnemonic::Movsx
        | Mnemonic::Movsxd => {
            let target = instruction.op0_register().full_register();
            instruction.op0_kind() == OpKind::Register
                && target.is_gpr64()
                && target != Register::RSP
                && !kept.contains(&target)
        }
        _ => false,
    }
}

/// Whether a loop comes back to the site, which would look like another call.
fn is_jumped_to(code: &Code<'_>, site: u64) -> bool {
    let inside = |target| target > code.address && target <= site;
    site != code.address
        && instructions(code)
            .filter_map(|(i, _)| direct_target(&i))
            .any(inside)
}

fn has_jump_to(code: &Code<'_>, target: u64) -> bool {
    instructions(code).any(|(i, _)| {
        i.flow_control() == FlowControl::UnconditionalBranch && direct_target(&i) == Some(target)
    })
}

pub fn first(code: &Code<'_>, convention: Convention) -> Option<First> {
    let mut rest = instructions(code);
    if convention == Convention::Go && has_jump_to(code, code.address) {
        rest.by_ref()
            .take(MAX_STEPS)
            .find(|(i, _)| i.flow_control() == FlowControl::ConditionalBranch)?;
    }
    let (instruction, bytes) = rest.next()?;
    let plain = matches!(
        instruction.mnemonic(),
        Mnemonic::Endbr64
            | Mnemonic::Push
            | Mnemonic::Sub
            | Mnemonic::Add
            | Mnemonic::And
            | Mnemonic::Mov
            | Mnemonic::Movsxd
            | Mnemonic::Test
            | Mnemonic::Cmp
            | Mnemonic::Xor
            | Mnemonic::Lea
    );
    let emulated = is_emulated(bytes);
    let fires = (emulated || plain) && !has_refused_prefix(bytes);
    Some(First {
        address: instruction.ip(),
        fires,
        emulated,
    })
}

fn direct_target(instruction: &Instruction) -> Option<u64> {
    let direct = matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
    );
    (direct && instruction.op0_kind() == OpKind::NearBranch64).then(|| instruction.near_branch64())
}

pub fn leaves_to(code: &Code<'_>) -> Vec<u64> {
    let end = code.address.saturating_add(code.bytes.len() as u64);
    instructions(code)
        .filter(|(i, _)| i.flow_control() != FlowControl::ConditionalBranch)
        .filter_map(|(i, _)| direct_target(&i))
        .filter(|target| !(code.address..end).contains(target))
        .collect()
}

pub fn calls_to(code: &Code<'_>, target: u64) -> Vec<u64> {
    instructions(code)
        .map(|(i, _)| i)
        .filter(|i| i.flow_control() == FlowControl::Call && direct_target(i) == Some(target))
        .map(|i| i.ip())
        .collect()
}

/// `mov [rsp+…], rax`, the first
pub fn go_home_of_first_argument(code: &Code<'_>) -> Option<u32> {
    let stores = |i: &Instruction| {
        i.code() == Op::Mov_rm64_r64
            && i.op0_kind() == OpKind::Memory
            && i.memory_base() == Register::RSP
            && i.memory_index() == Register::None
            && i.op1_register() == Register::RAX
    };
    let store = instructions(code).map(|(i, _)| i).find(stores)?;
    u32::try_from(store.memory_displacement64()).ok()
}

pub fn linkage_slot(code: &Code<'_>) -> Option<u64> {
    let first = instructions(code)
        .map(|(i, _)| i)
        .find(|i| i.mnemonic() != Mnemonic::Endbr64)?;
    (first.code() == Op::Jmp_rm64 && first.is_ip_rel_memory_operand())
        .then(|| first.ip_rel_memory_address())
}

pub fn returned_address(code: &Code<'_>) -> Option<u64> {
    let mut rest = instructions(code)
        .map(|(i, _)| i)
        .skip_while(|i| i.mnemonic() == Mnemonic::Endbr64);
    let set = rest
        .next()
        .filter(|i| i.op0_register().full_register() == Register::RAX)?;
    let address = match set.mnemonic() {
        Mnemonic::Lea if set.is_ip_rel_memory_operand() => set.ip_rel_memory_address(),
        Mnemonic::Mov if set.op1_kind() == OpKind::Immediate32 => u64::from(set.immediate32()),
        _ => return None,
    };
    (rest.next()?.flow_control() == FlowControl::Return).then_some(address)
}

pub fn reads_field(code: &Code<'_>, displacement: u64) -> bool {
    instructions(code).map(|(i, _)| i).any(|i| {
        let pointer = matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Call | Mnemonic::Jmp);
        let loads = (0..i.op_count())
            .next_back()
            .is_some_and(|last| i.op_kind(last) == OpKind::Memory);
        pointer
            && loads
            && i.memory_displacement64() == displacement
            && i.memory_index() == Register::None
            && i.memory_base().is_gpr64()
            && i.memory_base() != Register::RSP
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

    fn code(bytes: &[u8]) -> Code<'_> {
        Code {
            machine: Machine::X86_64,
            address: AT,
            bytes,
            whole: true,
        }
    }

    /// Distance of the cheap site from the entry.
    fn site(bytes: &[u8], wanted: Wanted) -> Option<u64> {
        let placement = cheap(&code(bytes), wanted)?;
        assert_eq!(placement.cost, SiteCost::Emulated);
        assert_eq!(placement.exit, wanted.result.then_some(PlacedExit::Return));
        Some(placement.entry - AT)
    }

    #[test]
    fn sites_of_known_prologues() {
        let cases: [(&str, &[u8], Option<u64>); 9] = [
            ("push r13", b"\x41\x55\x41\x54", Some(0)),
            ("endbr64; push r14", b"\xf3\x0f\x1e\xfa\x41\x56", Some(4)),
            (
                "test rdi,rdi; je",
                b"\x48\x85\xff\x0f\x84\x57\x01\x00\x00",
                Some(3),
            ),
            (
                "endbr64; mov rax,[rdi]; je",
                b"\xf3\x0f\x1e\xfa\x48\x8b\x07\x74\x01",
                Some(7),
            ),
            ("sub rsp,0x18; push", b"\x48\x83\xec\x18\x50", None),
            ("mov rdx,rcx; push", b"\x48\x89\xca\x50", None),
            ("xor edx,edx; push", b"\x31\xd2\x50", None),
            ("mov [rdi],eax; push", b"\x89\x07\x50", None),
            ("ret", b"\xc3\x50", None),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(site(bytes, FIVE), expected, "{name}");
        }
    }

    #[test]
    fn only_wanted_arguments_must_survive() {
        let lea_r8_then_push = b"\x4c\x8d\x05\x00\x00\x00\x00\x55";
        assert_eq!(site(lea_r8_then_push, FIVE), None);
        let four = Wanted {
            arguments: 4,
            ..FIVE
        };
        assert_eq!(site(lea_r8_then_push, four), Some(7));
    }

    #[test]
    fn without_a_result_the_stack_may_have_moved() {
        let sub_rsp_then_call = b"\x48\x83\xec\x08\xe8\x00\x00\x00\x00";
        assert_eq!(site(sub_rsp_then_call, FIVE), None);
        let no_result = Wanted {
            result: false,
            ..FIVE
        };
        assert_eq!(site(sub_rsp_then_call, no_result), Some(4));
    }

    #[test]
    fn long_and_prefixed_forms_are_not_emulated() {
        // nopl, cs nopw, push with an operand-size prefix, jmp through memory
        for bytes in [
            &b"\x0f\x1f\x44\x00\x00"[..],
            b"\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00",
            b"\x66\x50",
            b"\xff\x25\x00\x00\x00\x00",
            b"\x66\x0f\x84\x00\x00",
        ] {
            assert!(!is_emulated(bytes), "{bytes:x?}");
        }
    }

    #[test]
    fn a_site_in_a_loop_is_refused() {
        // test rdi,rdi; push rbx; jmp to the push
        assert_eq!(site(b"\x48\x85\xff\x53\xeb\xfd", FIVE), None);
        assert_eq!(site(b"\x48\x85\xff\x53\xeb\x01", FIVE), Some(3));
    }

    #[test]
    fn silent_instructions_get_no_probe() {
        let first = |bytes| first(&code(bytes), Convention::C).map(|f| (f.fires, f.emulated));
        assert_eq!(
            first(b"\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00"),
            Some((false, false))
        );
        assert_eq!(first(b"\x2e\x48\x89\xd8"), Some((false, false)));
        assert_eq!(first(b"\xcc"), Some((false, false)));
        assert_eq!(first(b"\x48\x83\xec\x18"), Some((true, false)));
        assert_eq!(first(b"\xf3\x0f\x1e\xfa"), Some((true, false)));
        assert_eq!(first(b"\x55"), Some((true, true)));
        assert_eq!(first(b""), None);
    }

    #[test]
    fn a_go_function_is_probed_past_the_check_of_its_stack() {
        let three = Wanted {
            convention: Convention::Go,
            arguments: 3,
            result: false,
        };
        // cmp rsp,[r14+0x10]; jbe +3; push rbp; mov rbp,rsp; jmp 0
        let grows = b"\x49\x3b\x66\x10\x76\x03\x55\x89\xe5\xeb\xf5";
        assert_eq!(site(grows, three), Some(6));
        // The same, and nothing begins anew.
        let plain = b"\x49\x3b\x66\x10\x76\x03\x55\x89\xe5\xc3";
        assert_eq!(site(plain, three), Some(4));
        // mov rbx,rax; push: the second argument is gone.
        assert_eq!(site(b"\x48\x89\xc3\x55", three), None);
        assert_eq!(
            code(b"\x48\x89\x44\x24\x68").go_home_of_first_argument(),
            Some(0x68)
        );
        assert_eq!(
            code(b"\x48\x89\x5c\x24\x68").go_home_of_first_argument(),
            None
        );
        assert_eq!(
            code(b"\x90\xe8\x10\x00\x00\x00").calls_to(AT + 0x16),
            [AT + 1]
        );
    }

    #[test]
    fn shapes_of_wrappers() {
        let forward = b"\xf3\x0f\x1e\xfa\x49\x89\xc8\x31\xc9\xe9\x00\x01\x00\x00";
        assert_eq!(code(forward).leaves_to(), [AT + 14 + 0x100]);

        let slot = |bytes| code(bytes).linkage_slot();
        assert_eq!(
            slot(b"\xf3\x0f\x1e\xfa\xff\x25\x10\x00\x00\x00"),
            Some(AT + 10 + 0x10)
        );
        assert_eq!(slot(b"\xf2\xff\x25\x10\x00\x00\x00"), Some(AT + 7 + 0x10));
        assert_eq!(slot(b"\x55\xff\x25\x10\x00\x00\x00"), None);

        let lea = b"\xf3\x0f\x1e\xfa\x48\x8d\x05\x10\x00\x00\x00\xc3";
        assert_eq!(code(lea).returned_address(), Some(AT + 11 + 0x10));
        assert_eq!(
            code(b"\xb8\x00\x20\x40\x00\xc3").returned_address(),
            Some(0x40_2000)
        );
        assert_eq!(code(b"\xb8\x00\x20\x40\x00\x55").returned_address(), None);

        // mov rax,[rax+0x38]; mov rax,[rsp+0x38]; mov [rax+0x38],rax
        assert!(code(b"\x48\x8b\x40\x38").reads_field(0x38));
        assert!(!code(b"\x48\x8b\x40\x38").reads_field(0x50));
        assert!(!code(b"\x48\x8b\x44\x24\x38").reads_field(0x38));
        assert!(!code(b"\x48\x89\x40\x38").reads_field(0x38));
    }
}
