//! Goroutines: which one runs, and for which one another writes.
//!
//! `net/http` hands a request from the goroutine that asks to one that writes it. What is
//! noted here when it is handed over is looked up when its bytes are written.

use aya_ebpf::bindings::{BPF_ANY, pt_regs};
use llmtap_common::conn::Key;

use crate::maps::{self, ASKERS, habit};
use crate::{arch, read};

/// Names a goroutine among those of its process that live.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Goroutine(u32);

impl Goroutine {
    /// In a program of Go, the one that runs, at a place in Go's code.
    #[inline(always)]
    pub fn running(regs: *const pt_regs) -> Option<Self> {
        Self::at(arch::go_current(regs))
    }

    /// In a program of Go, the one that made a system call; `regs`: address of its registers.
    #[inline(always)]
    pub fn of_call(regs: u64) -> Option<Self> {
        Self::at(read::kernel(regs + arch::GO_CURRENT)?)
    }

    /// Two have the same name only if they are 32 GB apart.
    #[inline(always)]
    fn at(address: u64) -> Option<Self> {
        let is_pointer = address & 7 == 0 && address >> 47 == 0;
        let name = (address >> 3) as u32;
        (is_pointer && name != 0).then_some(Self(name))
    }

    /// 0: none.
    #[inline(always)]
    pub fn name(goroutine: Option<Self>) -> u32 {
        goroutine.map_or(0, |goroutine| goroutine.0)
    }

    #[inline(always)]
    pub fn named(name: u32) -> Option<Self> {
        (name != 0).then_some(Self(name))
    }
}

/// What is written to a connection is written for `asker`: all of it, or what `writer` writes.
#[inline(always)]
pub fn asks(connection: &Key, writer: Option<Goroutine>, asker: Goroutine) {
    let _ = ASKERS.insert(by(connection, writer), asker.0, BPF_ANY as u64);
}

/// For whom `writer` writes to a connection.
#[inline(always)]
pub fn asker(pid: u32, connection: &Key, writer: Option<Goroutine>) -> Option<Goroutine> {
    let writer = writer?;
    if maps::habits(pid) & habit::ASKS == 0 {
        return Some(writer);
    }
    // SAFETY: a copy is taken at once; at worst it is that of an entry which was replaced.
    let noted = unsafe {
        ASKERS
            .get(by(connection, Some(writer)))
            .or_else(|| ASKERS.get(connection))
    };
    Some(noted.map_or(writer, |name| Goroutine(*name)))
}

/// The connection is over: another may get its name.
#[inline(always)]
pub fn forget(connection: &Key) {
    let _ = ASKERS.remove(connection);
}

#[inline(always)]
fn by(connection: &Key, writer: Option<Goroutine>) -> Key {
    Key {
        pid: connection.pid | (Goroutine::name(writer) as u64) << 32,
        object: connection.object,
    }
}
