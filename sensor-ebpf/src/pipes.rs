//! Messages over pipes, as between a program and a server of MCP that it has started:
//! which pipes, and whose, are one connection.
//!
//! The server reads one pipe and writes to another. Both are its standard input and output
//! when it is started, whatever descriptors it moves them to later, so that much is learned
//! when a program is executed. Where that was before our time, it shows once both processes
//! have used both pipes. A pair of pipes has one name, that of one of them, in the processes
//! at both ends; each of the two processes has a connection of its own.

use aya_ebpf::bindings::BPF_ANY;
use llmtap_common::conn::{Connection, Key, PIPES, state};
use llmtap_common::record::{READ, WRITE};

use crate::filter::Task;
use crate::maps::{self, BETWEEN, CHANNELS, habit};
use crate::socket::{self, End};
use crate::{conn, emit};

const STDIN: u64 = 0;
const STDOUT: u64 = 1;

/// Value of the map `CHANNELS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Channel {
    /// Name of the pair that it belongs to; its own while none is known.
    pair: u64,
    is_paired: u64,
    /// Who was seen at its ends.
    ends: Ends,
}

/// Processes; 0: unknown.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ends {
    writer: u32,
    reader: u32,
}

const NOBODY: Ends = Ends {
    writer: 0,
    reader: 0,
};

impl Ends {
    /// Who is at the end from which bytes move that way.
    #[inline(always)]
    fn mover(&self, direction: u8) -> u32 {
        if direction == READ {
            self.reader
        } else {
            self.writer
        }
    }
}

impl End {
    /// The same from either end.
    #[inline(always)]
    fn name(&self) -> u64 {
        self.inode.min(self.other)
    }
}

/// Remembers that standard input and output of the running process are a pair, if they are
/// pipes. A program may start others that share its input alone, or its output: theirs are
/// no pair.
#[inline(never)]
pub fn inherited() {
    if let (Some(input), Some(output)) = (socket::end(STDIN), socket::end(STDOUT))
        && channel(input.inode).is_none()
        && channel(output.inode).is_none()
    {
        pair(&input, NOBODY, &output, NOBODY);
    }
}

/// The same of a process that was seen to exchange messages over one of them.
#[inline(never)]
fn standard() {
    if let (Some(input), Some(output)) = (socket::end(STDIN), socket::end(STDOUT)) {
        let (one, other) = (channel_of(&input), channel_of(&output));
        if one.is_paired == 0 && other.is_paired == 0 {
            pair(&input, one.ends, &output, other.ends);
        }
    }
}

#[inline(always)]
fn pair(input: &End, from: Ends, output: &End, to: Ends) {
    let mut channel = Channel {
        pair: input.name(),
        is_paired: 1,
        ends: to,
    };
    remember(output, channel);
    channel.ends = from;
    remember(input, channel);
}

#[inline(always)]
fn remember(end: &End, channel: Channel) {
    let _ = CHANNELS.insert(end.inode, channel, BPF_ANY as u64);
    if end.other != end.inode {
        let _ = CHANNELS.insert(end.other, channel, BPF_ANY as u64);
    }
}

#[inline(always)]
fn channel(inode: u64) -> Option<Channel> {
    // SAFETY: a copy is taken at once.
    unsafe { CHANNELS.get(inode) }.copied()
}

/// What is known of it; of one that is new, its name.
#[inline(always)]
fn channel_of(end: &End) -> Channel {
    let name = end.name();
    channel(name).unwrap_or(Channel {
        pair: name,
        is_paired: 0,
        ends: NOBODY,
    })
}

/// The connection whose bytes just crossed `fd`, announced. `begins`: they look like the
/// beginning of a message, and what is not known yet begins with them.
#[inline(never)]
pub fn connection(
    task: Task,
    fd: u64,
    direction: u8,
    begins: bool,
) -> Option<&'static mut Connection> {
    let inode = socket::inode(fd)?;
    let known = channel(inode).filter(|channel| channel.ends.mover(direction) == task.pid());
    let found = known.and_then(|channel| {
        let key = key(task, channel.pair);
        Some((key, conn::find(&key)?))
    });
    let (key, connection) = match found {
        Some(found) => found,
        None if !begins => return None,
        None => {
            if matches!((fd, direction), (STDIN, READ) | (STDOUT, WRITE)) {
                standard();
            }
            let key = key(task, acquainted(task, fd, direction)?);
            maps::has_habit(task.pid(), habit::MESSAGES);
            let connection = match conn::find(&key) {
                Some(connection) => connection,
                None => conn::begin(task, &key, 0)?,
            };
            (key, connection)
        }
    };
    if connection.state & state::ANNOUNCED == 0 {
        emit::opening(task, &key, connection, 0);
    }
    // Nothing more is said to a process that has closed the pipe it reads from.
    if direction == READ && connection.state & state::DESCRIPTOR == 0 {
        connection.state |= state::DESCRIPTOR;
        conn::ends_with(task, fd, inode, &key);
    }
    Some(connection)
}

#[inline(always)]
fn key(task: Task, pair: u64) -> Key {
    Key {
        pid: task.pid() as u64 | PIPES,
        object: pair,
    }
}

/// Takes note that the process uses the pipe behind `fd`; gives the name of its pair.
#[inline(never)]
fn acquainted(task: Task, fd: u64, direction: u8) -> Option<u64> {
    let end = socket::end(fd)?;
    let mut channel = channel_of(&end);
    if direction == READ {
        channel.ends.reader = task.pid();
    } else {
        channel.ends.writer = task.pid();
    }
    if channel.is_paired == 0 {
        introduced(&mut channel);
    }
    remember(&end, channel);
    // Whoever is asked answers on another pipe, of which it must be known that it is the
    // other; who asks first names the pair.
    (channel.is_paired != 0 || direction == WRITE).then_some(channel.pair)
}

/// Looks for the pipe that leads back between the processes at both ends.
#[inline(always)]
fn introduced(channel: &mut Channel) {
    let Ends { writer, reader } = channel.ends;
    if writer == 0 || reader == 0 || writer == reader {
        return;
    }
    let _ = BETWEEN.insert(channel.ends, channel.pair, BPF_ANY as u64);
    let back = Ends {
        writer: reader,
        reader: writer,
    };
    // SAFETY: a copy is taken at once.
    let Some(other) = unsafe { BETWEEN.get(back) }.copied() else {
        return;
    };
    // SAFETY: a flag is set, which no one takes back.
    if let Some(other) = CHANNELS
        .get_ptr_mut(other)
        .map(|other| unsafe { &mut *other })
        && other.is_paired == 0
    {
        other.is_paired = 1;
        channel.is_paired = 1;
        channel.pair = other.pair;
    }
}
