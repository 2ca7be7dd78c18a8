//! Processes that make no calls: those that are watched for whom they connect to, and those
//! of them that were released from probing.

use crate::assert_size;
#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Value of the map `WATCHED`, by process.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Tells what it does now from what it, or another process of its number, did before.
    pub serial: u64,
    /// What it began before is not known as a whole: when it was taken back, in nanoseconds
    /// since boot, [`RELEASED`], or 0 where it never was released.
    pub since: u64,
}
assert_size!(Watched, 16);

/// Most processes that are watched.
pub const MAX_WATCHED: u32 = 1 << 10;

/// In [`Watched::since`]: there are no probes in it now.
pub const RELEASED: u64 = u64::MAX;

/// Key of the map `PEERS`: whom a watched process has connected to.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// As in [`Watched`].
    pub serial: u64,
    /// An address of IPv4 or IPv6, or what was made of the name of a Unix socket.
    pub address: [u64; 2],
    /// In network order.
    pub port: u32,
    pub family: u32,
}
assert_size!(Peer, 32);
