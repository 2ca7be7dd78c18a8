//! What the entry of a call leaves for its return, by thread.

use aya_ebpf::bindings::BPF_ANY;

use crate::filter::Task;
use crate::maps::{self, THREADS};

/// Value of the map `THREADS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Thread {
    pub call: Call,
    /// The last TLS write that ended without its socket being known.
    pub wrote: Wrote,
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
    if let Some(thread) = of(task) {
        if thread.call.ssl == 0 || call.stack >= thread.call.stack {
            thread.call = call;
        }
        return;
    }
    let wrote = Wrote { ssl: 0, length: 0 };
    if THREADS
        .insert(task.0, Thread { call, wrote }, BPF_ANY as u64)
        .is_err()
    {
        maps::count(|counters| counters.untracked += 1);
    }
}

/// The call that returns with this stack pointer. `pops`: what the return took from the stack.
#[inline(always)]
pub fn end(task: Task, stack: u64, pops: u64) -> Option<(&'static mut Thread, Call)> {
    let thread = of(task)?;
    let call = thread.call;
    if call.ssl == 0 || stack < call.stack + pops {
        return None;
    }
    thread.call.ssl = 0;
    Some((thread, call))
}

#[inline(always)]
pub fn of(task: Task) -> Option<&'static mut Thread> {
    // SAFETY: only the thread itself uses its entry, and only its exit removes it.
    THREADS
        .get_ptr_mut(task.0)
        .map(|thread| unsafe { &mut *thread })
}

#[inline(always)]
pub fn forget(task: Task) {
    let _ = THREADS.remove(task.0);
}
