//! The kernel half of llmtap.
//!
//! In: registers of traced functions and system calls. Out: records in two ring buffers,
//! `EVENTS` (traffic) and `PROCESSES` (exec, mmap, exit). Must not know: providers, file
//! names, what a payload means beyond its first eight bytes.
//!
//! It must load from 5.10 on: no helper, instruction or map type newer than that.
//!
//! What a function that is not inlined branches on comes to it in registers or from a map,
//! never from the stack of its caller. Where it loads such a value through a pointer, the
//! verifier of many kernels before 6.8 forgets that the value matters: having walked the
//! function with one, it takes what only another reaches for dead code, and removes it.
#![no_std]
#![no_main]

mod arch;
mod conn;
mod emit;
mod filter;
mod goroutine;
mod maps;
mod pipes;
mod read;
mod socket;
mod stash;
mod stream;
mod wire;

mod hook {
    pub mod aead;
    pub mod go;
    pub mod go_http;
    pub mod idle;
    pub mod nss;
    pub mod openssl;
    pub mod process;
    pub mod syscall;
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
