//! System calls, at their end: one program sees their arguments and their result.
//!
//! A raw tracepoint on the end of every call costs less than a pair of tracepoints on the
//! few of interest and the map between them, leaves nothing behind when a thread dies in a
//! call, and needs no tracefs. Calls that are not of interest end after one read.

use core::hint::black_box;

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use llmtap_common::conn::Connection;
use llmtap_common::idle::RELEASED;
use llmtap_common::record::{READ, WRITE, process};

use crate::arch::{self, Call, number};
use crate::emit::Buffers;
use crate::filter::{self, Task};
use crate::goroutine::{self, Goroutine};
use crate::hook::idle;
use crate::maps::{self, FILES, habit};
use crate::socket;
use crate::stash::{self, Arrived, Wrote};
use crate::{conn, emit, pipes, read, stream, wire};

const PROT_EXEC: u64 = 4;
/// The bytes stay in the socket, or never were in the stream.
const MSG_OOB_PEEK_ERRQUEUE: u64 = 0x2003;
/// The bytes are thrown away.
const MSG_TRUNC: u64 = 0x20;
/// Most messages of a `sendmmsg` or `recvmmsg` that are counted.
const MESSAGES: u64 = 8;

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn syscall_exit(ctx: RawTracePointContext) -> u32 {
    let result: i64 = ctx.arg(1);
    if let Some(call) = arch::system_call(ctx.arg(0))
        && call.number < number::END
    {
        if call.number == number::CONNECT {
            let [fd, address, length, _] = call.args;
            idle::connected(fd, address, length, result);
        } else if result >= 0 {
            dispatch(&call, ctx.arg(0), result as u64);
        }
    }
    0
}

#[inline(always)]
fn dispatch(call: &Call, regs: u64, result: u64) {
    match call.number {
        number::CLOSE => closed(call),
        number::MMAP => mapped(call, result),
        _ => {
            if let Some(transfer) = transfer(call, result) {
                moved(regs, &transfer);
            }
        }
    }
}

/// Bytes that crossed a descriptor.
#[derive(Clone, Copy)]
struct Transfer {
    fd: u64,
    direction: u8,
    place: Place,
    length: u64,
}

/// Where the bytes are.
#[derive(Clone, Copy)]
enum Place {
    Buffer(u64),
    /// Address and number of `struct iovec`s.
    Vector(u64, u64),
    /// Not in memory of the process.
    Nowhere,
}

/// What begins a transfer in the registers of a function of its own; the address and the
/// count of its place and its length are the others (see `main.rs`).
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Way(u64);

impl Way {
    const FD: u64 = 0xffff_ffff;
    const DIRECTION: u32 = 32;
    const MARK: u32 = 33;

    #[inline(always)]
    fn of(transfer: &Transfer, mark: bool) -> Self {
        let direction = transfer.direction as u64 & 1;
        Self(transfer.fd & Self::FD | direction << Self::DIRECTION | (mark as u64) << Self::MARK)
    }

    #[inline(always)]
    fn is_marked(self) -> bool {
        self.0 >> Self::MARK & 1 == 1
    }
}

impl Transfer {
    #[inline(always)]
    fn new(Way(way): Way, address: u64, count: u64, length: u64) -> Self {
        // The compiler sees the callers, and leaves out what it knows of their bits; the
        // verifier looks at each function by itself.
        let way = black_box(way);
        Self {
            fd: way & Way::FD,
            direction: (way >> Way::DIRECTION & 1) as u8,
            place: match (address, count) {
                (0, _) => Place::Nowhere,
                (buffer, 0) => Place::Buffer(buffer),
                vector => Place::Vector(vector.0, count),
            },
            length,
        }
    }

    /// Where the bytes begin; 0: nowhere.
    #[inline(always)]
    fn first(&self) -> u64 {
        match self.place {
            Place::Buffer(buffer) => buffer,
            Place::Vector(vector, _) => read::user(vector).unwrap_or(0),
            Place::Nowhere => 0,
        }
    }
}

impl Place {
    #[inline(always)]
    fn words(self) -> (u64, u64) {
        match self {
            Self::Buffer(address) => (address, 0),
            Self::Vector(address, count) => (address, count),
            Self::Nowhere => (0, 0),
        }
    }
}

