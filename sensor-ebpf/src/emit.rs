//! The only writer of the rings; counts what finds no room or can't be read.

use core::cell::Cell;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use llmtap_common::conn::{Connection, Key, state};
use llmtap_common::filter::{self as common, HEAD, TAIL};
use llmtap_common::layout::FileId;
use llmtap_common::record::{
    Closing, Header, Joining, Opening, PAYLOAD_MAX, ProcessRecord, SERVER_NAME_MAX, kind,
};

use crate::conn;
use crate::filter::Task;
use crate::maps::{self, EVENTS, PROCESSES};
use crate::read;
use crate::socket;
use crate::stash::{self, Thread};
use crate::wire::{self, Start};

#[repr(C)]
struct Record<T> {
    header: Header,
    body: T,
}

/// Most steps of one call: records, and buffers of a vector. What is beyond is cut.
const STEPS: u32 = 160;

/// What is delivered of the bytes that a call moved: so many at their beginning, and so
/// many at their end.
struct Share {
    head: u64,
    tail: u64,
}

/// Accounts for `length` bytes that crossed, and says what to deliver of them. `first`: where
/// they begin.
#[inline(always)]
fn share(connection: &mut Connection, direction: u8, first: u64, length: u64) -> Share {
    connection.calls += 1;
    let verdict = conn::verdict(connection);
    let turns = connection.direction != direction;
    if turns {
        connection.direction = direction;
        connection.turn = 0;
    }
    // Also while undecided: the decision comes amid an exchange.
    if matches!(verdict, common::UNDECIDED | common::HEADS_AND_POSTS) {
        match wire::start(first, length) {
            Start::Post => connection.state |= state::POST,
            // Amid a turn it may be the body of something.
            Start::Request if turns => connection.state &= !state::POST,
            _ => {}
        }
    }
    let (limit, tail) = match verdict {
        common::UNWANTED => (0, 0),
        common::HEADS_ONLY => (HEAD, 0),
        common::HEADS_AND_POSTS if connection.state & state::POST == 0 => (HEAD, 0),
        _ => (maps::turn_limit(), TAIL),
    };
    let head = length.min(limit.saturating_sub(connection.turn));
    connection.turn += length;
    Share {
        head,
        tail: (length - head).min(tail),
    }
}

/// Where the bytes of a call are: in `size` bytes at `buffer`, then in what `count`
/// `struct iovec`s at `vector` name.
#[derive(Clone, Copy)]
pub struct Buffers {
    pub buffer: u64,
    pub size: u64,
    pub vector: u64,
    pub count: u64,
}

impl Buffers {
    /// Where the first byte is.
    #[inline(always)]
    pub fn first(&self) -> u64 {
        if self.count == 0 {
            self.buffer
        } else {
            read::user(self.vector).unwrap_or(0)
        }
    }
}

/// How far the delivery of a call has come.
#[repr(C)]
pub struct Cursor {
    buffer: Cell<u64>,
    size: Cell<u64>,
    vector: Cell<u64>,
    count: Cell<u64>,
    connection: Cell<u64>,
    at: Cell<u64>,
    position: Cell<u64>,
    cut: Cell<u64>,
    opposite: Cell<u64>,
    opposite_cut: Cell<u64>,
    left: Cell<u64>,
    /// Of the record that is being made.
    length: Cell<u32>,
    side: Cell<u32>,
    tid: Cell<u32>,
    /// For which what is moved is moved: to be set before [`payload`] is called.
    pub goroutine: Cell<u32>,
    refused: Cell<u32>,
    unreadable: Cell<u32>,
}

