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

/// Entries of the array `VERDICTS`; a connection has the entry [`slot`]`(id)`, if the upper
/// 61 bits of the entry equal the lower 61 of its id. On a collision the older one falls back
/// to [`UNDECIDED`], which delivers too much and never too little.
pub const VERDICTS: u32 = 1 << 16;

/// Everything is delivered.
pub const UNDECIDED: u64 = 0;
/// The same, and it stays so.
pub const WANTED: u64 = 1;
/// The first [`HEAD`] bytes of a turn are delivered; all of it where it begins with `POST`,
/// and of what follows, until one begins with another request.
pub const HEADS_AND_POSTS: u64 = 2;
/// The first [`HEAD`] bytes of each turn are delivered.
pub const HEADS_ONLY: u64 = 3;
/// Nothing is delivered.
pub const UNWANTED: u64 = 4;

/// Bits that a verdict takes.
const BITS: u32 = 3;

/// The entry of `VERDICTS` for `id`.
pub const fn slot(id: u64) -> u32 {
    // The low bits of an id are a processor number, the next ones nanoseconds.
    ((id ^ (id >> 16)) % VERDICTS as u64) as u32
}

/// The value to store there.
pub const fn entry(id: u64, verdict: u64) -> u64 {
    (id << BITS) | verdict
}

/// What `entry` says of `id`.
pub const fn verdict(entry: u64, id: u64) -> u64 {
    if entry >> BITS == (id << BITS) >> BITS {
        entry & ((1 << BITS) - 1)
    } else {
        UNDECIDED
    }
}

/// Bytes of a turn that [`HEADS_ONLY`] delivers.
pub const HEAD: u64 = 4096;

/// Bytes at the end of a call that are delivered even past the limit of a turn, so that the
/// end of a long body is seen.
pub const TAIL: u64 = 4096;
