//! A content gathered whole, up to a limit.
//!
//! In: decoded bytes and holes. Out: a [`Body`]. Must not know: what it says.

use super::{Body, Limits};
use crate::event::Missing;

#[derive(Debug)]
pub(super) struct Whole {
    limits: Limits,
    /// What came before the first hole.
    head: Vec<u8>,
    /// What came after the last hole; its last [`Limits::tail`] bytes count.
    tail: Vec<u8>,
    missing: Missing,
}

/// Room that is made for what a peer announces, before it comes.
const MOST_EXPECTED: usize = 16 << 10;

impl Whole {
    /// So many bytes are announced.
    pub fn expect(&mut self, bytes: usize) {
        self.head
            .reserve(bytes.min(MOST_EXPECTED).min(self.limits.whole));
    }

    pub fn new(mut limits: Limits) -> Self {
        limits.tail = limits.tail.min(limits.whole);
        Self {
            limits,
            head: Vec::new(),
            tail: Vec::new(),
            missing: Missing::NONE,
        }
    }

    pub fn held_bytes(&self) -> usize {
        self.head.len().saturating_add(self.tail.len())
    }

    pub fn feed(&mut self, mut bytes: &[u8]) {
        if self.missing.is_none() {
            let room = self.limits.whole.saturating_sub(self.head.len());
            let (fits, rest) = bytes.split_at(room.min(bytes.len()));
            self.head.extend_from_slice(fits);
            if rest.is_empty() {
                return;
            }
            // The limit is reached: from here on the last bytes push out those before.
            self.tail = self.head.split_off(self.longest_head());
            self.head.shrink_to_fit();
            bytes = rest;
        }
        self.push_tail(bytes);
    }

    pub fn gap(&mut self, missing: Missing) {
        // Two holes leave an island that no parser can place; it is given up.
        let extra = self.tail.len().saturating_sub(self.limits.tail);
        let island = self.tail.len().saturating_sub(extra);
        self.missing.cut = self.missing.cut.saturating_add(extra as u64);
        self.missing.lost = self.missing.lost.saturating_add(island as u64);
        self.tail.clear();
        self.missing = self.missing.and(missing);
        let cut = self.head.len().saturating_sub(self.longest_head());
        self.head.truncate(self.longest_head());
        self.missing.cut = self.missing.cut.saturating_add(cut as u64);
    }

    pub fn body(&self) -> Body<'_> {
        let extra = self.tail.len().saturating_sub(self.limits.tail);
        Body {
            head: &self.head,
            tail: self.tail.get(extra..).unwrap_or_default(),
            missing: self.missing.and(Missing {
                lost: 0,
                cut: extra as u64,
            }),
        }
    }

    fn longest_head(&self) -> usize {
        self.limits.whole.saturating_sub(self.limits.tail)
    }

    /// Appends, and now and then drops the front, so that each byte moves but once.
    fn push_tail(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let extra = self.tail.len().saturating_sub(self.limits.tail);
        if extra > 0 && (self.missing.is_none() || extra > self.limits.tail) {
            self.tail.drain(..extra);
            self.missing.cut = self.missing.cut.saturating_add(extra as u64);
        }
    }
}
