//! Where the running kernel keeps the fields that the kernel half reads.
//!
//! In: BTF, the kernel's description of its own types. Out: [`KernelLayout`]. Must not
//! know: what the fields are read for.

use std::collections::HashMap;
use std::path::Path;

use llmtap_common::layout::KernelLayout;

/// The running kernel's own.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// Anonymous members in anonymous members.
const MAX_DEPTH: u32 = 8;

/// Offsets of this kernel; `None` where it has no BTF, or not of these types.
pub fn kernel_layout(path: &Path) -> Option<KernelLayout> {
    layout(&Btf::parse(&std::fs::read(path).ok()?)?)
}

fn layout(btf: &Btf<'_>) -> Option<KernelLayout> {
    let common = btf.offset("sock", "__sk_common")?;
    let sock = |field| common.checked_add(btf.offset("sock_common", field)?);
    Some(KernelLayout {
        known: 1,
        task_files: btf.offset("task_struct", "files")?,
        task_mm: btf.offset("task_struct", "mm")?,
        task_tgid: btf.offset("task_struct", "tgid")?,
        mm_exe_file: btf.offset("mm_struct", "exe_file")?,
        files_fdt: btf.offset("files_struct", "fdt")?,
        fdtable_max_fds: btf.offset("fdtable", "max_fds")?,
        fdtable_fd: btf.offset("fdtable", "fd")?,
        file_inode: btf.offset("file", "f_inode")?,
        file_private_data: btf.offset("file", "private_data")?,
        inode_mode: btf.offset("inode", "i_mode")?,
        inode_ino: btf.offset("inode", "i_ino")?,
        inode_size: btf.offset("inode", "i_size")?,
        inode_generation: btf.offset("inode", "i_generation")?,
        inode_sb: btf.offset("inode", "i_sb")?,
        super_dev: btf.offset("super_block", "s_dev")?,
        socket_sk: btf.offset("socket", "sk")?,
        socket_type: btf.offset("socket", "type")?,
        sock_family: sock("skc_family")?,
        sock_dport: sock("skc_dport")?,
        sock_num: sock("skc_num")?,
        sock_daddr: sock("skc_daddr")?,
        sock_rcv_saddr: sock("skc_rcv_saddr")?,
        // A kernel without IPv6 has no such sockets either.
        sock_v6_daddr: sock("skc_v6_daddr").unwrap_or(0),
        sock_v6_rcv_saddr: sock("skc_v6_rcv_saddr").unwrap_or(0),
        sock_socket: btf.offset("sock", "sk_socket")?,
        socket_file: btf.offset("socket", "file")?,
        unix_peer: btf.offset("unix_sock", "peer").unwrap_or(0),
    })
}

/// Type information, indexed. See the kernel's Documentation/bpf/btf.rst.
struct Btf<'a> {
    /// Where each type begins, by id; id 0 is `void`.
    types: Vec<&'a [u8]>,
    strings: &'a [u8],
    /// Id of each named structure.
    structures: HashMap<&'a [u8], usize>,
}

