//! Libraries with OpenSSL's API: one program an entry ABI, one for returns.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use llmtap_common::conn::state;
use llmtap_common::record::{READ, WRITE};

use crate::emit::Buffers;
use crate::filter;
use crate::stash::{self, Call, Wrote};
use crate::{arch, conn, emit, maps, read};

/// How a function tells what it moved: by its result, or by `*done` where its result is 1.
pub const BY_RESULT: u64 = 0;
const BY_DONE: u64 = 2;
/// The bytes never were in memory of the process.
const FROM_FILE: u64 = 4;

#[uprobe]
pub fn ssl_read(ctx: ProbeContext) -> u32 {
    enter(&ctx, READ as u64 | BY_RESULT, None)
}

#[uprobe]
pub fn ssl_read_ex(ctx: ProbeContext) -> u32 {
    enter(&ctx, READ as u64 | BY_DONE, Some(3))
}

#[uprobe]
pub fn ssl_write(ctx: ProbeContext) -> u32 {
    enter(&ctx, WRITE as u64 | BY_RESULT, None)
}

#[uprobe]
pub fn ssl_write_ex(ctx: ProbeContext) -> u32 {
    enter(&ctx, WRITE as u64 | BY_DONE, Some(3))
}

#[uprobe]
pub fn ssl_write_ex2(ctx: ProbeContext) -> u32 {
    enter(&ctx, WRITE as u64 | BY_DONE, Some(4))
}

/// `SSL_sendfile(ssl, fd, offset, size, flags)`
#[uprobe]
pub fn ssl_sendfile(ctx: ProbeContext) -> u32 {
    enter_with(&ctx, WRITE as u64 | BY_RESULT | FROM_FILE, 3, None)
}

#[inline(always)]
pub fn enter(ctx: &ProbeContext, function: u64, done: Option<usize>) -> u32 {
    enter_with(ctx, function, 2, done)
}

/// `length` and `done`: the numbers of these arguments.
#[inline(always)]
fn enter_with(ctx: &ProbeContext, function: u64, length: usize, done: Option<usize>) -> u32 {
    let Some(task) = filter::traced() else {
        return 0;
    };
    let argument = |n| ctx.arg::<u64>(n).unwrap_or(0);
    let call = Call {
        ssl: argument(0),
        buffer: argument(1),
        length: argument(length),
        done: done.map_or(0, argument),
        stack: arch::stack_pointer(ctx.regs),
        began: conn::now(),
        instruction: arch::instruction(ctx.regs),
        function,
    };
    stash::begin(task, call);
    0
}

/// A return probe, behind the return.
#[uretprobe]
pub fn ssl_returned(ctx: RetProbeContext) -> u32 {
    leave(ctx.regs, ctx.ret(), arch::RETURN_POPS)
}

/// A plain probe on a return instruction.
#[uprobe]
pub fn ssl_returns(ctx: ProbeContext) -> u32 {
    let result = RetProbeContext::new(ctx.as_ptr()).ret();
    leave(ctx.regs, result, 0)
}

#[inline(always)]
fn leave(regs: *const aya_ebpf::bindings::pt_regs, result: i32, pops: u64) -> u32 {
    let Some(task) = filter::traced() else {
        return 0;
    };
    let Some((thread, call)) = stash::end(task, arch::stack_pointer(regs), pops) else {
        return 0;
    };
    let moved = moved(&call, result);
    if moved > room(&call) {
        maps::misfit(task.pid(), call.instruction);
        return 0;
    }
    if moved == 0 {
        return 0;
    }
    let key = conn::tls_key(task, call.ssl);
    let Some(connection) = conn::tls(task, &key, call.instruction) else {
        return 0;
    };
    let direction = (call.function & 1) as u8;
    let at = if direction == WRITE {
        call.began
    } else {
        conn::now()
    };
    if call.function & FROM_FILE != 0 {
        emit::unseen(connection, direction, moved);
        return 0;
    }
    if connection.state & state::SOCKET == 0 {
        if direction == WRITE {
            // The call that sends the record comes next.
            thread.wrote.set(Wrote { key, length: moved });
        } else if let Some(fd) = thread.arrived.get().carried(moved) {
            conn::carried(task, &key, connection, fd);
        }
    }
    let buffers = Buffers {
        buffer: call.buffer,
        size: moved,
        vector: 0,
        count: 0,
    };
    emit::payload(task, thread, connection, direction, at, buffers, moved);
    0
}

/// Bytes that a call moved; more than it could, where it is no such call.
#[inline(always)]
fn moved(call: &Call, result: i32) -> u64 {
    if result <= 0 {
        return 0;
    }
    if call.function & BY_DONE == 0 {
        result as u64
    } else {
        read::user::<u64>(call.done).unwrap_or(u64::MAX)
    }
}

/// Bytes that a call could move: none, if its length is longer than any address space.
#[inline(always)]
fn room(call: &Call) -> u64 {
    let length = match call.function & (BY_DONE | FROM_FILE) {
        // An int, as the count is.
        BY_RESULT => call.length & 0x7fff_ffff,
        _ => call.length,
    };
    if length >> 47 == 0 { length } else { 0 }
}

/// `SSL_free(ssl)`
#[uprobe]
pub fn ssl_free(ctx: ProbeContext) -> u32 {
    if let (Some(task), Some(ssl)) = (filter::traced(), ctx.arg::<u64>(0)) {
        conn::over(&conn::tls_key(task, ssl));
    }
    0
}

/// `SSL_CTRL_SET_TLSEXT_HOSTNAME`
const SET_HOST_NAME: i32 = 55;

/// `SSL_ctrl(ssl, cmd, larg, parg)`
#[uprobe]
pub fn ssl_ctrl(ctx: ProbeContext) -> u32 {
    if ctx.arg::<i32>(1) != Some(SET_HOST_NAME) {
        return 0;
    }
    let (Some(task), Some(ssl), Some(name)) =
        (filter::traced(), ctx.arg::<u64>(0), ctx.arg::<u64>(3))
    else {
        return 0;
    };
    if let Some(connection) =
        conn::tls(task, &conn::tls_key(task, ssl), arch::instruction(ctx.regs))
    {
        emit::server_name(connection, name);
    }
    0
}
