//! Clients of Go's `net/http`: which goroutine asks for what another one writes.
//!
//! One probe a request, or two with HTTP/2; none for bytes. In HTTP/1 a connection carries one
//! request at a time. In HTTP/2 it carries many, each written by a goroutine of its own.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use llmtap_common::conn::Key;

use super::go;
use crate::filter::{self, Task};
use crate::goroutine::{self, Goroutine};
use crate::maps::{self, REQUESTS, habit};
use crate::{arch, conn, read, socket};

/// Of `net/http.persistConn`, where its `conn` is, a `net.Conn`: behind `alt` (16 bytes), `t`
/// (8), and `cacheKey` (three strings and a flag), from Go 1.17 on.
const HTTP1_CONN: u64 = 80;
/// Of `http2.ClientConn`, where its `tconn` is: behind `t`.
const HTTP2_CONN: u64 = 8;

/// `(*persistConn).roundTrip(pc, req)`
#[uprobe]
pub fn go_http1_asks(ctx: ProbeContext) -> u32 {
    if let Some((task, asker)) = begin(&ctx) {
        asks(
            task,
            arch::go_argument(ctx.regs, 0) + HTTP1_CONN,
            None,
            asker,
        );
    }
    0
}

/// `(*ClientConn).roundTrip(cc, req)`: another goroutine will write `req`.
#[uprobe]
pub fn go_http2_asks(ctx: ProbeContext) -> u32 {
    if let Some((task, asker)) = begin(&ctx) {
        let name = Goroutine::name(Some(asker));
        let _ = REQUESTS.insert(request(&ctx, task), name, BPF_ANY as u64);
    }
    0
}

/// `(*clientStream).writeRequest(cs, req)`, whose first field is its `*ClientConn`.
#[uprobe]
pub fn go_http2_writes(ctx: ProbeContext) -> u32 {
    let Some((task, writer)) = begin(&ctx) else {
        return 0;
    };
    let request = request(&ctx, task);
    // SAFETY: a copy is taken at once.
    let asker = unsafe { REQUESTS.get(request) }.copied();
    let connection = read::user::<u64>(arch::go_argument(ctx.regs, 0));
    if let (Some(asker), Some(connection)) = (asker.and_then(Goroutine::named), connection) {
        let _ = REQUESTS.remove(request);
        asks(task, connection + HTTP2_CONN, Some(writer), asker);
    }
    0
}

/// The goroutine that runs, in a process that is traced.
#[inline(always)]
fn begin(ctx: &ProbeContext) -> Option<(Task, Goroutine)> {
    let task = filter::traced()?;
    maps::has_habit(task.pid(), habit::ASKS);
    Some((task, Goroutine::running(ctx.regs)?))
}

/// The second argument, the same at both ends of the handover.
#[inline(always)]
fn request(ctx: &ProbeContext, task: Task) -> Key {
    conn::tls_key(task, arch::go_argument(ctx.regs, 1))
}

/// Notes who asks, under the names that the connection may have: `interface` is a `net.Conn`,
/// a `*tls.Conn` or what leads to a socket.
#[inline(always)]
fn asks(task: Task, interface: u64, writer: Option<Goroutine>, asker: Goroutine) {
    let Some(object) = read::user(interface + 8) else {
        return;
    };
    goroutine::asks(&conn::tls_key(task, object), writer, asker);
    if let Some(stream) = go::descriptor(interface).and_then(socket::stream) {
        goroutine::asks(&stream.key(), writer, asker);
    }
}
