//! What the kernel half keeps of a connection.

use crate::assert_size;
#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Names a connection while it lives.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Process, or 0 for a plain socket; with a bit of [`stream`] where it has no object, and
    /// with [`PIPES`] where it is messages over pipes.
    pub pid: u64,
    /// Address of the TLS object, or inode of the socket, or what tells a stream from others,
    /// or names a pair of pipes alike in the processes at both ends.
    pub object: u64,
}
assert_size!(Key, 16);

/// Bits of [`Key::pid`]: what is seen is records as they are encrypted and decrypted, one
/// stream a direction. A connection bears the name of the first of its streams.
pub mod stream {
    pub const WRITE: u64 = 1 << 32;
    pub const READ: u64 = 1 << 33;
}

/// Bit of [`Key::pid`]: what is seen is messages over two pipes, or over what serves as such.
pub const PIPES: u64 = 1 << 34;

/// Value of the map `CONNECTIONS`.
///
/// A position counts every byte that crossed, delivered or not, so that the reader can tell
/// from any delivered record how much is missing before it.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// See [`id`].
    pub id: u64,
    pub position: [u64; 2],
    pub cut: [u64; 2],
    /// Bytes that crossed since the direction last changed.
    pub turn: u64,
    pub instruction: u64,
    pub pid: u32,
    /// Direction of the last bytes.
    pub direction: u8,
    /// See [`state`].
    pub state: u8,
    pub reserved: u16,
    /// Payload records that found no room in the ring.
    pub refused: u32,
    /// Payloads whose memory could not be read.
    pub unreadable: u32,
    /// Calls that moved bytes: what a probe costs, it costs with each of them.
    pub calls: u64,
}
assert_size!(Connection, 80);

/// The id of a connection that begins at `now`, nanoseconds since boot, on a processor.
pub const fn id(now: u64, processor: u64) -> u64 {
    (now << 8) | (processor & 0xff)
}

/// Whether a connection began before `time`, nanoseconds since boot, within two years of it.
pub const fn began_before(id: u64, time: u64) -> bool {
    let age = (time << 8).wrapping_sub(id & !0xff);
    age != 0 && age >> 63 == 0
}

/// Bits of [`Connection::state`].
pub mod state {
    /// The [`Opening`](crate::record::Opening) was delivered.
    pub const ANNOUNCED: u8 = 1;
    /// Its socket is known.
    pub const SOCKET: u8 = 2;
    /// It is over, but the record that says so found no room.
    pub const OVER: u8 = 4;
    /// A plain socket that carries TLS by now.
    pub const ENCRYPTED: u8 = 8;
    /// The exchange under way began with `POST`; see
    /// [`HEADS_AND_POSTS`](crate::filter::HEADS_AND_POSTS).
    pub const POST: u8 = 16;
    /// It ends with a descriptor that is known.
    pub const DESCRIPTOR: u8 = 32;
}

/// Addresses of a socket. Ports are in host order; `family` 0: unknown.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    pub local: [u8; 16],
    pub peer: [u8; 16],
    pub local_port: u16,
    pub peer_port: u16,
    pub family: u16,
    pub reserved: u16,
}
assert_size!(Socket, 40);
