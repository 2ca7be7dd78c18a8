//! Bounds on what an engine keeps.

use std::time::Duration;

use crate::content;

/// See each field; every one bounds memory or time that foreign bytes could ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Decoded bytes kept of one body; past it head and tail are kept.
    pub body: usize,
    /// Connections at once; past it those silent longest are forgotten.
    pub connections: usize,
    /// Exchanges open at once on one connection.
    pub exchanges: usize,
    /// Bytes held for the contents of one connection's open exchanges; past it what comes
    /// counts as cut, until some are over.
    pub connection: usize,
    /// A connection silent for this long is taken for closed.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 16 << 20,
            connections: 100_000,
            exchanges: 1_000,
            connection: 256 << 20,
            idle: Duration::from_secs(15 * 60),
        }
    }
}

impl Limits {
    pub(super) fn content(&self) -> content::Limits {
        let whole = self.body;
        let tail = content::Limits::default().tail.min(whole / 2);
        content::Limits {
            whole,
            tail,
            message: whole,
            ..content::Limits::default()
        }
    }
}
