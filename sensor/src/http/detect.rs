//! What a connection speaks, told from its first bytes and never from a port.

/// An answer about bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    Match,
    NotForUs,
    NeedMore,
}
