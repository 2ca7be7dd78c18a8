//! Encryption of TLS records, for programs whose TLS library has no function that could be
//! told: AWS-LC's and BoringSSL's `EVP_AEAD_CTX_*`, and the algorithms of ring.
//!
//! What is encrypted is seen at entry, what is decrypted at the return. The additional data
//! says whether it is a TLS record at all (RFC 8446, section 5.2; RFC 5246, section
//! 6.2.3.3). In TLS 1.3 the nonce is the number of the record, added to a secret without
//! carry, so all but its last bytes name the stream; in TLS 1.2 its first bytes do so only
//! together with the key's address.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use llmtap_common::conn::{Key, state, stream as name};
use llmtap_common::record::{READ, WRITE};

use crate::emit::Buffers;
use crate::filter::{self, Task};
use crate::maps::{self, habit};
use crate::stash::{self, Cipher, Thread, Wrote};
use crate::stream::{self, Record, Step};
use crate::{arch, conn, emit, read};

const APPLICATION_DATA: u64 = 0x17;
/// Bytes of every nonce of TLS.
const NONCE: u64 = 12;
/// Bytes of additional data in TLS 1.3: the head of the record.
const HEAD: u64 = 5;
/// In TLS 1.2: number, type, version, length.
const PSEUDO_HEAD: u64 = 13;
/// Most plaintext of a record with its type, and what encryption adds.
const RECORD_MAX: u64 = (1 << 14) + 256;

/// Where a call has its parts: numbers of arguments.
struct Places {
    key: usize,
    nonce: usize,
    data: usize,
    /// Of the additional data.
    head: usize,
}

const WHOLE: Places = Places {
    key: 0,
    nonce: 4,
    data: 6,
    head: 8,
};
const SCATTER: Places = Places {
    key: 0,
    nonce: 5,
    data: 7,
    head: 11,
};
const GATHER: Places = Places {
    key: 0,
    nonce: 2,
    data: 4,
    head: 8,
};
const RING: Places = {
    let first = arch::RESULT_FIRST as usize;
    Places {
        key: first,
        nonce: first + 1,
        head: first + 2,
        data: first + 4,
    }
};

/// `EVP_AEAD_CTX_seal`
#[uprobe]
pub fn aead_seal(ctx: ProbeContext) -> u32 {
    if has_nonce(&ctx, &WHOLE) {
        seal(&ctx, &WHOLE, 0);
    }
    0
}

/// `EVP_AEAD_CTX_seal_scatter`: BoringSSL adds the content type as one byte more.
#[uprobe]
pub fn aead_seal_scatter(ctx: ProbeContext) -> u32 {
    if has_nonce(&ctx, &SCATTER) {
        let kind = match arch::argument(&ctx, 10) {
            0 => 0,
            _ => read::user::<u8>(arch::argument(&ctx, 9)).unwrap_or(0),
        };
        seal(&ctx, &SCATTER, kind as u64);
    }
    0
}

#[uprobe]
pub fn ring_seal(ctx: ProbeContext) -> u32 {
    seal(&ctx, &RING, 0);
    0
}

/// `EVP_AEAD_CTX_open`
#[uprobe]
pub fn aead_open(ctx: ProbeContext) -> u32 {
    if has_nonce(&ctx, &WHOLE) {
        let length = arch::argument(&ctx, WHOLE.data + 1);
        let (out, done) = (arch::argument(&ctx, 1), arch::argument(&ctx, 2));
        open(&ctx, &WHOLE, out, length, done, 0);
    }
    0
}

/// `EVP_AEAD_CTX_open_gather`
#[uprobe]
pub fn aead_open_gather(ctx: ProbeContext) -> u32 {
    if has_nonce(&ctx, &GATHER) {
        let length = arch::argument(&ctx, GATHER.data + 1);
        open(&ctx, &GATHER, arch::argument(&ctx, 1), length, 0, 0);
    }
    0
}

