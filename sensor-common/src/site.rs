//! What the kernel half has to know of a single place in code.

use crate::assert_size;
#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Names a place without naming its file: by what is the same wherever a loader puts the
/// code, and whatever breakpoint stands there. (A kernel that hands a probe a cookie of its
/// own would spare this; 5.10 does not.)
#[repr(C)]
#[cfg_attr(
    feature = "zerocopy",
    derive(FromBytes, IntoBytes, KnownLayout, Immutable)
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SiteKey {
    /// Address in its page, of [`PAGE`] bytes.
    pub in_page: u64,
    /// The eight bytes from the first on that a breakpoint leaves alone.
    pub beside: u64,
}
assert_size!(SiteKey, 16);

/// The smallest that there is.
pub const PAGE: u64 = 1 << 12;
