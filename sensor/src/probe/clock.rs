//! The clock that stamps events: nanoseconds since boot, sleep included.

use rustix::time::ClockId;

use crate::time::{ClockOffset, Timestamp};

/// This moment by the clock that stamps events.
pub fn now() -> Timestamp {
    Timestamp::from_nanos(boot_time())
}

/// What to add to the time of an event for Unix time, as of now.
pub fn clock_offset() -> ClockOffset {
    let unix = nanoseconds(ClockId::Realtime);
    let offset = unix.cast_signed().saturating_sub(boot_time().cast_signed());
    ClockOffset::from_nanos(offset)
}

/// Nanoseconds since boot.
pub(super) fn boot_time() -> u64 {
    nanoseconds(ClockId::Boottime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
