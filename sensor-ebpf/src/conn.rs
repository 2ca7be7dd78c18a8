//! Connections: found by key, or begun.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use llmtap_common::conn::{Connection, Key, state};
use llmtap_common::{filter, loss};

use crate::emit;
use crate::filter::Task;
use crate::maps::{self, CONNECTIONS, VERDICTS};

#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_boot_ns() }
}

#[inline(always)]
pub fn find(key: &Key) -> Option<&'static mut Connection> {
    // SAFETY: entries are shared between processors, but of one direction only one thread
    // moves bytes at a time; at worst a count is off where a program writes from two threads
    // at once, and then the order of its bytes is unknown as well.
    let connection = CONNECTIONS.get_ptr_mut(key).map(|c| unsafe { &mut *c })?;
    (connection.state & state::OVER == 0).then_some(connection)
}

/// The connection of `key`, announced.
#[inline(always)]
pub fn open(task: Task, key: &Key, instruction: u64) -> Option<&'static mut Connection> {
    let connection = match find(key) {
        Some(connection) => connection,
        None => begin(task, key, instruction)?,
    };
    if connection.state & state::ANNOUNCED == 0 {
        emit::opening(task, key, connection, None);
    }
    Some(connection)
}

#[inline(always)]
fn begin(task: Task, key: &Key, instruction: u64) -> Option<&'static mut Connection> {
    over(key);
    // SAFETY: takes nothing.
    let processor = unsafe { bpf_get_smp_processor_id() } as u64;
    let connection = Connection {
        id: (now() << 8) | (processor & 0xff),
        position: [0; 2],
        cut: [0; 2],
        turn: 0,
        instruction,
        pid: task.pid(),
        direction: u8::MAX,
        state: 0,
        reserved: 0,
    };
    if CONNECTIONS.insert(key, connection, BPF_ANY as u64).is_err() {
        maps::count(loss::UNTRACKED, 1);
        return None;
    }
    find(key)
}

/// Ends the connection of `key`, if there is one.
#[inline(always)]
pub fn over(key: &Key) {
    // SAFETY: see `find`.
    let Some(connection) = CONNECTIONS.get_ptr_mut(key).map(|c| unsafe { &mut *c }) else {
        return;
    };
    if emit::closing(connection) {
        let _ = CONNECTIONS.remove(key);
    } else {
        connection.state |= state::OVER;
    }
}

#[inline(always)]
pub fn verdict(connection: &Connection) -> u64 {
    match VERDICTS.get(filter::slot(connection.id)) {
        Some(entry) => filter::verdict(*entry, connection.id),
        None => filter::UNDECIDED,
    }
}
