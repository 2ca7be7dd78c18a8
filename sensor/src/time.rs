//! Kernel time and its relation to the wall clock.

use std::time::Duration;

/// A moment in nanoseconds since boot (`CLOCK_BOOTTIME`) or, in a capture, since
/// whatever origin that file chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`, or zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment that `span` ago was, or the first.
    pub fn before(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// What to add to a [`Timestamp`] for Unix time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffset(i64);

impl ClockOffset {
    /// `nanos`: Unix time in nanoseconds at timestamp 0.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Unix time of `at` in nanoseconds; saturates at both ends of `u64`.
    pub const fn unix_nanos(self, at: Timestamp) -> u64 {
        at.0.saturating_add_signed(self.0)
    }
}
