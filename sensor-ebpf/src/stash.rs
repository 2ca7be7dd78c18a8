//! What the entry of a call leaves for its return, by thread.

use core::cell::Cell;

use aya_ebpf::bindings::BPF_NOEXIST;

use crate::emit::Cursor;
use crate::filter::Task;
use crate::maps::{self, EMPTY, THREADS};

/// Value of the map `THREADS`. Cells, because functions that the verifier keeps apart reach
/// the same entry each by itself.
#[repr(C)]
pub struct Thread {
    pub call: Cell<Call>,
    /// The last TLS write that ended without its socket being known.
    pub wrote: Cell<Wrote>,
    pub cursor: Cursor,
}

// SAFETY: only the thread itself uses its entry.
unsafe impl Sync for Thread {}

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
pub struct Wrote {
    /// 0: none.
    pub ssl: u64,
    pub length: u64,
}

/// Remembers `call`, unless it is made by one already in flight.
///
/// A call that never returned (its thread jumped out of it) is told from one in flight by
/// the stack: the caller of a nested call is further up.
#[inline(always)]
pub fn begin(task: Task, call: Call) {
    let Some(thread) = of(task).or_else(|| new(task)) else {
        return;
    };
    let before = thread.call.get();
    if before.ssl == 0 || call.stack >= before.stack {
        thread.call.set(call);
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
    let call = thread.call.get();
    if call.ssl == 0 || stack < call.stack + pops {
        return None;
    }
    thread.call.set(Call { ssl: 0, ..call });
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
