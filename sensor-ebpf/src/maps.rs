//! Maps and settings.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use llmtap_common::conn::{Connection, Key};
use llmtap_common::filter;
use llmtap_common::idle::{MAX_WATCHED, Peer, Watched};
use llmtap_common::layout::{FileId, KernelLayout};
use llmtap_common::loss::{Counters, Place};
use llmtap_common::site::SiteKey;

use crate::conn::Carried;
use crate::pipes::{Channel, Ends};
use crate::stash::Thread;
use crate::stream::Stream;

/// Traffic. User space sets its size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What processes do; apart, so that a flood of traffic hides no new process.
#[map]
pub static PROCESSES: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

#[map]
pub static CONNECTIONS: LruHashMap<Key, Connection> = LruHashMap::with_max_entries(1 << 16, 0);

/// By thread (`pid_tgid`).
#[map]
pub static THREADS: HashMap<u64, Thread> = HashMap::with_max_entries(1 << 15, 0);

/// A thread that did nothing yet.
#[map]
pub static EMPTY: Array<Thread> = Array::with_max_entries(1, 0);

/// See [`filter::VERDICTS`].
#[map]
pub static VERDICTS: Array<u64> = Array::with_max_entries(filter::VERDICTS, 0);

/// See [`filter::mode`].
#[map]
pub static PIDS: HashMap<u32, u8> = HashMap::with_max_entries(1 << 12, 0);

/// Processes whose system calls tell more than which socket carries what; see [`habit`].
#[map]
static HABITS: LruHashMap<u32, u8> = LruHashMap::with_max_entries(1 << 12, 0);

/// Streams of encrypted records, by the name of the stream.
#[map]
pub static STREAMS: LruHashMap<Key, Stream> = LruHashMap::with_max_entries(1 << 16, 0);

/// Connections of such streams, by the inode of their socket.
#[map]
pub static SOCKETS: LruHashMap<u64, Key> = LruHashMap::with_max_entries(1 << 14, 0);

/// Connections whose end is that of a descriptor, by process and descriptor.
#[map]
pub static DESCRIPTORS: LruHashMap<u64, Carried> = LruHashMap::with_max_entries(1 << 14, 0);

/// Pipes that messages may cross, by the inode of an end.
#[map]
pub static CHANNELS: LruHashMap<u64, Channel> = LruHashMap::with_max_entries(1 << 14, 0);

/// Which of them lies between two processes.
#[map]
pub static BETWEEN: LruHashMap<Ends, u64> = LruHashMap::with_max_entries(1 << 12, 0);

/// Files that user space has looked at already.
#[map]
pub static FILES: LruHashMap<FileId, u8> = LruHashMap::with_max_entries(1 << 14, 0);

/// Where on the stack a Go function keeps its connection, by the place of the probe.
#[map]
pub static GO_SITES: HashMap<SiteKey, u64> = HashMap::with_max_entries(1 << 12, 0);

/// Goroutines that ask for requests which others are to write, by process and request.
#[map]
pub static REQUESTS: LruHashMap<Key, u32> = LruHashMap::with_max_entries(1 << 12, 0);

/// Goroutines that others write for: by connection, or by connection and, above its process,
/// who writes.
#[map]
pub static ASKERS: LruHashMap<Key, u32> = LruHashMap::with_max_entries(1 << 14, 0);

#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// How often a probe was called with what its function never is called with.
#[map]
static MISFITS: LruHashMap<Place, u64> = LruHashMap::with_max_entries(1 << 10, 0);

/// Processes that make no calls, as far as they are looked at for that.
#[map]
static WATCHED: HashMap<u32, Watched> = HashMap::with_max_entries(MAX_WATCHED, 0);

/// Whom they connected to.
#[map]
pub static PEERS: LruHashMap<Peer, u8> = LruHashMap::with_max_entries(1 << 14, 0);

/// Whether there is something in `WATCHED`, so that it costs nothing where there is not.
#[map]
static WATCHING: Array<u64> = Array::with_max_entries(1, 0);

#[inline(always)]
pub fn watched(pid: u32) -> Option<Watched> {
    if WATCHING.get(0).is_none_or(|any| *any == 0) {
        return None;
    }
    // SAFETY: a copy is taken at once.
    unsafe { WATCHED.get(pid) }.copied()
}

