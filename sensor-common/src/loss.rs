//! What the kernel half could not deliver.

use crate::assert_size;
#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Counters of one processor. They are for people: what is missing of a connection follows
/// exactly from the positions in its records.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records of other kinds that found no room; they are sent again where that matters.
    pub facts: u64,
    /// Calls or connections not followed, because a map was full.
    pub untracked: u64,
    /// Records about processes that found no room.
    pub processes: u64,
}
assert_size!(Counters, 24);

/// Key of the map `MISFITS`: a probe in a process that was called with what its function
/// never is called with.
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub instruction: u64,
    pub pid: u64,
}
assert_size!(Place, 16);