/// Delivers what a call of this thread moved, `length` bytes, as far as the verdict and the
/// limit allow.
#[inline(always)]
pub fn payload(
    task: Task,
    thread: &Thread,
    connection: &mut Connection,
    direction: u8,
    at: u64,
    buffers: Buffers,
    length: u64,
) {
    let side = (direction & 1) as usize;
    let Share { head, tail } = share(connection, direction, buffers.first(), length);
    let tail = if buffers.count == 0 { tail } else { 0 };
    let cursor = &thread.cursor;
    cursor.buffer.set(buffers.buffer);
    cursor.size.set(buffers.size);
    cursor.vector.set(buffers.vector);
    cursor.count.set(buffers.count);
    cursor.connection.set(connection.id);
    cursor.at.set(at);
    cursor.position.set(connection.position[side]);
    cursor.cut.set(connection.cut[side]);
    cursor.opposite.set(connection.position[side ^ 1]);
    cursor.opposite_cut.set(connection.cut[side ^ 1]);
    cursor.left.set(head);
    cursor.side.set(side as u32);
    cursor.tid.set(task.tid());
    cursor.refused.set(0);
    cursor.unreadable.set(0);
    for _ in 0..STEPS {
        if llmtap_step(task.0) == 0 {
            break;
        }
    }
    let skipped = cursor.left.get() + (length - head - tail);
    cursor.position.set(cursor.position.get() + skipped);
    cursor.cut.set(cursor.cut.get() + skipped);
    if tail > 0 {
        cursor.buffer.set(buffers.buffer + length - tail);
        cursor.size.set(tail);
        cursor.left.set(tail);
        llmtap_step(task.0);
    }
    connection.position[side] = cursor.position.get();
    connection.cut[side] = cursor.cut.get();
    connection.refused += cursor.refused.get();
    connection.unreadable += cursor.unreadable.get();
    if cursor.unreadable.get() > 0 && connection.instruction != 0 {
        maps::misfit(connection.pid, connection.instruction);
    }
}

/// Counts bytes that crossed without passing through memory of the process.
#[inline(always)]
pub fn unseen(connection: &mut Connection, direction: u8, length: u64) {
    let Share { head, .. } = share(connection, direction, 0, length);
    let side = (direction & 1) as usize;
    connection.position[side] += length;
    connection.cut[side] += length - head;
}

/// Takes the cursor of thread `task` one step further; whether there is more to do.
///
/// A function of its own that takes nothing but numbers is verified once and for itself,
/// however often it is called. As a part of the loop above it would be walked with all that
/// is known at every turn, which is more than the verifiers of old kernels bear.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn llmtap_step(task: u64) -> u64 {
    let Some(thread) = stash::of(Task(task)) else {
        return 0;
    };
    let cursor = &thread.cursor;
    let (left, size) = (cursor.left.get(), cursor.size.get());
    if left == 0 {
        return 0;
    }
    if size == 0 {
        return next_buffer(cursor) as u64;
    }
    let length = size.min(left).min(PAYLOAD_MAX);
    cursor.length.set(length as u32);
    match smallest_record(cursor, length) {
        Delivery::Done => {}
        Delivery::Refused => cursor.refused.set(cursor.refused.get() + 1),
        Delivery::Unreadable => cursor.unreadable.set(cursor.unreadable.get() + 1),
    }
    cursor.position.set(cursor.position.get() + length);
    cursor.buffer.set(cursor.buffer.get() + length);
    cursor.size.set(size - length);
    cursor.left.set(left - length);
    1
}

/// Whether there is one.
#[inline(always)]
fn next_buffer(cursor: &Cursor) -> bool {
    let (vector, count) = (cursor.vector.get(), cursor.count.get());
    if count == 0 {
        return false;
    }
    let Some([buffer, size]) = read::user::<[u64; 2]>(vector) else {
        return false;
    };
    cursor.buffer.set(buffer);
    cursor.size.set(size);
    cursor.vector.set(vector + 16);
    cursor.count.set(count - 1);
    true
}

enum Delivery {
    Done,
    Refused,
    Unreadable,
}

/// Puts `length` bytes into a record of the smallest size that holds them.
#[inline(always)]
fn smallest_record(cursor: &Cursor, length: u64) -> Delivery {
    macro_rules! smallest {
        ($($size:literal)*) => {
            match length {
                $(0..=$size => record::<$size>(cursor),)*
                _ => record::<{ PAYLOAD_MAX as usize }>(cursor),
            }
        };
    }
    smallest!(64 128 256 512 1024 2048 4096 8192 16384 32768 65536 131072)
}