/// See [`Watched::since`]. Apart, so that it takes no stack of those who ask and then go deep.
#[inline(never)]
pub fn trusted_since(pid: u32) -> u64 {
    watched(pid).map_or(0, |watched| watched.since)
}

#[inline(always)]
pub fn forget_watched(pid: u32) {
    let _ = WATCHED.remove(pid);
}

/// Counts a call that did not fit.
#[inline(never)]
pub fn misfit(pid: u32, instruction: u64) {
    let place = Place {
        instruction,
        pid: pid as u64,
    };
    match MISFITS.get_ptr_mut(place) {
        // SAFETY: of an entry of the map; two at once may lose one, which is no harm.
        Some(count) => unsafe { *count += 1 },
        None => {
            let _ = MISFITS.insert(place, 1, BPF_ANY as u64);
        }
    }
}

/// What a process was seen to do.
pub mod habit {
    /// It speaks HTTP over plain sockets.
    pub const PLAIN: u8 = 1;
    /// It encrypts records where a probe sees it.
    pub const RECORDS: u8 = 2;
    /// It is a program of Go in which one goroutine writes for another.
    pub const ASKS: u8 = 4;
    /// It exchanges messages over pipes.
    pub const MESSAGES: u8 = 8;
}

/// Bits of [`habit`].
#[inline(always)]
pub fn habits(pid: u32) -> u8 {
    // SAFETY: a copy of one byte is taken.
    HABITS.get_ptr(pid).map_or(0, |bits| unsafe { *bits })
}

#[inline(always)]
pub fn has_habit(pid: u32, habit: u8) {
    let bits = habits(pid);
    if bits & habit == 0 {
        // Two at once may lose one, which comes again with the next record.
        let _ = HABITS.insert(pid, bits | habit, BPF_ANY as u64);
    }
}

#[inline(always)]
pub fn forget_habits(pid: u32) {
    let _ = HABITS.remove(pid);
}

/// A setting that user space writes before the programs are loaded.
macro_rules! setting {
    ($(#[$doc:meta])* $name:ident: $type:ty = $value:expr, $read:ident) => {
        #[unsafe(no_mangle)]
        static $name: $type = $value;

        $(#[$doc])*
        #[inline(always)]
        pub fn $read() -> $type {
            // SAFETY: a valid static; volatile, because its value here is not its value there.
            unsafe { core::ptr::read_volatile(&raw const $name) }
        }
    };
}

setting!(
    /// The sensor itself, never traced.
    OWN_PID: u32 = 0, own_pid);
setting!(
    /// See [`filter::mode`].
    PID_MODE: u32 = filter::mode::EVERY, pid_mode);
setting!(
    /// Bytes of one turn that are delivered.
    TURN_LIMIT: u64 = 16 << 20, turn_limit);
setting!(
    /// Bytes in `EVENTS` at which the reader is woken.
    WATERMARK: u64 = 1 << 18, watermark);

/// A [`KernelLayout`], all zero until user space writes it.
#[unsafe(no_mangle)]
static LAYOUT: [u32; size_of::<KernelLayout>() / 4] = [0; size_of::<KernelLayout>() / 4];

/// One field of the [`KernelLayout`].
macro_rules! offset {
    ($field:ident) => {
        $crate::maps::layout(core::mem::offset_of!(
            llmtap_common::layout::KernelLayout,
            $field
        ))
    };
}
pub(crate) use offset;

#[inline(always)]
pub fn layout(field: usize) -> u64 {
    // SAFETY: `field` is an offset in it; volatile as in `setting`.
    unsafe { core::ptr::read_volatile((&raw const LAYOUT).cast::<u32>().add(field / 4)) as u64 }
}

/// Changes the counters of this processor.
#[inline(always)]
pub fn count(change: impl FnOnce(&mut Counters)) {
    if let Some(counters) = COUNTERS.get_ptr_mut(0) {
        // SAFETY: a slot of this processor. A probe that preempts another one may lose an
        // increment, which is no harm here.
        change(unsafe { &mut *counters })
    }
}
