//! Go's `crypto/tls`, seen at call instructions inside its functions.
//!
//! Goroutines change their thread and their stack at calls, so nothing is remembered from
//! one probe for another, and nothing is placed on a return.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use llmtap_common::conn::{Key, state};
use llmtap_common::record::{READ, WRITE};
use llmtap_common::site::{PAGE, SiteKey};

use crate::emit::Buffers;
use crate::filter::{self, Task};
use crate::goroutine::{self, Goroutine};
use crate::maps::{self, GO_SITES};
use crate::stash::{self, Wrote};
use crate::{arch, conn, emit, read, socket};

/// `recordTypeApplicationData`
const APPLICATION_DATA: u8 = 23;
/// `net.Conn`s in each other that are looked through for the one with a descriptor.
const WRAPPERS: u32 = 3;

/// Plaintext that is handed out or taken in.
struct Plaintext {
    goroutine: Option<Goroutine>,
    direction: u8,
    buffer: u64,
    length: u64,
}

/// `memmove(to, from, n)`, where `(*Conn).Read` copies to its caller.
#[uprobe]
pub fn go_read(ctx: ProbeContext) -> u32 {
    let Some(task) = filter::traced() else {
        return 0;
    };
    let Some(connection) = connection(&ctx) else {
        maps::count(|counters| counters.untracked += 1);
        return 0;
    };
    let plaintext = Plaintext {
        goroutine: Goroutine::running(ctx.regs),
        direction: READ,
        buffer: arch::go_argument(ctx.regs, 1),
        length: arch::go_argument(ctx.regs, 2),
    };
    moved(&ctx, task, connection, plaintext)
}

/// `(*Conn).writeRecordLocked(type, data)`, where `(*Conn).Write` calls it: the handshake is
/// over, and no other writer gets in between.
#[uprobe]
pub fn go_write(ctx: ProbeContext) -> u32 {
    let Some(task) = filter::traced() else {
        return 0;
    };
    if arch::go_argument(ctx.regs, 1) as u8 != APPLICATION_DATA {
        return 0;
    }
    let object = arch::go_argument(ctx.regs, 0);
    let writer = Goroutine::running(ctx.regs);
    let plaintext = Plaintext {
        goroutine: goroutine::asker(task.pid(), &conn::tls_key(task, object), writer),
        direction: WRITE,
        buffer: arch::go_argument(ctx.regs, 2),
        length: arch::go_argument(ctx.regs, 3),
    };
    moved(&ctx, task, object, plaintext)
}

/// `(*Conn).Close()`
#[uprobe]
pub fn go_close(ctx: ProbeContext) -> u32 {
    if let Some(task) = filter::traced() {
        let key = conn::tls_key(task, arch::go_argument(ctx.regs, 0));
        goroutine::forget(&key);
        conn::over(&key);
    }
    0
}

/// The `*Conn` of the function that was probed, from its stack.
#[inline(always)]
fn connection(ctx: &ProbeContext) -> Option<u64> {
    let instruction = arch::instruction(ctx.regs);
    let site = SiteKey {
        in_page: instruction & (PAGE - 1),
        beside: read::user(instruction + arch::BESIDE)?,
    };
    // SAFETY: a copy is taken at once, and entries are never changed.
    let home = *unsafe { GO_SITES.get(site) }?;
    read::user(arch::stack_pointer(ctx.regs) + home)
}

#[inline(always)]
fn moved(ctx: &ProbeContext, task: Task, object: u64, plaintext: Plaintext) -> u32 {
    let Plaintext {
        goroutine,
        direction,
        buffer,
        length,
    } = plaintext;
    // Longer than any address space: these were no arguments.
    if length >> 47 != 0 {
        maps::misfit(task.pid(), arch::instruction(ctx.regs));
        return 0;
    }
    if object == 0 || length == 0 {
        return 0;
    }
    let key = conn::tls_key(task, object);
    let instruction = arch::instruction(ctx.regs);
    if !has_socket(task, &key) {
        bind(task, &key, instruction, object);
    }
    let Some(connection) = conn::tls(task, &key, instruction) else {
        return 0;
    };
    let thread = stash::of(task).or_else(|| stash::new(task));
    let Some(thread) = thread else {
        emit::unseen(connection, direction, length);
        return 0;
    };
    if direction == WRITE && connection.state & state::SOCKET == 0 {
        // A `net.Conn` of the program's own making: the call that sends may tell.
        thread.wrote.set(Wrote { key, length });
    }
    thread.cursor.goroutine.set(Goroutine::name(goroutine));
    let buffers = Buffers {
        buffer,
        size: length,
        vector: 0,
        count: 0,
    };
    emit::payload(
        task,
        thread,
        connection,
        direction,
        conn::now(),
        buffers,
        length,
    );
    0
}

fn has_socket(task: Task, key: &Key) -> bool {
    conn::whole(task, key).is_some_and(|connection| connection.state & state::SOCKET != 0)
}

/// Finds the socket that a `*Conn` was made of: its first field is a `net.Conn`.
#[inline(always)]
fn bind(task: Task, key: &Key, instruction: u64, object: u64) {
    if let Some(descriptor) = descriptor(object) {
        conn::bind(task, key, instruction, descriptor);
    }
}

/// The descriptor of the socket below a `net.Conn`, an interface: a type and a pointer. With
/// a `*net.TCPConn` that leads to a `netFD`, which has the descriptor after the lock of 16
/// bytes; with another type, mostly, to an interface again.
#[inline(always)]
pub fn descriptor(interface: u64) -> Option<u64> {
    let mut interface = interface;
    for _ in 0..WRAPPERS {
        let value = read::user::<u64>(interface + 8)?;
        let descriptor = read::user::<u64>(value).and_then(|fd| read::user::<u64>(fd + 16));
        if let Some(descriptor) = descriptor
            && descriptor >> 31 == 0
            && socket::stream(descriptor).is_some()
        {
            return Some(descriptor);
        }
        interface = value;
    }
    None
}
