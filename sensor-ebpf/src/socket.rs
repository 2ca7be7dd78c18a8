//! From a file descriptor of the running process to its file and socket.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use llmtap_common::conn::{Key, Socket};
use llmtap_common::layout::FileId;

use crate::maps::offset;
use crate::read;

const S_IFMT: u16 = 0xf000;
const S_IFSOCK: u16 = 0xc000;
const SOCK_STREAM: u16 = 1;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

#[inline(always)]
fn task() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_get_current_task() }
}

/// Address of the `struct file` of a descriptor.
#[inline(always)]
fn file(fd: u64) -> Option<u64> {
    if offset!(known) == 0 {
        return None;
    }
    let files: u64 = read::kernel(task() + offset!(task_files))?;
    let table: u64 = read::kernel(files + offset!(files_fdt))?;
    let count: u32 = read::kernel(table + offset!(fdtable_max_fds))?;
    let fd = fd & 0xffff_ffff;
    if fd >= count as u64 {
        return None;
    }
    let slots: u64 = read::kernel(table + offset!(fdtable_fd))?;
    let file: u64 = read::kernel(slots + fd * 8)?;
    (file != 0).then_some(file)
}

/// A connection-oriented socket of the running process.
pub struct Stream {
    /// Its inode number.
    pub inode: u64,
    /// Address of its `struct socket`.
    pub socket: u64,
}

impl Stream {
    #[inline(always)]
    pub fn key(&self) -> Key {
        Key {
            pid: 0,
            object: self.inode,
        }
    }
}

/// The stream socket behind a descriptor.
#[inline(always)]
pub fn stream(fd: u64) -> Option<Stream> {
    let file = file(fd)?;
    let inode: u64 = read::kernel(file + offset!(file_inode))?;
    let mode: u16 = read::kernel(inode + offset!(inode_mode))?;
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: u64 = read::kernel(file + offset!(file_private_data))?;
    let kind: u16 = read::kernel(socket + offset!(socket_type))?;
    if kind != SOCK_STREAM {
        return None;
    }
    let inode: u64 = read::kernel(inode + offset!(inode_ino))?;
    Some(Stream { inode, socket })
}

/// Fills in the addresses of a socket; its family stays 0 where they can't be read, or where
/// it is neither TCP's nor Unix's. `socket` is the address of a `struct socket`, or 0.
///
/// # Safety
/// `to` points to writable memory, aligned to eight bytes.
#[inline(always)]
pub unsafe fn addresses(socket: u64, to: *mut Socket) {
    // Volatile, or zeroes become a call to `memset`, byte by byte; in words, because a whole
    // one is made on the stack first.
    for word in 0..size_of::<Socket>() / 8 {
        // SAFETY: see above; records are aligned to eight bytes.
        unsafe { to.cast::<u64>().add(word).write_volatile(0) };
    }
    let Some(sock) = read::kernel::<u64>(socket + offset!(socket_sk)) else {
        return;
    };
    let Some(family) = read::kernel::<u16>(sock + offset!(sock_family)) else {
        return;
    };
    let (peer, local) = match family {
        AF_INET => (offset!(sock_daddr), offset!(sock_rcv_saddr)),
        AF_INET6 => (offset!(sock_v6_daddr), offset!(sock_v6_rcv_saddr)),
        AF_UNIX => (0, 0),
        _ => return,
    };
    // SAFETY: as above; what can't be read stays 0.
    unsafe {
        if family == AF_INET {
            read::kernel_into::<[u8; 4]>(sock + peer, (&raw mut (*to).peer).cast());
            read::kernel_into::<[u8; 4]>(sock + local, (&raw mut (*to).local).cast());
        } else if family == AF_INET6 {
            read::kernel_into::<[u8; 16]>(sock + peer, &raw mut (*to).peer);
            read::kernel_into::<[u8; 16]>(sock + local, &raw mut (*to).local);
        }
        if family != AF_UNIX {
            let port = read::kernel::<u16>(sock + offset!(sock_dport)).unwrap_or(0);
            (&raw mut (*to).peer_port).write(u16::from_be(port));
            read::kernel_into(sock + offset!(sock_num), &raw mut (*to).local_port);
        }
        (&raw mut (*to).family).write(family);
    }
}

/// The file behind a descriptor.
#[inline(always)]
pub fn file_id(fd: u64) -> Option<FileId> {
    identify(file(fd)?)
}

/// The file that the running process executes.
#[inline(always)]
pub fn executable() -> Option<FileId> {
    if offset!(known) == 0 {
        return None;
    }
    let memory: u64 = read::kernel(task() + offset!(task_mm))?;
    identify(read::kernel(memory + offset!(mm_exe_file))?)
}

#[inline(always)]
fn identify(file: u64) -> Option<FileId> {
    let inode: u64 = read::kernel(file + offset!(file_inode))?;
    let volume: u64 = read::kernel(inode + offset!(inode_sb))?;
    let device: u32 = read::kernel(volume + offset!(super_dev))?;
    let generation: u32 = read::kernel(inode + offset!(inode_generation))?;
    Some(FileId {
        device: device as u64,
        inode: read::kernel(inode + offset!(inode_ino))?,
        size: read::kernel(inode + offset!(inode_size))?,
        generation: generation as u64,
    })
}