/// What a call moved, if it is one that moves bytes.
#[inline(always)]
fn transfer(call: &Call, length: u64) -> Option<Transfer> {
    let [fd, second, third, fourth] = call.args;
    let (direction, flags) = match call.number {
        number::READ | number::READV => (READ, 0),
        number::RECVFROM | number::RECVMMSG => (READ, fourth),
        number::RECVMSG => (READ, third),
        number::WRITE | number::SENDTO | number::WRITEV | number::SENDFILE => (WRITE, 0),
        number::SENDMSG | number::SENDMMSG => (WRITE, 0),
        _ => return None,
    };
    if length == 0 || flags & MSG_OOB_PEEK_ERRQUEUE != 0 {
        return None;
    }
    let mut length = length;
    let place = match call.number {
        _ if flags & MSG_TRUNC != 0 => Place::Nowhere,
        number::READV | number::WRITEV => Place::Vector(second, third),
        number::RECVMSG | number::SENDMSG => message(second)?,
        number::RECVMMSG | number::SENDMMSG => {
            length = messages(second, length)?;
            message(second)?
        }
        number::SENDFILE => Place::Nowhere,
        _ => Place::Buffer(second),
    };
    Some(Transfer {
        fd,
        direction,
        place,
        length,
    })
}

/// `struct msghdr`: vector and count stand at 16 and 24.
#[inline(always)]
fn message(header: u64) -> Option<Place> {
    let [vector, count] = read::user::<[u64; 2]>(header + 16)?;
    Some(Place::Vector(vector, count))
}

/// Bytes in `count` messages, `struct mmsghdr`s of 64 bytes with the bytes moved at 56. Over
/// a stream nobody sends more than one in a call; of the others the bytes count as lost.
#[inline(always)]
fn messages(headers: u64, count: u64) -> Option<u64> {
    let mut length = 0;
    for index in 0..MESSAGES {
        if index >= count {
            break;
        }
        length += read::user::<u32>(headers + index * 64 + 56)? as u64;
    }
    Some(length)
}

/// `regs`: address of the registers that the call was made with.
#[inline(always)]
fn moved(regs: u64, transfer: &Transfer) {
    let Some(task) = filter::traced() else { return };
    let start = wire::start(transfer.first(), transfer.length);
    let habits = maps::habits(task.pid());
    if habits & habit::RECORDS != 0 && transfer.direction == READ {
        received(task, transfer.fd);
    }
    let speaks_plain = habits & habit::PLAIN != 0;
    let (address, count) = transfer.place.words();
    match start {
        wire::Start::Tls => {
            let way = Way::of(transfer, speaks_plain);
            tls(task, way, address, count, transfer.length);
        }
        wire::Start::Request | wire::Start::Post | wire::Start::Response => {
            let way = Way::of(transfer, true);
            plain(regs, way, address, count, transfer.length);
        }
        wire::Start::Message | wire::Start::Other => {
            let way = Way::of(transfer, false);
            let is_plain = speaks_plain && plain(regs, way, address, count, transfer.length);
            let begins = matches!(start, wire::Start::Message);
            if !is_plain
                && (begins || habits & habit::MESSAGES != 0)
                && let Some(connection) =
                    pipes::connection(task, transfer.fd, transfer.direction, begins)
            {
                piped(connection, way, address, count, transfer.length);
            }
        }
    }
}

/// What is decrypted next came from this descriptor.
#[inline(always)]
fn received(task: Task, fd: u64) {
    if let Some(thread) = stash::of(task).or_else(|| stash::new(task)) {
        thread.received.set(fd + 1);
    }
}

/// Ciphertext crossed: nothing of it is delivered, but it tells which socket a TLS object
/// uses. The way is marked where the process speaks HTTP over plain sockets.
#[inline(never)]
fn tls(task: Task, way: Way, address: u64, count: u64, length: u64) {
    let transfer = &Transfer::new(way, address, count, length);
    let fd = transfer.fd;
    if way.is_marked() {
        // A tunnel through a proxy begins as HTTP; what follows it is not for us.
        conn::encrypted(fd);
    }
    let Some(thread) = stash::of(task) else {
        return;
    };
    let since = maps::trusted_since(task.pid());
    if since == RELEASED {
        return thread.forget_records();
    }
    let wrote = thread.wrote.get();
    if let Some(call) = thread.in_flight(since) {
        // The library itself moves its records.
        conn::bind(task, &conn::tls_key(task, call.ssl), call.instruction, fd);
    } else if transfer.direction == WRITE && wrote.key.object != 0 {
        // The program moves them: this may be what the last call made.
        thread.wrote.set(Wrote::NONE);
        if !carries(transfer, wrote.length) {
            return;
        }
        if stream::is_name(&wrote.key) {
            stream::bind(task, &wrote.key, fd);
        } else {
            conn::bind(task, &wrote.key, 0, fd);
        }
    } else if transfer.direction == READ {
        // This may be what the next call hands out.
        thread.arrived.set(Arrived {
            from: fd + 1,
            records: wire::Records::read(transfer.first(), transfer.length),
        });
    }
}