#[inline(always)]
fn record<const N: usize>(cursor: &Cursor) -> Delivery {
    let Some(mut entry) = EVENTS.reserve::<Record<[u8; N]>>(0) else {
        return Delivery::Refused;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` is the reserved memory, and the cursor is valid. The length is read
    // anew, because what the compiler knows of it the verifier does not.
    let readable = unsafe {
        let length = cursor.length.as_ptr().read_volatile();
        let header = &raw mut (*record).header;
        (&raw mut (*header).connection).write(cursor.connection.get());
        (&raw mut (*header).at).write(cursor.at.get());
        (&raw mut (*header).position).write(cursor.position.get());
        (&raw mut (*header).cut).write(cursor.cut.get());
        (&raw mut (*header).opposite).write(cursor.opposite.get());
        (&raw mut (*header).opposite_cut).write(cursor.opposite_cut.get());
        (&raw mut (*header).length).write(length);
        (&raw mut (*header).kind).write(kind::DATA);
        (&raw mut (*header).direction).write(cursor.side.get() as u8);
        (&raw mut (*header).reserved).write(0);
        (&raw mut (*header).tid).write(cursor.tid.get());
        (&raw mut (*header).goroutine).write(cursor.goroutine.get());
        let buffer = cursor.buffer.get();
        read::user_bytes::<N>(&raw mut (*record).body, buffer, length as u64)
    };
    if readable {
        entry.submit(wake());
        Delivery::Done
    } else {
        entry.discard(BPF_RB_NO_WAKEUP as u64);
        Delivery::Unreadable
    }
}

/// The reader comes by on its own; it is woken only by records that find the ring filled to
/// its watermark, or not much further.
#[inline(always)]
fn wake() -> u64 {
    let filled = EVENTS.query(BPF_RB_AVAIL_DATA as u64);
    if filled.wrapping_sub(maps::watermark()) < WAKE_BAND {
        BPF_RB_FORCE_WAKEUP as u64
    } else {
        BPF_RB_NO_WAKEUP as u64
    }
}

/// Wide enough that some record falls into it.
const WAKE_BAND: u64 = 2 * PAYLOAD_MAX;

/// Says what is known of a connection. `socket`: address of its `struct socket`, or 0.
#[inline(never)]
pub fn opening(task: Task, key: &Key, connection: &mut Connection, socket: u64) {
    let Some(mut entry) = EVENTS.reserve::<Record<Opening>>(0) else {
        maps::count(|counters| counters.facts += 1);
        return;
    };
    // Field by field: the stack has no room for a second copy.
    // SAFETY: the reserved memory, all of which is written.
    let known = unsafe {
        let record = entry.as_mut_ptr();
        fact(&raw mut (*record).header, connection, kind::OPEN, 0);
        let body = &raw mut (*record).body;
        (&raw mut (*body).key).write(*key);
        (&raw mut (*body).instruction).write(connection.instruction);
        (&raw mut (*body).pid).write(connection.pid);
        (&raw mut (*body).tid).write(task.tid());
        read::comm_into(&raw mut (*body).comm);
        socket::addresses(socket, &raw mut (*body).socket);
        (*body).socket.family != 0
    };
    entry.submit(BPF_RB_NO_WAKEUP as u64);
    connection.state |= state::ANNOUNCED;
    if known {
        connection.state |= state::SOCKET;
    }
}

/// Says that a connection is over, and how much crossed it; whether there was room.
#[inline(never)]
pub fn closing(connection: &Connection) -> bool {
    let Some(mut entry) = EVENTS.reserve::<Record<Closing>>(0) else {
        maps::count(|counters| counters.facts += 1);
        return false;
    };
    // SAFETY: as in `opening`.
    unsafe {
        let record = entry.as_mut_ptr();
        fact(&raw mut (*record).header, connection, kind::CLOSE, 0);
        let body = &raw mut (*record).body;
        (&raw mut (*body).position).write(connection.position);
        (&raw mut (*body).cut).write(connection.cut);
        (&raw mut (*body).refused).write(connection.refused);
        (&raw mut (*body).unreadable).write(connection.unreadable);
        (&raw mut (*body).calls).write(connection.calls);
    }
    entry.submit(BPF_RB_NO_WAKEUP as u64);
    true
}

/// Says that `from` is part of `into`; whether there was room.
#[inline(never)]
pub fn joining(from: &Connection, into: &Connection) -> bool {
    let Some(mut entry) = EVENTS.reserve::<Record<Joining>>(0) else {
        maps::count(|counters| counters.facts += 1);
        return false;
    };
    // SAFETY: as in `opening`.
    unsafe {
        let record = entry.as_mut_ptr();
        fact(&raw mut (*record).header, from, kind::JOIN, 0);
        let body = &raw mut (*record).body;
        (&raw mut (*body).into).write(into.id);
        (&raw mut (*body).position).write(into.position);
        (&raw mut (*body).cut).write(into.cut);
    }
    entry.submit(BPF_RB_NO_WAKEUP as u64);
    true
}

/// Says which server a connection is meant for; `name` is a C string of the process.
#[inline(always)]
pub fn server_name(connection: &Connection, name: u64) {
    let Some(mut entry) = EVENTS.reserve::<Record<[u8; SERVER_NAME_MAX]>>(0) else {
        maps::count(|counters| counters.facts += 1);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` is the reserved memory, and the helper writes within `body`.
    let length = unsafe {
        aya_ebpf::helpers::generated::bpf_probe_read_user_str(
            (&raw mut (*record).body).cast(),
            SERVER_NAME_MAX as u32,
            name as *const _,
        )
    };
    if length <= 1 {
        entry.discard(BPF_RB_NO_WAKEUP as u64);
        return;
    }
    // SAFETY: as above. The count includes the NUL.
    unsafe {
        let length = length as u32 - 1;
        fact(
            &raw mut (*record).header,
            connection,
            kind::SERVER_NAME,
            length,
        );
    }
    entry.submit(BPF_RB_NO_WAKEUP as u64);
}

/// Writes the header of a record that carries no payload of the stream.
///
/// # Safety
/// `header` points into reserved memory.
#[inline(always)]
unsafe fn fact(header: *mut Header, connection: &Connection, kind: u8, length: u32) {
    // One by one: the stack has no room for all. Volatile, or zeroes become a call to
    // `memset`, byte by byte.
    // SAFETY: see above.
    unsafe {
        (&raw mut (*header).connection).write_volatile(connection.id);
        (&raw mut (*header).at).write_volatile(conn::now());
        (&raw mut (*header).position).write_volatile(0);
        (&raw mut (*header).cut).write_volatile(0);
        (&raw mut (*header).opposite).write_volatile(0);
        (&raw mut (*header).opposite_cut).write_volatile(0);
        (&raw mut (*header).length).write_volatile(length);
        (&raw mut (*header).kind).write_volatile(kind);
        (&raw mut (*header).direction).write_volatile(0);
        (&raw mut (*header).reserved).write_volatile(0);
        (&raw mut (*header).tid).write_volatile(0);
        (&raw mut (*header).goroutine).write_volatile(0);
    }
}

/// Says what a process did, and wakes the reader: it may have to attach in a hurry. Whether
/// there was room.
#[inline(always)]
pub fn process(kind: u32, pid: u32, file: FileId, address: u64, hurry: bool) -> bool {
    let Some(mut entry) = PROCESSES.reserve::<ProcessRecord>(0) else {
        maps::count(|counters| counters.processes += 1);
        return false;
    };
    *entry = MaybeUninit::new(ProcessRecord {
        file,
        address,
        kind,
        pid,
    });
    entry.submit(if hurry {
        BPF_RB_FORCE_WAKEUP as u64
    } else {
        BPF_RB_NO_WAKEUP as u64
    });
    true
}
