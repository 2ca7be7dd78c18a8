//! The only writer of the rings; counts what finds no room or can't be read.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_get_current_comm;
use llmtap_common::conn::{Connection, Key, Socket, state};
use llmtap_common::filter::{self as common, HEAD, TAIL};
use llmtap_common::layout::FileId;
use llmtap_common::loss;
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

/// Longest call, in records of [`PAYLOAD_MAX`]; what is beyond is cut.
const PIECES: u64 = 512;

/// Delivers what a call moved: `length` bytes at `buffer`, as far as the verdict and the
/// limit allow.
#[inline(always)]
pub fn payload(connection: &mut Connection, direction: u8, at: u64, buffer: u64, length: u64) {
    let side = (direction & 1) as usize;
    if connection.direction != direction {
        connection.direction = direction;
        connection.turn = 0;
    }
    let (limit, tail) = match conn::verdict(connection) {
        common::UNWANTED => (0, 0),
        common::HEADS_ONLY => (HEAD, 0),
        _ => (maps::turn_limit(), TAIL),
    };
    let limit = limit
        .saturating_sub(connection.turn)
        .min(PIECES * PAYLOAD_MAX);
    connection.turn += length;

    let head = length.min(limit);
    let tail = (length - head).min(tail);
    let mut at_buffer = buffer;
    let mut left = head;
    for _ in 0..PIECES {
        if left < PAYLOAD_MAX {
            break;
        }
        piece::<{ PAYLOAD_MAX as usize }>(connection, side, at, at_buffer, PAYLOAD_MAX);
        at_buffer += PAYLOAD_MAX;
        left -= PAYLOAD_MAX;
    }
    rest(connection, side, at, at_buffer, left);
    if head < length {
        skip(connection, side, length - head - tail);
        if tail > 0 {
            piece::<{ TAIL as usize }>(connection, side, at, buffer + length - tail, tail);
        }
    }
}

/// Counts bytes that are left out on purpose.
#[inline(always)]
fn skip(connection: &mut Connection, side: usize, length: u64) {
    connection.position[side & 1] += length;
    connection.cut[side & 1] += length;
}

/// Counts bytes that crossed but are in no memory that could be read.
#[inline(always)]
pub fn unseen(connection: &mut Connection, direction: u8, length: u64) {
    if connection.direction != direction {
        connection.direction = direction;
        connection.turn = 0;
    }
    connection.turn += length;
    connection.position[(direction & 1) as usize] += length;
    maps::count(loss::UNSEEN_BYTES, length);
}

/// A record of the smallest size that holds `length` bytes (fewer than the largest).
#[inline(always)]
fn rest(connection: &mut Connection, side: usize, at: u64, buffer: u64, length: u64) {
    macro_rules! smallest {
        ($($size:literal)*) => {
            match length {
                0 => {}
                $(1..=$size => piece::<$size>(connection, side, at, buffer, length),)*
                _ => piece::<65536>(connection, side, at, buffer, length),
            }
        };
    }
    smallest!(64 128 256 512 1024 2048 4096 8192 16384 32768)
}

#[inline(always)]
fn piece<const N: usize>(
    connection: &mut Connection,
    side: usize,
    at: u64,
    buffer: u64,
    length: u64,
) {
    let header = Header {
        connection: connection.id,
        at,
        position: connection.position[side & 1],
        cut: connection.cut[side & 1],
        length: length as u32,
        kind: kind::DATA,
        direction: side as u8,
        reserved: 0,
    };
    connection.position[side & 1] += length;
    let wake = wake(size_of::<Record<[u8; N]>>() as u64);
    let Some(mut entry) = EVENTS.reserve::<Record<[u8; N]>>(0) else {
        maps::count(loss::NO_ROOM, 1);
        maps::count(loss::NO_ROOM_BYTES, length);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` is the reserved memory.
    let readable = unsafe {
        (&raw mut (*record).header).write(header);
        read::user_bytes::<N>(&raw mut (*record).body, buffer, length)
    };
    if readable {
        entry.submit(wake);
        maps::count(loss::RECORDS, 1);
        maps::count(loss::RECORD_BYTES, length);
    } else {
        entry.discard(wake);
        maps::count(loss::UNREADABLE, 1);
        maps::count(loss::UNREADABLE_BYTES, length);
    }
}

/// The reader comes by on its own; it is woken only when a record of `size` bytes fills the
/// ring to its watermark.
#[inline(always)]
fn wake(size: u64) -> u64 {
    let before = EVENTS.query(BPF_RB_AVAIL_DATA as u64);
    let mark = maps::watermark();
    if before < mark && before + size >= mark {
        BPF_RB_FORCE_WAKEUP as u64
    } else {
        BPF_RB_NO_WAKEUP as u64
    }
}

/// Says what is known of a connection.
#[inline(always)]
pub fn opening(task: Task, key: &Key, connection: &mut Connection, socket: Option<&Socket>) {
    let Some(mut entry) = EVENTS.reserve::<Record<Opening>>(0) else {
        maps::count(loss::NO_ROOM, 1);
        return;
    };
    let record = Record {
        header: fact(connection, kind::OPEN, 0),
        body: Opening {
            key: *key,
            instruction: connection.instruction,
            pid: connection.pid,
            tid: task.tid(),
            comm: bpf_get_current_comm().unwrap_or_default(),
            socket: socket.copied().unwrap_or_default(),
        },
    };
    entry.write(record);
    entry.submit(BPF_RB_NO_WAKEUP as u64);
    connection.state |= state::ANNOUNCED;
    if socket.is_some() {
        connection.state |= state::SOCKET;
    }
}

/// Says that a connection is over, and how much crossed it; whether there was room.
#[inline(always)]
pub fn closing(connection: &Connection) -> bool {
    let Some(mut entry) = EVENTS.reserve::<Record<Closing>>(0) else {
        maps::count(loss::NO_ROOM, 1);
        return false;
    };
    entry.write(Record {
        header: fact(connection, kind::CLOSE, 0),
        body: Closing {
            position: connection.position,
            cut: connection.cut,
        },
    });
    entry.submit(BPF_RB_NO_WAKEUP as u64);
    true
}

/// Says which server a connection is meant for; `name` is a C string of the process.
#[inline(always)]
pub fn server_name(connection: &Connection, name: u64) {
    let Some(mut entry) = EVENTS.reserve::<Record<[u8; SERVER_NAME_MAX]>>(0) else {
        maps::count(loss::NO_ROOM, 1);
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
        let header = fact(connection, kind::SERVER_NAME, length as u32 - 1);
        (&raw mut (*record).header).write(header);
    }
    entry.submit(BPF_RB_NO_WAKEUP as u64);
}

#[inline(always)]
fn fact(connection: &Connection, kind: u8, length: u32) -> Header {
    Header {
        connection: connection.id,
        at: conn::now(),
        position: 0,
        cut: 0,
        length,
        kind,
        direction: 0,
        reserved: 0,
    }
}

/// Says what a process did, and wakes the reader: it may have to attach in a hurry.
#[inline(always)]
pub fn process(kind: u32, pid: u32, file: FileId, address: u64, hurry: bool) {
    let Some(mut entry) = PROCESSES.reserve::<ProcessRecord>(0) else {
        maps::count(loss::PROCESS_NO_ROOM, 1);
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
