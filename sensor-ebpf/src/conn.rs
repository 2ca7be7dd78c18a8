//! Connections: found by key, or begun.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use llmtap_common::conn::{self, Connection, Key, began_before, state};
use llmtap_common::filter;
use llmtap_common::idle::RELEASED;

use crate::emit;
use crate::filter::Task;
use crate::maps::{self, CONNECTIONS, DESCRIPTORS, VERDICTS, habit};
use crate::socket::{self, Stream};

#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Names the connection of a TLS object.
#[inline(always)]
pub fn tls_key(task: Task, ssl: u64) -> Key {
    Key {
        pid: task.pid() as u64,
        object: ssl,
    }
}

/// The connection of a key, if it has one that lives.
#[inline(always)]
pub fn find(key: &Key) -> Option<&'static mut Connection> {
    // SAFETY: entries are shared between processors, but of one direction only one thread
    // moves bytes at a time; at worst a count is off where a program writes from two threads
    // at once, and then the order of its bytes is unknown as well.
    let connection = CONNECTIONS.get_ptr_mut(key).map(|c| unsafe { &mut *c })?;
    (connection.state & state::OVER == 0).then_some(connection)
}

/// The connection of a TLS object, if it is known without a hole: what it was before its
/// process was released and taken back is another one.
#[inline(always)]
pub fn whole(task: Task, key: &Key) -> Option<&'static mut Connection> {
    let connection = find(key)?;
    match maps::trusted_since(task.pid()) {
        0 | RELEASED => Some(connection),
        since => (!began_before(connection.id, since)).then_some(connection),
    }
}

/// The connection of a TLS object, announced.
#[inline(always)]
pub fn tls(task: Task, key: &Key, instruction: u64) -> Option<&'static mut Connection> {
    let connection = match whole(task, key) {
        Some(connection) => connection,
        None => begin(task, key, instruction)?,
    };
    if connection.state & state::ANNOUNCED == 0 {
        emit::opening(task, key, connection, 0);
    }
    Some(connection)
}

/// The connection of a TLS object, of which is now known that `fd` carries it.
#[inline(never)]
pub fn bind(task: Task, key: &Key, instruction: u64, fd: u64) {
    let connection = match whole(task, key) {
        Some(connection) => connection,
        None => match begin(task, key, instruction) {
            Some(connection) => connection,
            None => return,
        },
    };
    if connection.state & state::SOCKET == 0
        && let Some(stream) = socket::stream(fd)
    {
        announce(task, key, connection, &stream);
    }
}

/// `fd` carries the connection.
#[inline(never)]
pub fn carried(task: Task, key: &Key, connection: &mut Connection, fd: u64) {
    if let Some(stream) = socket::stream(fd) {
        announce(task, key, connection, &stream);
    }
}

/// Says which socket carries a connection, if that was not said before.
#[inline(always)]
pub fn announce(task: Task, key: &Key, connection: &mut Connection, stream: &Stream) {
    if connection.state & state::SOCKET == 0 {
        emit::opening(task, key, connection, stream.socket);
    }
}

/// The connection of a plain socket, announced. Its descriptor is remembered, so that its
/// end is seen.
#[inline(always)]
pub fn plain(task: Task, stream: &Stream, fd: u64) -> Option<&'static mut Connection> {
    let key = stream.key();
    let connection = match find(&key) {
        Some(connection) => connection,
        None => {
            maps::has_habit(task.pid(), habit::PLAIN);
            ends_with(task, fd, stream.inode, &key);
            begin(task, &key, 0)?
        }
    };
    if connection.state & state::ENCRYPTED != 0 {
        return None;
    }
    if connection.state & state::ANNOUNCED == 0 {
        emit::opening(task, &key, connection, stream.socket);
    }
    Some(connection)
}

/// Ciphertext crosses a descriptor: if it was a plain socket, it is one no more.
#[inline(always)]
pub fn encrypted(fd: u64) {
    if let Some(stream) = socket::stream(fd)
        && let Some(connection) = find(&stream.key())
    {
        connection.state |= state::ENCRYPTED;
    }
}

/// Value of the map `DESCRIPTORS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Carried {
    connection: Key,
    /// Inode of the socket or pipe that the descriptor stood for.
    socket: u64,
}

/// A descriptor of a process was closed.
///
/// The number is free before the call returns: by now it may stand for another socket, and
/// what is remembered for it may be that one's.
#[inline(always)]
pub fn closed(task: Task, fd: u64) {
    let descriptor = descriptor(task, fd);
    // SAFETY: a copy is taken at once; at worst it names a connection that is over.
    let Some(carried) = (unsafe { DESCRIPTORS.get(descriptor) }).copied() else {
        return;
    };
    if socket::inode(fd) == Some(carried.socket) {
        return;
    }
    let _ = DESCRIPTORS.remove(descriptor);
    over(&carried.connection);
}

/// The connection is over when the process closes the descriptor, as is now the one that
/// the descriptor carried before. `inode`: of the socket or pipe.
#[inline(always)]
pub fn ends_with(task: Task, fd: u64, inode: u64, key: &Key) {
    let descriptor = descriptor(task, fd);
    // SAFETY: see `closed`.
    if let Some(before) = unsafe { DESCRIPTORS.get(descriptor) }.copied()
        && before.socket != inode
    {
        over(&before.connection);
    }
    let carried = Carried {
        connection: *key,
        socket: inode,
    };
    let _ = DESCRIPTORS.insert(descriptor, carried, BPF_ANY as u64);
}

fn descriptor(task: Task, fd: u64) -> u64 {
    (task.pid() as u64) << 32 | fd & 0xffff_ffff
}

/// A connection from here on, announced to nobody.
#[inline(never)]
pub fn begin(task: Task, key: &Key, instruction: u64) -> Option<&'static mut Connection> {
    over(key);
    // SAFETY: takes nothing.
    let processor = unsafe { bpf_get_smp_processor_id() } as u64;
    let connection = Connection {
        id: conn::id(now(), processor),
        position: [0; 2],
        cut: [0; 2],
        turn: 0,
        instruction,
        pid: task.pid(),
        direction: u8::MAX,
        state: 0,
        reserved: 0,
        refused: 0,
        unreadable: 0,
        calls: 0,
    };
    if CONNECTIONS.insert(key, connection, BPF_ANY as u64).is_err() {
        maps::count(|counters| counters.untracked += 1);
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