/// The twelve bytes that every type begins with.
struct Head {
    name: u32,
    kind: u32,
    members: usize,
    /// Offsets of members share their word with the size of a bit field.
    bit_fields: bool,
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(*bytes.first_chunk()?);
        if magic != MAGIC {
            return None;
        }
        let section = |at: usize| {
            let start = usize::try_from(word(bytes, 4)?).ok()?;
            let offset = usize::try_from(word(bytes, at)?).ok()?;
            let length = usize::try_from(word(bytes, at.checked_add(4)?)?).ok()?;
            let start = start.checked_add(offset)?;
            bytes.get(start..start.checked_add(length)?)
        };
        let mut btf = Self {
            types: vec![&[]],
            strings: section(16)?,
            structures: HashMap::new(),
        };
        let mut rest = section(8)?;
        while !rest.is_empty() {
            let head = head(rest)?;
            let name = btf.string(head.name);
            if head.kind == STRUCT && !name.is_empty() {
                btf.structures.entry(name).or_insert(btf.types.len());
            }
            btf.types.push(rest);
            rest = rest.get(size(&head)?..)?;
        }
        Some(btf)
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|o| self.strings.get(o..));
        let rest = rest.unwrap_or_default();
        rest.split(|b| *b == 0).next().unwrap_or_default()
    }

    /// Offset in bytes of `field` in `structure`, also inside anonymous members.
    fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let id = *self.structures.get(structure.as_bytes())?;
        self.bits(id, field.as_bytes(), MAX_DEPTH)?.checked_div(8)
    }

    fn bits(&self, id: usize, field: &[u8], depth: u32) -> Option<u32> {
        let depth = depth.checked_sub(1)?;
        let bytes = *self.types.get(id)?;
        let head = head(bytes)?;
        if head.kind != STRUCT && head.kind != UNION {
            return None;
        }
        let members = bytes.get(12..)?.chunks_exact(12).take(head.members);
        for member in members {
            let offset = word(member, 8)?;
            let offset = if head.bit_fields {
                offset & 0x00ff_ffff
            } else {
                offset
            };
            let name = self.string(word(member, 0)?);
            if name == field {
                return Some(offset);
            }
            let inner = usize::try_from(word(member, 4)?).ok()?;
            if name.is_empty()
                && let Some(within) = self.bits(inner, field, depth)
            {
                return offset.checked_add(within);
            }
        }
        None
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(*word.first_chunk()?))
}

fn head(bytes: &[u8]) -> Option<Head> {
    let info = word(bytes, 4)?;
    Some(Head {
        name: word(bytes, 0)?,
        kind: (info >> 24) & 0x1f,
        members: usize::from(info as u16),
        bit_fields: info >> 31 == 1,
    })
}

/// Bytes that a type takes.
fn size(head: &Head) -> Option<usize> {
    let each = match head.kind {
        // Pointers, forward declarations, typedefs, qualifiers, functions, floats, tags.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables, declaration tags.
        1 | 14 | 17 => return Some(16),
        // Arrays.
        3 => return Some(24),
        STRUCT | UNION | 15 | 19 => 12,
        // Enumerations, prototypes.
        6 | 13 => 8,
        _ => return None,
    };
    head.members.checked_mul(each)?.checked_add(12)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { int b; struct { int c; }; }; }`, offsets 0, 4, 8.
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0c\0";
        let (outer, a, b, c) = (1, 7, 9, 11);
        let mut types: Vec<u32> = vec![0, 1 << 24, 4, 0];
        types.extend([0, (STRUCT << 24) | 1, 4, c, 1, 0]);
        types.extend([0, (STRUCT << 24) | 2, 8, b, 1, 0, 0, 2, 32]);
        types.extend([outer, (STRUCT << 24) | 2, 12, a, 1, 0, 0, 3, 32]);
        let types: Vec<u8> = types.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let length = |n: usize| u32::try_from(n).expect("small").to_ne_bytes();
        let mut bytes = vec![];
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        bytes.extend(length(24));
        bytes.extend(length(0));
        bytes.extend(length(types.len()));
        bytes.extend(length(types.len()));
        bytes.extend(length(strings.len()));
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn finds_members_of_anonymous_members() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).expect("valid");
        assert_eq!(btf.offset("outer", "a"), Some(0));
        assert_eq!(btf.offset("outer", "b"), Some(4));
        assert_eq!(btf.offset("outer", "c"), Some(8));
        assert_eq!(btf.offset("outer", "d"), None);
        assert_eq!(btf.offset("inner", "a"), None);
    }

    #[test]
    fn damaged_input_never_panics() {
        let bytes = sample();
        for end in 0..bytes.len() {
            let _ = Btf::parse(bytes.get(..end).unwrap_or_default());
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 0xff;
            }
            if let Some(btf) = Btf::parse(&damaged) {
                let _ = btf.offset("outer", "c");
            }
        }
    }

    #[test]
    fn finds_the_layout_of_a_kernel_with_btf() {
        if !Path::new(VMLINUX).exists() {
            eprintln!("SKIPPED finds_the_layout_of_a_kernel_with_btf: no {VMLINUX}");
            return;
        }
        let layout = kernel_layout(Path::new(VMLINUX)).expect("all types are there");
        assert_ne!(layout.task_files, 0);
        assert_ne!(layout.sock_dport, layout.sock_num);
        assert_ne!(layout.sock_socket, layout.socket_file);
    }
}
