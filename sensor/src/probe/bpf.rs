//! The commands of bpf(2) that `aya` does not give.
//!
//! In: what they take, as Rust has it. Out: file descriptors. Must not know: what for.

#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::ffi::CStr;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use aya_obj::Function;
use aya_obj::generated::BPF_F_UPROBE_MULTI_RETURN;
use aya_obj::generated::bpf_attach_type::BPF_TRACE_UPROBE_MULTI;
use aya_obj::generated::bpf_cmd::{self, BPF_BTF_LOAD, BPF_LINK_CREATE, BPF_PROG_LOAD};
use aya_obj::generated::bpf_prog_type::BPF_PROG_TYPE_KPROBE;
use zerocopy::{Immutable, IntoBytes};

/// A program that can be linked to many places of a file.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    at_return: bool,
}

/// The kernel's `union bpf_attr` as `BPF_BTF_LOAD` takes it.
#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct BtfLoad {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    padding: u32,
}

/// … as `BPF_PROG_LOAD` does.
#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: i32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// … as `BPF_LINK_CREATE` does for links to many places.
#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct LinkCreate {
    prog_fd: i32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    multi_flags: u32,
    /// 0: every process.
    pid: u32,
    padding: u32,
}

const _: () = {
    assert!(size_of::<BtfLoad>() == 32);
    assert!(offset_of!(ProgLoad, prog_name) == 48);
    assert!(offset_of!(ProgLoad, func_info) == 80);
    assert!(size_of::<ProgLoad>() == 112);
    assert!(offset_of!(LinkCreate, path) == 16);
    assert!(offset_of!(LinkCreate, pid) == 56);
};

/// Types, as a section `.BTF` has them.
pub fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let attributes = BtfLoad {
        btf: address(types),
        btf_size: count(types)?,
        ..BtfLoad::default()
    };
    // SAFETY: the types outlive the call.
    unsafe { bpf(BPF_BTF_LOAD, &attributes) }
}

/// `at_return`: to run when a function returns to its caller, not at the place itself.
pub fn load_program(
    name: &str,
    function: &Function,
    types: &OwnedFd,
    license: &CStr,
    at_return: bool,
) -> io::Result<Program> {
    let mut prog_name = [0; 16];
    // The last byte stays zero.
    for (to, from) in prog_name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    let info = function.func_info.func_info_bytes();
    let attributes = ProgLoad {
        prog_type: BPF_PROG_TYPE_KPROBE as u32,
        expected_attach_type: BPF_TRACE_UPROBE_MULTI as u32,
        insns: address(&function.instructions),
        insn_cnt: count(&function.instructions)?,
        license: address(license.to_bytes_with_nul()),
        prog_name,
        prog_btf_fd: types.as_raw_fd(),
        func_info: address(&info),
        func_info_cnt: count(&function.func_info.func_info)?,
        func_info_rec_size: u32::try_from(function.func_info_rec_size).map_err(io::Error::other)?,
        ..ProgLoad::default()
    };
    // SAFETY: instructions, license and information outlive the call.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &attributes) }?;
    Ok(Program { fd, at_return })
}

/// Probes at all the offsets of a file, in `process` or in every one, or at none.
pub fn link(
    program: &Program,
    file: &CStr,
    offsets: &[u64],
    process: Option<u32>,
) -> io::Result<OwnedFd> {
    // Where there is no descriptor left for the link, kernels before 6.11 free probes that
    // are in use (CVE-2024-47675).
    drop(program.fd.try_clone()?);
    let multi_flags = match program.at_return {
        true => BPF_F_UPROBE_MULTI_RETURN,
        false => 0,
    };
    let attributes = LinkCreate {
        prog_fd: program.fd.as_raw_fd(),
        attach_type: BPF_TRACE_UPROBE_MULTI as u32,
        path: address(file.to_bytes_with_nul()),
        offsets: address(offsets),
        cnt: count(offsets)?,
        multi_flags,
        pid: process.unwrap_or(0),
        ..LinkCreate::default()
    };
    // SAFETY: name and offsets outlive the call.
    unsafe { bpf(BPF_LINK_CREATE, &attributes) }
}

fn address<T>(of: &[T]) -> u64 {
    of.as_ptr().expose_provenance() as u64
}

fn count<T>(of: &[T]) -> io::Result<u32> {
    u32::try_from(of.len()).map_err(io::Error::other)
}

/// A command that makes a file descriptor.
///
/// # Safety
///
/// The attributes are those of the command, and what they point to can be read.
unsafe fn bpf<T: IntoBytes + Immutable>(command: bpf_cmd, attributes: &T) -> io::Result<OwnedFd> {
    let attributes = attributes.as_bytes();
    let (start, length) = (attributes.as_ptr(), attributes.len());
    // SAFETY: the kernel reads so many bytes, and what the caller answers for.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, start, length) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made it, and gives it to nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