#[uprobe]
pub fn ring_open(ctx: ProbeContext) -> u32 {
    let whole = arch::argument(&ctx, RING.data + 1);
    let skipped = arch::argument(&ctx, RING.data + 2);
    let out = arch::argument(&ctx, RING.data);
    let length = whole.saturating_sub(skipped);
    open(&ctx, &RING, out, length, 0, arch::result_place(ctx.regs));
    0
}

/// A return probe, behind the return.
#[uretprobe]
pub fn aead_opened(ctx: RetProbeContext) -> u32 {
    opened(ctx.regs, ctx.ret(), arch::RETURN_POPS)
}

/// A plain probe on a return instruction.
#[uprobe]
pub fn aead_returns(ctx: ProbeContext) -> u32 {
    opened(ctx.regs, RetProbeContext::new(ctx.as_ptr()).ret(), 0)
}

/// Functions of C are told how long the nonce is.
#[inline(always)]
fn has_nonce(ctx: &ProbeContext, at: &Places) -> bool {
    arch::argument(ctx, at.nonce + 1) == NONCE
}

/// Which record it is that a call works on; `None` if it is none of TLS.
#[inline(always)]
fn record(ctx: &ProbeContext, task: Task, at: &Places, direction: u8) -> Option<Record> {
    let size = arch::argument(ctx, at.head + 1);
    if size != HEAD && size != PSEUDO_HEAD {
        return None;
    }
    let head = arch::argument(ctx, at.head);
    let [first, second, number]: [u32; 3] = read::user(arch::argument(ctx, at.nonce))?;
    let bit = if direction == WRITE {
        name::WRITE
    } else {
        name::READ
    };
    let pid = task.pid() as u64 | bit;
    if size == HEAD {
        let [kind, major, minor, _, _]: [u8; HEAD as usize] = read::user(head)?;
        return (kind as u64 == APPLICATION_DATA && major == 3 && minor == 3).then_some(Record {
            stream: Key {
                pid,
                object: (first as u64) << 32 | second as u64,
            },
            number: u32::from_be(number) as u64,
            kind: 0,
        });
    }
    let counter: u64 = read::user(head)?;
    let [kind, major, minor]: [u8; 3] = read::user(head + 8)?;
    (matches!(kind, 0x14..=0x17) && major == 3 && minor == 3).then_some(Record {
        stream: Key {
            pid,
            object: (first as u64) << 32 ^ arch::argument(ctx, at.key),
        },
        number: u64::from_be(counter),
        kind: kind as u64,
    })
}

/// `kind`: the content type, where it is not among the data.
#[inline(always)]
fn seal(ctx: &ProbeContext, at: &Places, kind: u64) {
    let Some(task) = filter::traced() else { return };
    let Some(mut record) = record(ctx, task, at, WRITE) else {
        return;
    };
    if record.kind == 0 {
        record.kind = kind;
    }
    let Some(thread) = stash::of(task).or_else(|| stash::new(task)) else {
        return;
    };
    let length = arch::argument(ctx, at.data + 1);
    thread.cipher.set(Cipher {
        record,
        buffer: arch::argument(ctx, at.data),
        length,
        done: 0,
        outcome: 0,
        stack: 0,
        instruction: arch::instruction(ctx.regs),
    });
    deliver(task, thread, length, WRITE);
}

#[inline(always)]
fn open(ctx: &ProbeContext, at: &Places, buffer: u64, length: u64, done: u64, outcome: u64) {
    let Some(task) = filter::traced() else { return };
    let Some(record) = record(ctx, task, at, READ) else {
        return;
    };
    let Some(thread) = stash::of(task).or_else(|| stash::new(task)) else {
        return;
    };
    let (stack, before) = (arch::stack_pointer(ctx.regs), thread.cipher.get());
    let same = before.record.stream == record.stream && before.record.number == record.number;
    if same && before.stack > stack {
        // One form of the function calls the other.
        return;
    }
    thread.cipher.set(Cipher {
        record,
        buffer,
        length,
        done,
        outcome,
        stack,
        instruction: arch::instruction(ctx.regs),
    });
}

