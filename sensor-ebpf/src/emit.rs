//! The only writer of the rings; counts what finds no room or can't be read.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_get_current_comm;
use llmtap_common::conn::{Connection, Key, Socket, state};
use llmtap_common::filter::{self as common, HEAD, TAIL};
use llmtap_common::layout::FileId;
use llmtap_common::record::{
    Closing, Header, Opening, PAYLOAD_MAX, ProcessRecord, SERVER_NAME_MAX, kind,
};

use crate::conn;
use crate::filter::Task;
use crate::maps::{self, EVENTS, PROCESSES};
use crate::read;

#[repr(C)]
struct Record<T> {
    header: Header,
    body: T,
}

/// Most records of one call; what is beyond is cut.
const PIECES: u64 = 128;

/// What is delivered of the bytes that a call moved: so many at their beginning, and so
/// many at their end.
struct Share {
    head: u64,
    tail: u64,
}

/// Accounts for `length` bytes that crossed, and says what to deliver of them.
#[inline(always)]
fn share(connection: &mut Connection, direction: u8, length: u64) -> Share {
    if connection.direction != direction {
        connection.direction = direction;
        connection.turn = 0;
    }
    let (limit, tail) = match conn::verdict(connection) {
        common::UNWANTED => (0, 0),
        common::HEADS_ONLY => (HEAD, 0),
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
pub struct Buffers {
    pub buffer: u64,
    pub size: u64,
    pub vector: u64,
    pub count: u64,
}

/// Delivers what a call moved, `length` bytes, as far as the verdict and the limit allow.
#[inline(always)]
pub fn payload(
    connection: &mut Connection,
    direction: u8,
    at: u64,
    buffers: &Buffers,
    length: u64,
) {
    let side = (direction & 1) as usize;
    let Share { head, tail } = share(connection, direction, length);
    let tail = if buffers.count == 0 { tail } else { 0 };
    let delivered = pieces(connection, side, at, buffers, head);
    if delivered < length {
        skip(connection, side, length - delivered - tail);
        if tail > 0 {
            let buffer = buffers.buffer + length - tail;
            piece(connection, side, at, buffer, tail);
        }
    }
}

/// Counts bytes that crossed without passing through memory of the process.
#[inline(always)]
pub fn unseen(connection: &mut Connection, direction: u8, length: u64) {
    let _ = share(connection, direction, length);
    connection.position[(direction & 1) as usize] += length;
}

/// Counts bytes that are left out on purpose.
#[inline(always)]
fn skip(connection: &mut Connection, side: usize, length: u64) {
    connection.position[side & 1] += length;
    connection.cut[side & 1] += length;
}

/// The first `length` bytes of `buffers`; how many of them were accounted for.
#[inline(never)]
fn pieces(
    connection: &mut Connection,
    side: usize,
    at: u64,
    buffers: &Buffers,
    length: u64,
) -> u64 {
    let Buffers {
        mut buffer,
        mut size,
        mut vector,
        mut count,
    } = *buffers;
    let mut left = length;
    for _ in 0..PIECES {
        if left == 0 {
            break;
        }
        if size == 0 {
            if count == 0 {
                break;
            }
            let Some(next) = read::user::<[u64; 2]>(vector) else {
                break;
            };
            [buffer, size] = next;
            vector += 16;
            count -= 1;
        }
        let here = size.min(left).min(PAYLOAD_MAX);
        piece(connection, side, at, buffer, here);
        buffer += here;
        // The verifier walks all ways through this loop, and takes two of them for one only
        // where it knows the same of both.
        size = blur(connection, size - here);
        left = blur(connection, left - here);
        count = blur(connection, count);
    }
    length - left
}

/// The same value, of which the verifier knows nothing.
#[inline(always)]
fn blur(connection: &Connection, value: u64) -> u64 {
    value | connection.zero as u64
}

/// Delivers `length` bytes at `buffer` as one record, or counts why not.
#[inline(always)]
fn piece(connection: &mut Connection, side: usize, at: u64, buffer: u64, length: u64) {
    let place = connection.position[side & 1] << 1 | side as u64;
    let size = connection.cut[side & 1] << LENGTH_BITS | length;
    connection.position[side & 1] += length;
    match llmtap_deliver(connection.id, at, place, buffer, size) {
        REFUSED => connection.refused += 1,
        UNREADABLE => connection.unreadable += 1,
        _ => {}
    }
}

/// Holds every length up to [`PAYLOAD_MAX`].
const LENGTH_BITS: u64 = 20;

const DELIVERED: u64 = 0;
const REFUSED: u64 = 1;
const UNREADABLE: u64 = 2;

/// Puts a payload into a record of the smallest size that holds it.
///
/// `place` is position and direction, `size` the bytes cut before and the length: five words
/// are all that a function of its own may take. It is one, visible to the verifier by name,
/// because such a function is verified once and not again for every call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn llmtap_deliver(connection: u64, at: u64, place: u64, buffer: u64, size: u64) -> u64 {
    let length = size & ((1 << LENGTH_BITS) - 1);
    let header = Header {
        connection,
        at,
        position: place >> 1,
        cut: size >> LENGTH_BITS,
        length: length as u32,
        kind: kind::DATA,
        direction: (place & 1) as u8,
        reserved: 0,
    };
    macro_rules! smallest {
        ($($size:literal)*) => {
            match length {
                0 => DELIVERED,
                $(1..=$size => record::<$size>(&header, buffer, length),)*
                _ => record::<{ PAYLOAD_MAX as usize }>(&header, buffer, length),
            }
        };
    }
    smallest!(64 128 256 512 1024 2048 4096 8192 16384 32768 65536 131072)
}

#[inline(always)]
fn record<const N: usize>(header: &Header, buffer: u64, length: u64) -> u64 {
    let Some(mut entry) = EVENTS.reserve::<Record<[u8; N]>>(0) else {
        return REFUSED;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` is the reserved memory.
    let readable = unsafe {
        (&raw mut (*record).header).write(*header);
        read::user_bytes::<N>(&raw mut (*record).body, buffer, length)
    };
    if !readable {
        entry.discard(BPF_RB_NO_WAKEUP as u64);
        return UNREADABLE;
    }
    entry.submit(wake());
    DELIVERED
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

/// Says what is known of a connection; a `socket` of family 0 is not known.
#[inline(never)]
pub fn opening(task: Task, key: &Key, connection: &mut Connection, socket: &Socket) {
    let Some(mut entry) = EVENTS.reserve::<Record<Opening>>(0) else {
        maps::count(|counters| counters.facts += 1);
        return;
    };
    // Field by field: the stack has no room for a second copy.
    // SAFETY: the reserved memory, all of which is written.
    unsafe {
        let record = entry.as_mut_ptr();
        fact(&raw mut (*record).header, connection, kind::OPEN, 0);
        let body = &raw mut (*record).body;
        (&raw mut (*body).key).write(*key);
        (&raw mut (*body).instruction).write(connection.instruction);
        (&raw mut (*body).pid).write(connection.pid);
        (&raw mut (*body).tid).write(task.tid());
        (&raw mut (*body).comm).write(bpf_get_current_comm().unwrap_or_default());
        (&raw mut (*body).socket).write(*socket);
    }
    entry.submit(BPF_RB_NO_WAKEUP as u64);
    connection.state |= state::ANNOUNCED;
    if socket.family != 0 {
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
    let value = Header {
        connection: connection.id,
        at: conn::now(),
        position: 0,
        cut: 0,
        length,
        kind,
        direction: 0,
        reserved: 0,
    };
    // Volatile, or zeroes become a call to `memset`, byte by byte.
    // SAFETY: see above.
    unsafe { header.write_volatile(value) }
}

/// Says what a process did, and wakes the reader: it may have to attach in a hurry.
#[inline(always)]
pub fn process(kind: u32, pid: u32, file: FileId, address: u64, hurry: bool) {
    let Some(mut entry) = PROCESSES.reserve::<ProcessRecord>(0) else {
        maps::count(|counters| counters.processes += 1);
        return;
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
}
