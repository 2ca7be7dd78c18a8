//! Streams of encrypted records, where no object of the process stands for a connection:
//! which connection each stream belongs to.
//!
//! A stream is one direction under one key. The socket joins the two of a connection. A
//! stream that is read is decrypted after the system call that brought it, so its socket is
//! known at once; one that is written is encrypted first, and may have a connection of its
//! own until the call that sends it, and joins the right one then.

use aya_ebpf::bindings::BPF_ANY;
use llmtap_common::conn::{Connection, Key, stream};

use crate::filter::Task;
use crate::maps::{CONNECTIONS, SOCKETS, STREAMS};
use crate::{conn, emit, socket};

/// Value of the map `STREAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Stream {
    /// While its socket is not known; then the socket has it.
    connection: Key,
    /// Inode of its socket, 0: unknown.
    socket: u64,
    /// See [`Record::number`].
    number: u64,
}

/// Names one record.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    /// Its stream.
    pub stream: Key,
    /// Its number in the stream, or that with some bits turned over, always the same ones.
    pub number: u64,
    /// Its content type, or 0 where that is encrypted with it.
    pub kind: u64,
}

/// What a record is to those before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The first that is seen, or the next.
    Next,
    /// Seen already.
    Again,
    /// There were others between.
    Gap,
}

/// The stream of a record that comes now.
#[inline(always)]
pub fn follow(record: &Record) -> Option<(&'static mut Stream, Step)> {
    let Some(stream) = find(&record.stream) else {
        let stream = Stream {
            connection: record.stream,
            socket: 0,
            number: record.number,
        };
        let _ = STREAMS.insert(record.stream, stream, BPF_ANY as u64);
        return Some((find(&record.stream)?, Step::Next));
    };
    // Of two numbers in a row all bits differ up to some place.
    let change = stream.number ^ record.number;
    stream.number = record.number;
    let step = if change == 0 {
        Step::Again
    } else if change & change.wrapping_add(1) == 0 {
        Step::Next
    } else {
        Step::Gap
    };
    Some((stream, step))
}

#[inline(always)]
fn find(name: &Key) -> Option<&'static mut Stream> {
    // SAFETY: records of one stream come one after another, whatever thread they come from.
    STREAMS.get_ptr_mut(name).map(|s| unsafe { &mut *s })
}

impl Stream {
    /// Whether the socket that carries it is to be found.
    pub fn is_loose(&self) -> bool {
        self.socket == 0
    }

    /// Names the connection that it belongs to, as far as is known.
    #[inline(always)]
    pub fn connection(&self) -> Key {
        if self.socket != 0
            // SAFETY: a copy is taken at once.
            && let Some(key) = unsafe { SOCKETS.get(self.socket) }
        {
            return *key;
        }
        self.connection
    }
}

/// Whether a key names a stream, or a connection of streams.
#[inline(always)]
pub fn is_name(key: &Key) -> bool {
    key.pid & (stream::WRITE | stream::READ) != 0
}

/// It is known that `fd` carries a stream.
#[inline(never)]
pub fn bind(task: Task, name: &Key, fd: u64) {
    let (Some(stream), Some(socket)) = (find(name), socket::stream(fd)) else {
        return;
    };
    if stream.socket == 0 {
        stream.socket = socket.inode;
        settle(stream);
    }
    let key = stream.connection();
    conn::ends_with(task, fd, socket.inode, &key);
    if let Some(connection) = conn::find(&key) {
        conn::announce(task, &key, connection, &socket);
    }
}

/// Makes the connection of the stream's socket its own, or its own that of the socket.
#[inline(always)]
fn settle(stream: &mut Stream) {
    // SAFETY: a copy is taken at once.
    let other = unsafe { SOCKETS.get(stream.socket) }.copied();
    let own = conn::find(&stream.connection);
    if let Some(other) = other
        && other != stream.connection
        && let Some(into) = conn::find(&other)
    {
        if let Some(own) = own
            && !join(&stream.connection, own, into)
        {
            // Until there is room.
            stream.socket = 0;
        }
    } else {
        let _ = SOCKETS.insert(stream.socket, stream.connection, BPF_ANY as u64);
    }
}

/// Makes a connection part of another; whether user space could be told.
#[inline(always)]
fn join(key: &Key, from: &Connection, into: &mut Connection) -> bool {
    if !emit::joining(from, into) {
        return false;
    }
    for side in 0..2 {
        into.position[side] += from.position[side];
        into.cut[side] += from.cut[side];
    }
    into.refused += from.refused;
    into.unreadable += from.unreadable;
    into.calls += from.calls;
    let _ = CONNECTIONS.remove(key);
    true
}
