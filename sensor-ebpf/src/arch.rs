//! The facts that differ between architectures: registers and system call numbers.

use aya_ebpf::bindings::pt_regs;
use aya_ebpf::programs::ProbeContext;

use crate::read;

/// The integer argument `n` of a function of C, at its entry; 0 where it can't be read.
#[inline(always)]
pub fn argument(ctx: &ProbeContext, n: usize) -> u64 {
    let Some(beyond) = n.checked_sub(REGISTERS) else {
        return ctx.arg(n).unwrap_or(0);
    };
    let stack = stack_pointer(ctx.regs) + RETURN_POPS;
    read::user(stack + 8 * beyond as u64).unwrap_or(0)
}

/// What a system call was asked, as far as it is of interest here.
pub struct Call {
    pub number: u64,
    pub args: [u64; 4],
    /// Fifth argument.
    pub fifth: u64,
}

#[cfg(bpf_target_arch = "x86_64")]
mod this {
    use super::*;

    /// What a return takes from the stack.
    pub const RETURN_POPS: u64 = 8;
    /// Arguments that are passed in registers.
    pub const REGISTERS: usize = 6;
    /// Whether the address of a large result is passed as the first argument.
    pub const RESULT_FIRST: bool = true;

    /// Where a function that returns more than fits registers stores it.
    pub fn result_place(regs: *const pt_regs) -> u64 {
        // SAFETY: the verifier checks accesses to the context of a probe.
        unsafe { (*regs).rdi }
    }

    pub fn stack_pointer(regs: *const pt_regs) -> u64 {
        // SAFETY: the verifier checks accesses to the context of a probe.
        unsafe { (*regs).rsp }
    }

    pub fn instruction(regs: *const pt_regs) -> u64 {
        // SAFETY: as above.
        unsafe { (*regs).rip }
    }

    /// Argument of a Go function; all but the first four are 0.
    #[inline(always)]
    pub fn go_argument(regs: *const pt_regs, n: usize) -> u64 {
        // SAFETY: as above.
        unsafe {
            match n {
                0 => (*regs).rax,
                1 => (*regs).rbx,
                2 => (*regs).rcx,
                3 => (*regs).rdi,
                _ => 0,
            }
        }
    }

    /// The register in which Go keeps the address of the running goroutine.
    #[inline(always)]
    pub fn go_current(regs: *const pt_regs) -> u64 {
        // SAFETY: as above.
        unsafe { (*regs).r14 }
    }

    /// Where that register is in the registers of a system call, in bytes.
    pub const GO_CURRENT: u64 = 8;

    /// How far into a call instruction the bytes are that a breakpoint leaves alone.
    pub const BESIDE: u64 = 1;

    /// Words of `pt_regs` from `r10` to `cs`.
    const R10: usize = 7;
    const WORDS: usize = 11;
    /// Code segment of 64-bit programs.
    const USER_CS: u64 = 0x33;

    /// The arguments as they still stand in the registers at the end of a system call;
    /// `None` for one of a 32-bit program, whose numbers differ.
    #[inline(always)]
    pub fn system_call(regs: u64) -> Option<Call> {
        let [r10, r9, r8, _ax, _cx, dx, si, di, number, _ip, cs] =
            read::kernel::<[u64; WORDS]>(regs + 8 * R10 as u64)?;
        let _ = r9;
        (cs == USER_CS).then_some(Call {
            number,
            args: [di, si, dx, r10],
            fifth: r8,
        })
    }

    pub mod number {
        pub const READ: u64 = 0;
        pub const WRITE: u64 = 1;
        pub const CLOSE: u64 = 3;
        pub const MMAP: u64 = 9;
        pub const READV: u64 = 19;
        pub const WRITEV: u64 = 20;
        pub const SENDFILE: u64 = 40;
        pub const CONNECT: u64 = 42;
        pub const SENDTO: u64 = 44;
        pub const RECVFROM: u64 = 45;
        pub const SENDMSG: u64 = 46;
        pub const RECVMSG: u64 = 47;
        pub const RECVMMSG: u64 = 299;
        pub const SENDMMSG: u64 = 307;
        /// One above the last of them.
        pub const END: u64 = 308;
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod this {
    use super::*;

    /// What a return takes from the stack.
    pub const RETURN_POPS: u64 = 0;
    /// Arguments that are passed in registers.
    pub const REGISTERS: usize = 8;
    /// Whether the address of a large result is passed as the first argument.
    pub const RESULT_FIRST: bool = false;

    /// Where a function that returns more than fits registers stores it.
    pub fn result_place(regs: *const pt_regs) -> u64 {
        // SAFETY: the verifier checks accesses to the context of a probe.
        unsafe { (*regs).regs[8] }
    }

    pub fn stack_pointer(regs: *const pt_regs) -> u64 {
        // SAFETY: the verifier checks accesses to the context of a probe.
        unsafe { (*regs).sp }
    }

    pub fn instruction(regs: *const pt_regs) -> u64 {
        // SAFETY: as above.
        unsafe { (*regs).pc }
    }

    /// Argument of a Go function; all but the first four are 0.
    #[inline(always)]
    pub fn go_argument(regs: *const pt_regs, n: usize) -> u64 {
        if n < 4 {
            // SAFETY: as above.
            unsafe { (*regs).regs[n] }
        } else {
            0
        }
    }

    /// The register in which Go keeps the address of the running goroutine.
    #[inline(always)]
    pub fn go_current(regs: *const pt_regs) -> u64 {
        // SAFETY: as above.
        unsafe { (*regs).regs[28] }
    }

    /// Where that register is in the registers of a system call, in bytes.
    pub const GO_CURRENT: u64 = 28 * 8;

    /// How far from a call instruction the bytes are that a breakpoint leaves alone.
    pub const BESIDE: u64 = 4;

    /// `struct pt_regs` of the kernel: 31 registers, sp, pc, pstate, orig_x0, then the
    /// number of the system call in 32 bits.
    const PSTATE: u64 = 33 * 8;
    /// Set in `pstate` for 32-bit programs.
    const MODE32: u64 = 1 << 4;

    /// The arguments as they still stand in the registers at the end of a system call;
    /// `None` for one of a 32-bit program, whose numbers differ.
    #[inline(always)]
    pub fn system_call(regs: u64) -> Option<Call> {
        let [pstate, first, number] = read::kernel::<[u64; 3]>(regs + PSTATE)?;
        if pstate & MODE32 != 0 {
            return None;
        }
        let [x1, x2, x3, x4] = read::kernel::<[u64; 4]>(regs + 8)?;
        Some(Call {
            number: number & 0xffff_ffff,
            args: [first, x1, x2, x3],
            fifth: x4,
        })
    }

    pub mod number {
        pub const CLOSE: u64 = 57;
        pub const READ: u64 = 63;
        pub const WRITE: u64 = 64;
        pub const READV: u64 = 65;
        pub const WRITEV: u64 = 66;
        pub const SENDFILE: u64 = 71;
        pub const CONNECT: u64 = 203;
        pub const SENDTO: u64 = 206;
        pub const RECVFROM: u64 = 207;
        pub const SENDMSG: u64 = 211;
        pub const RECVMSG: u64 = 212;
        pub const MMAP: u64 = 222;
        pub const RECVMMSG: u64 = 243;
        pub const SENDMMSG: u64 = 269;
        /// One above the last of them.
        pub const END: u64 = 270;
    }
}

pub use this::*;
