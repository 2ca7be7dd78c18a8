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
    inode: u64,
    /// Address of its `struct socket`.
    socket: u64,
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

/// The addresses of a socket; `None` for families other than TCP's and Unix's.
#[inline(always)]
pub fn addresses(stream: &Stream) -> Option<Socket> {
    let sock: u64 = read::kernel(stream.socket + offset!(socket_sk))?;
    let family: u16 = read::kernel(sock + offset!(sock_family))?;
    let mut socket = Socket {
        family,
        ..Socket::default()
    };
    match family {
        AF_INET => {
            let peer: [u8; 4] = read::kernel(sock + offset!(sock_daddr))?;
            let local: [u8; 4] = read::kernel(sock + offset!(sock_rcv_saddr))?;
            socket.peer[..4].copy_from_slice(&peer);
            socket.local[..4].copy_from_slice(&local);
        }
        AF_INET6 => {
            socket.peer = read::kernel(sock + offset!(sock_v6_daddr))?;
            socket.local = read::kernel(sock + offset!(sock_v6_rcv_saddr))?;
        }
        AF_UNIX => return Some(socket),
        _ => return None,
    }
    let peer_port: u16 = read::kernel(sock + offset!(sock_dport))?;
    socket.peer_port = u16::from_be(peer_port);
    socket.local_port = read::kernel(sock + offset!(sock_num))?;
    Some(socket)
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
