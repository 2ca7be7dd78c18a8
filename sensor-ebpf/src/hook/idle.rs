//! Processes that make no calls and have no probes for that: whom they connect to, and who is
//! forked off.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use llmtap_common::idle::Peer;
use llmtap_common::layout::FileId;
use llmtap_common::record::process;

use crate::filter;
use crate::maps::{self, PEERS, offset};
use crate::{emit, read, socket};

const EINPROGRESS: i64 = 115;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Words of the longest name of a Unix socket.
const NAME_WORDS: u64 = 14;

/// A call of `connect(fd, address, length)` has ended.
#[inline(never)]
pub fn connected(fd: u64, address: u64, length: u64, result: i64) {
    if result != 0 && result != -EINPROGRESS {
        return;
    }
    let Some(task) = filter::traced() else { return };
    let Some(watched) = maps::watched(task.pid()) else {
        return;
    };
    let Some(peer) = peer(watched.serial, address, length) else {
        return;
    };
    if socket::stream(fd).is_none() || PEERS.get_ptr(peer).is_some() {
        return;
    }
    // Who can't be told of now is told of when it is connected to next.
    if emit::process(process::CONNECT, task.pid(), FileId::default(), 0, true) {
        let _ = PEERS.insert(peer, 0, BPF_ANY as u64);
    }
}

/// Reads a `struct sockaddr`.
#[inline(always)]
fn peer(serial: u64, at: u64, length: u64) -> Option<Peer> {
    let [family, port]: [u16; 2] = read::user(at)?;
    let (address, port) = match family {
        AF_INET => ([read::user::<u32>(at + 4)? as u64, 0], port),
        AF_INET6 => (read::user(at + 8)?, port),
        AF_UNIX => ([name(at + 2, length.saturating_sub(2)), 0], 0),
        _ => return None,
    };
    Some(Peer {
        serial,
        address,
        port: port as u32,
        family: family as u32,
    })
}

/// One number for a name, by FNV-1a over its words.
#[inline(always)]
fn name(at: u64, length: u64) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325;
    for index in 0..NAME_WORDS {
        let Some(left) = length.checked_sub(8 * index).filter(|left| *left > 0) else {
            break;
        };
        let mut word: u64 = read::user(at + 8 * index).unwrap_or(0);
        if left < 8 {
            word &= (1 << (8 * left)) - 1;
        }
        sum = (sum ^ word).wrapping_mul(0x100_0000_01b3);
    }
    sum
}

const CLONE_VM: u64 = 0x100;

/// Set only while there are probes that see single processes: a new one has none of them.
#[raw_tracepoint(tracepoint = "task_newtask")]
pub fn process_fork(ctx: RawTracePointContext) -> u32 {
    let (child, flags): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    // A thread, or a process that will run another program at once.
    if flags & CLONE_VM != 0 {
        return 0;
    }
    if let (Some(task), Some(pid)) = (filter::traced(), read::kernel(child + offset!(task_tgid))) {
        let parent = task.pid() as u64;
        emit::process(process::FORK, pid, FileId::default(), parent, true);
    }
    0
}
