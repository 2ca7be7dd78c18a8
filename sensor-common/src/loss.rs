//! Counters of the array `COUNTERS`, one of each a processor.

/// Records that found no room.
pub const NO_ROOM: u32 = 0;
/// Payload bytes in those.
pub const NO_ROOM_BYTES: u32 = 1;
/// Payloads whose memory could not be read.
pub const UNREADABLE: u32 = 2;
/// Bytes of those.
pub const UNREADABLE_BYTES: u32 = 3;
/// Calls not followed, because a map was full.
pub const UNTRACKED: u32 = 4;
/// Bytes that crossed where no memory of the process holds them (`sendfile`).
pub const UNSEEN_BYTES: u32 = 5;
/// Process records that found no room.
pub const PROCESS_NO_ROOM: u32 = 6;
/// Payload records delivered.
pub const RECORDS: u32 = 7;
/// Payload bytes delivered.
pub const RECORD_BYTES: u32 = 8;

pub const COUNTERS: u32 = 9;