#[inline(always)]
fn opened(regs: *const pt_regs, result: u32, pops: u64) -> u32 {
    let Some(task) = filter::traced() else {
        return 0;
    };
    let Some(thread) = stash::of(task) else {
        return 0;
    };
    let call = thread.cipher.get();
    if call.stack == 0 || arch::stack_pointer(regs) < call.stack + pops {
        return 0;
    }
    thread.cipher.set(Cipher { stack: 0, ..call });
    let went_well = match call.outcome {
        0 => result == 1,
        // The discriminant of a `Result`.
        place => read::user::<u8>(place) == Some(0),
    };
    let length = match call.done {
        0 => call.length,
        place => read::user(place).unwrap_or(0),
    };
    if went_well && length <= call.length {
        deliver(task, thread, length, READ);
    }
    0
}

/// Hands on what the record of the thread holds, `length` bytes with its type and padding, if
/// that is data of the application.
#[inline(never)]
fn deliver(task: Task, thread: &Thread, length: u64, direction: u8) {
    let Cipher {
        record,
        buffer,
        instruction,
        ..
    } = thread.cipher.get();
    maps::has_habit(task.pid(), habit::RECORDS);
    let Some((stream, step)) = stream::follow(&record) else {
        return;
    };
    if length > RECORD_MAX {
        return maps::misfit(task.pid(), instruction);
    }
    if step == Step::Again || length == 0 {
        return;
    }
    let received = thread.received.get();
    if direction == READ && received != 0 && stream.is_loose() {
        stream::bind(task, &record.stream, received - 1);
    }
    let (kind, length) = match record.kind {
        0 => content(buffer, length),
        kind => (kind, length),
    };
    // A type that no record has; RFC 6520 has the last that there is.
    if !matches!(kind, 0x14..=0x18) {
        maps::misfit(task.pid(), instruction);
    }
    let mut loose = direction == WRITE && stream.is_loose();
    if kind == APPLICATION_DATA && length > 0 {
        let key = stream.connection();
        if direction == READ && received != 0 {
            conn::bind(task, &key, instruction, received - 1);
        }
        let Some(connection) = conn::tls(task, &key, instruction) else {
            return;
        };
        loose |= direction == WRITE && connection.state & state::SOCKET == 0;
        if step == Step::Gap {
            // How much is missing nobody can tell, but that something is.
            connection.position[(direction & 1) as usize] += 1;
        }
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
    }
    if loose && thread.wrote.get().key != record.stream {
        // The call that sends the record comes next.
        let key = record.stream;
        thread.wrote.set(Wrote { key, length });
    }
}

/// Words of padding that are looked at in one step.
const STRIDE: usize = 8;
const STRIDE_BYTES: u64 = 8 * STRIDE as u64;
const STRIDES: u64 = RECORD_MAX / STRIDE_BYTES + 1;

/// Content type and length of an inner plaintext, which ends with the type and then zeroes.
#[inline(always)]
fn content(buffer: u64, length: u64) -> (u64, u64) {
    let found = llmtap_content(buffer, length);
    (found & 0xff, found >> 8)
}

/// The same as one number. A function that takes nothing but numbers is verified once, see
/// `llmtap_step`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn llmtap_content(buffer: u64, length: u64) -> u64 {
    let mut left = length;
    for _ in 0..STRIDES {
        if left < STRIDE_BYTES || !read::user_is_zero::<STRIDE>(buffer + left - STRIDE_BYTES) {
            break;
        }
        left -= STRIDE_BYTES;
    }
    for _ in 0..STRIDE_BYTES {
        if left == 0 {
            break;
        }
        left -= 1;
        let last: u8 = read::user(buffer + left).unwrap_or(0);
        if last != 0 {
            return left << 8 | last as u64;
        }
    }
    0
}
