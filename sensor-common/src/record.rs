//! Records of the two ring buffers.
//!
//! `EVENTS` carries traffic: a [`Header`], then what its `kind` says. `PROCESSES` carries
//! [`ProcessRecord`]s.

use crate::assert_size;
use crate::conn::{Key, Socket};
use crate::layout::FileId;
#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What follows a [`Header`].
pub mod kind {
    /// An [`Opening`](super::Opening): facts about the connection.
    pub const OPEN: u8 = 1;
    /// `length` bytes of plaintext.
    pub const DATA: u8 = 2;
    /// A [`Closing`](super::Closing).
    pub const CLOSE: u8 = 3;
    /// `length` bytes: the server name that the process asked for.
    pub const SERVER_NAME: u8 = 4;
    /// A [`Joining`](super::Joining): the connection turned out to be part of another.
    pub const JOIN: u8 = 5;
}

/// Which way bytes went, as the traced process sees it.
pub const WRITE: u8 = 0;
pub const READ: u8 = 1;

/// The start of every record of `EVENTS`.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Of the kernel's making: unique as long as the sensor runs.
    pub connection: u64,
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub at: u64,
    /// Bytes that crossed in this direction before the payload.
    pub position: u64,
    /// How many of those were left out on purpose.
    pub cut: u64,
    /// Of [`kind::DATA`]: bytes that had crossed in the other direction, and how many of
    /// those were left out. So what is missing at the end of a turn is known when the next
    /// one begins, and not only when the turn after that does.
    pub opposite: u64,
    pub opposite_cut: u64,
    /// Bytes of payload that are valid; the record may be longer.
    pub length: u32,
    pub kind: u8,
    /// [`WRITE`] or [`READ`].
    pub direction: u8,
    pub reserved: u16,
    /// The thread that moved the payload.
    pub tid: u32,
    /// In a program of Go, the goroutine that it was moved for: some bits of an address, which
    /// tell it from all others that live. 0: unknown. In other programs it means nothing.
    pub goroutine: u32,
}
assert_size!(Header, 64);

/// Facts about a connection; sent when it is first seen and whenever more is known.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    pub key: Key,
    /// Where the traced function was entered, 0 for a socket.
    pub instruction: u64,
    pub pid: u32,
    pub tid: u32,
    /// Name of the thread.
    pub comm: [u8; 16],
    pub socket: Socket,
}
assert_size!(Opening, 88);

/// Bytes that crossed in all, by direction, and how many of them were left out on purpose.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    pub position: [u64; 2],
    pub cut: [u64; 2],
    /// See [`Connection`](crate::conn::Connection).
    pub refused: u32,
    pub unreadable: u32,
    pub calls: u64,
}
assert_size!(Closing, 48);

/// A connection is over, and what crossed it crossed another one, behind what had crossed
/// that one by then.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug)]
pub struct Joining {
    pub into: u64,
    /// Of that other, as in [`Closing`], before this.
    pub position: [u64; 2],
    pub cut: [u64; 2],
}
assert_size!(Joining, 40);

/// What happened to a process.
pub mod process {
    /// It runs another program, in `file`.
    pub const EXEC: u32 = 1;
    /// It mapped `file` for execution.
    pub const MAP: u32 = 2;
    /// Its last thread is gone.
    pub const EXIT: u32 = 3;
    /// It connects to a peer for the first time since it is [`watched`](crate::idle).
    pub const CONNECT: u32 = 4;
    /// It was forked off another one, with memory of its own.
    pub const FORK: u32 = 5;
}

#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug)]
pub struct ProcessRecord {
    pub file: FileId,
    /// Where a mapping begins; of [`FORK`](process::FORK), the other process.
    pub address: u64,
    pub kind: u32,
    pub pid: u32,
}
assert_size!(ProcessRecord, 48);

/// Most payload of a [`kind::DATA`] record.
pub const PAYLOAD_MAX: u64 = 1 << 18;

/// Longest server name.
pub const SERVER_NAME_MAX: usize = 256;