/// Buffers of a vector that are looked at: each may hold a record.
const VECTORS: u64 = 4;

/// Whether what was sent may be what `length` bytes of plaintext became.
#[inline(always)]
fn carries(transfer: &Transfer, length: u64) -> bool {
    let carry = |buffer| wire::Records::read(buffer, transfer.length).carry(length);
    match transfer.place {
        Place::Nowhere => false,
        Place::Buffer(buffer) => carry(buffer),
        Place::Vector(vector, count) => (0..VECTORS.min(count)).any(|index| {
            let buffer = read::user(vector + 16 * index);
            buffer.is_some_and(carry)
        }),
    }
}

/// Plaintext crossed a socket that speaks HTTP; the way is marked where it starts to. Whether
/// it did.
#[inline(never)]
fn plain(regs: u64, way: Way, address: u64, count: u64, length: u64) -> bool {
    let task = Task::running();
    let since = maps::trusted_since(task.pid());
    if stash::of(task).is_some_and(|thread| thread.in_flight(since).is_some()) {
        // The kernel encrypts for the library, which is traced already.
        return false;
    }
    let transfer = Transfer::new(way, address, count, length);
    let Some(stream) = socket::stream(transfer.fd) else {
        return false;
    };
    if !way.is_marked() && conn::find(&stream.key()).is_none() {
        return false;
    }
    if let Some(connection) = conn::plain(task, &stream, transfer.fd) {
        let mut goroutine = Goroutine::of_call(regs);
        if transfer.direction == WRITE {
            goroutine = goroutine::asker(task.pid(), &stream.key(), goroutine);
        }
        deliver(task, connection, &transfer, goroutine);
    }
    true
}

/// Bytes of messages crossed a pipe.
#[inline(never)]
fn piped(connection: &mut Connection, way: Way, address: u64, count: u64, length: u64) {
    let transfer = Transfer::new(way, address, count, length);
    deliver(Task::running(), connection, &transfer, None);
}

#[inline(always)]
fn deliver(
    task: Task,
    connection: &mut Connection,
    transfer: &Transfer,
    goroutine: Option<Goroutine>,
) {
    let Transfer {
        direction, length, ..
    } = *transfer;
    let at = conn::now();
    let buffers = match transfer.place {
        Place::Buffer(buffer) => Buffers {
            buffer,
            size: length,
            vector: 0,
            count: 0,
        },
        Place::Vector(vector, count) => Buffers {
            buffer: 0,
            size: 0,
            vector,
            count,
        },
        Place::Nowhere => return emit::unseen(connection, direction, length),
    };
    let Some(thread) = stash::of(task).or_else(|| stash::new(task)) else {
        return emit::unseen(connection, direction, length);
    };
    thread.cursor.goroutine.set(Goroutine::name(goroutine));
    emit::payload(task, thread, connection, direction, at, buffers, length);
}

#[inline(always)]
fn closed(call: &Call) {
    let Some(task) = filter::traced() else { return };
    if maps::habits(task.pid()) != 0 {
        conn::closed(task, call.args[0]);
    }
}

/// A file was mapped for execution: it may be a library to probe.
#[inline(never)]
fn mapped(call: &Call, address: u64) {
    if call.args[2] & PROT_EXEC == 0 || call.fifth as i32 == -1 {
        return;
    }
    let (Some(task), Some(file)) = (filter::traced(), socket::file_id(call.fifth)) else {
        return;
    };
    if FILES.get_ptr(file).is_none() {
        emit::process(process::MAP, task.pid(), file, address, true);
    }
}
