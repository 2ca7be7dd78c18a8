//! What user space tells the kernel half to leave out.

/// How the map `PIDS` is to be read.
pub mod mode {
    /// Not at all: every process is traced.
    pub const EVERY: u32 = 0;
    /// The processes in it are not traced.
    pub const EXCEPT: u32 = 1;
    /// No other process is traced.
    pub const ONLY: u32 = 2;
}

/// Entries of the array `VERDICTS`; a connection has the entry `id % VERDICTS`, if the upper
/// 62 bits of the entry equal the lower 62 of its id. On a collision the older one falls back
/// to [`UNDECIDED`], which delivers too much and never too little.
pub const VERDICTS: u32 = 1 << 16;

pub const UNDECIDED: u64 = 0;
pub const WANTED: u64 = 1;
pub const HEADS_ONLY: u64 = 2;
pub const UNWANTED: u64 = 3;

/// The entry of `VERDICTS` for `id`.
pub const fn slot(id: u64) -> u32 {
    // The low bits of an id are a processor number, the next ones nanoseconds.
    ((id ^ (id >> 16)) % VERDICTS as u64) as u32
}

/// The value to store there.
pub const fn entry(id: u64, verdict: u64) -> u64 {
    (id << 2) | verdict
}

/// What `entry` says of `id`.
pub const fn verdict(entry: u64, id: u64) -> u64 {
    if entry >> 2 == (id << 2) >> 2 {
        entry & 3
    } else {
        UNDECIDED
    }
}

/// Bytes of each turn that [`HEADS_ONLY`] delivers.
pub const HEAD: u64 = 4096;

/// Bytes at the end of a call that are delivered even past the limit of a turn, so that the
/// end of a long body is seen.
pub const TAIL: u64 = 4096;
