//! What the entry of a call leaves for its return, by thread.

use core::cell::Cell;

use aya_ebpf::bindings::BPF_NOEXIST;
use llmtap_common::conn::Key;

use crate::emit::Cursor;
use crate::filter::Task;
use crate::maps::{self, EMPTY, THREADS};
use crate::stream::Record;
use crate::wire::Records;

/// Value of the map `THREADS`. Cells, because functions that the verifier keeps apart reach
/// the same entry each by itself.
#[repr(C)]
pub struct Thread {
    /// One a direction: a write may be made from inside a read (Node, once the handshake
    /// that the read drove is over).
    calls: [Cell<Call>; 2],
    /// The last TLS write that ended without its socket being known.
    pub wrote: Cell<Wrote>,
    /// The last TLS records that the program itself read.
    pub arrived: Cell<Arrived>,
    /// The record that is being encrypted or decrypted.
    pub cipher: Cell<Cipher>,
    /// One above the descriptor that was read last, if its process encrypts records itself.
    pub received: Cell<u64>,
    pub cursor: Cursor,
}

// SAFETY: only the thread itself uses its entry.
unsafe impl Sync for Thread {}

impl Thread {
    /// The innermost call in flight, of those that began at `since` or later.
    #[inline(always)]
    pub fn in_flight(&self, since: u64) -> Option<Call> {
        let [one, other] = [self.calls[0].get(), self.calls[1].get()];
        match (one.is_live(since), other.is_live(since)) {
            (false, false) => None,
            (true, false) => Some(one),
            (false, true) => Some(other),
            _ if one.stack < other.stack => Some(one),
            _ => Some(other),
        }
    }

    /// Forgets what tells the next call's socket.
    #[inline(always)]
    pub fn forget_records(&self) {
        self.wrote.set(Wrote::NONE);
        let arrived = self.arrived.get();
        self.arrived.set(Arrived { from: 0, ..arrived });
    }
}

/// A call in flight.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// 0: none.
    pub ssl: u64,
    pub buffer: u64,
    pub length: u64,
    /// Where the function stores the count, if it does.
    pub done: u64,
    /// Stack pointer at entry.
    pub stack: u64,
    pub began: u64,
    pub instruction: u64,
    pub function: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arrived {
    /// One above the descriptor that they came from; 0: none.
    pub from: u64,
    pub records: Records,
}

impl Arrived {
    /// The descriptor, if `length` bytes of plaintext may come from one of the records.
    #[inline(always)]
    pub fn carried(&self, length: u64) -> Option<u64> {
        (self.from != 0 && self.records.carry(length)).then(|| self.from - 1)
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Wrote {
    /// The connection's, or a stream's; its object is 0: none.
    pub key: Key,
    pub length: u64,
}

impl Wrote {
    pub const NONE: Self = Self {
        key: Key { pid: 0, object: 0 },
        length: 0,
    };
}

/// A call that decrypts a record, or has encrypted one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Cipher {
    pub record: Record,
    pub buffer: u64,
    /// Most bytes of plaintext.
    pub length: u64,
    /// Where the function stores how many there are, or 0.
    pub done: u64,
    /// Where the function stores whether it failed, or 0.
    pub outcome: u64,
    /// Stack pointer at entry; 0: it is not in flight.
    pub stack: u64,
    pub instruction: u64,
}

/// Remembers `call`, unless it is made by one of its direction already in flight.
///
/// A call that never returned (its thread jumped out of it) is told from one in flight by
/// the stack: the caller of a nested call is further up.
#[inline(always)]
pub fn begin(task: Task, call: Call) {
    let Some(thread) = of(task).or_else(|| new(task)) else {
        return;
    };
    let slot = &thread.calls[(call.function & 1) as usize];
    let before = slot.get();
    if !before.is_live(maps::trusted_since(task.pid())) || call.stack >= before.stack {
        slot.set(call);
    }
}

impl Call {
    /// Whether it is in flight. What began before `since` may have returned unseen.
    #[inline(always)]
    fn is_live(&self, since: u64) -> bool {
        self.ssl != 0 && self.began >= since
    }
}

/// An entry for a thread that has none.
#[inline(always)]
pub fn new(task: Task) -> Option<&'static Thread> {
    // Too large for the stack, and mostly zero.
    let empty = EMPTY.get_ptr(0)?;
    // SAFETY: a slot of an array that is never written.
    let inserted = THREADS.insert(task.0, unsafe { &*empty }, BPF_NOEXIST as u64);
    if inserted.is_err() {
        maps::count(|counters| counters.untracked += 1);
    }
    of(task)
}

/// The call that returns with this stack pointer. `pops`: what the return took from the stack.
#[inline(always)]
pub fn end(task: Task, stack: u64, pops: u64) -> Option<(&'static Thread, Call)> {
    let thread = of(task)?;
    let [one, other] = [thread.calls[0].get(), thread.calls[1].get()];
    let returned = |call: &Call| call.ssl != 0 && stack >= call.stack + pops;
    // Where both may have, the inner one never did, and the outer one does now.
    let first = match (returned(&one), returned(&other)) {
        (false, false) => return None,
        (first, false) => first,
        (false, true) => false,
        _ => one.stack >= other.stack,
    };
    let (slot, call) = if first {
        (&thread.calls[0], one)
    } else {
        (&thread.calls[1], other)
    };
    slot.set(Call { ssl: 0, ..call });
    Some((thread, call))
}

#[inline(always)]
pub fn of(task: Task) -> Option<&'static Thread> {
    // SAFETY: only the thread itself uses its entry, and only its exit removes it.
    THREADS
        .get_ptr_mut(task.0)
        .map(|thread| unsafe { &*thread })
}

#[inline(always)]
pub fn forget(task: Task) {
    let _ = THREADS.remove(task.0);
}
