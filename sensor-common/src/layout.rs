//! Where the running kernel keeps what the kernel half reads of it; found by user space in
//! the kernel's own type information.

use crate::assert_size;
#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Offsets in bytes. `known` 0: no type information, and nothing of it is to be used.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelLayout {
    pub known: u32,
    pub task_files: u32,
    pub task_mm: u32,
    pub task_tgid: u32,
    pub mm_exe_file: u32,
    pub files_fdt: u32,
    pub fdtable_max_fds: u32,
    pub fdtable_fd: u32,
    pub file_inode: u32,
    pub file_private_data: u32,
    pub inode_mode: u32,
    pub inode_ino: u32,
    pub inode_size: u32,
    pub inode_generation: u32,
    pub inode_sb: u32,
    pub super_dev: u32,
    pub socket_sk: u32,
    pub socket_type: u32,
    pub sock_family: u32,
    pub sock_dport: u32,
    pub sock_num: u32,
    pub sock_daddr: u32,
    pub sock_rcv_saddr: u32,
    pub sock_v6_daddr: u32,
    pub sock_v6_rcv_saddr: u32,
    pub sock_socket: u32,
    pub socket_file: u32,
    /// 0: there are no Unix sockets, or they are in a module.
    pub unix_peer: u32,
}
assert_size!(KernelLayout, 112);

/// Tells one file from every other, also after its inode number was used again.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileId {
    /// As the kernel numbers devices; only to be compared.
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub generation: u64,
}
assert_size!(FileId, 32);
