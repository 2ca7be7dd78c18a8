//! Kernel times of a streamed reply.

use std::time::Duration;

use super::call::Timing;
use crate::time::Timestamp;

/// How long it took from each event with content to the next, by buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// One for each of [`Gaps::BOUNDS`], and one for what is longer.
    pub counts: [u32; Gaps::BOUNDS.len() + 1],
    pub sum: Duration,
    pub longest: Duration,
}

impl Gaps {
    /// Longest gap of each bucket: from 10 ms on, each twice the one before, as the
    /// conventions advise.
    pub const BOUNDS: [Duration; 14] = [
        Duration::from_millis(10),
        Duration::from_millis(20),
        Duration::from_millis(40),
        Duration::from_millis(80),
        Duration::from_millis(160),
        Duration::from_millis(320),
        Duration::from_millis(640),
        Duration::from_millis(1280),
        Duration::from_millis(2560),
        Duration::from_millis(5120),
        Duration::from_millis(10_240),
        Duration::from_millis(20_480),
        Duration::from_millis(40_960),
        Duration::from_millis(81_920),
    ];

    fn add(&mut self, gap: Duration) {
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < gap);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(gap);
        self.longest = self.longest.max(gap);
    }
}

impl Timing {
    pub(super) fn starting(at: Timestamp) -> Self {
        Self {
            start: at,
            end: at,
            ..Self::default()
        }
    }

    /// An event of the reply was complete; `content`: it carried some.
    pub(super) fn event(&mut self, at: Timestamp, content: bool) {
        self.first_chunk.get_or_insert(at);
        self.last_chunk = Some(at);
        if content {
            if let Some(last) = self.last_content.replace(at) {
                self.gaps.add(at.since(last));
            }
            self.first_content.get_or_insert(at);
            self.chunks = self.chunks.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_lie_between_events_with_content() {
        let mut timing = Timing::default();
        let ms = |ms: u64| Timestamp::from_nanos(ms * 1_000_000);
        for (at, content) in [
            (100, false),
            (300, true),
            (305, true),
            (310, false),
            (315, true),
            (336, true),
            (99_999, true),
        ] {
            timing.event(ms(at), content);
        }
        let Gaps {
            counts,
            sum,
            longest,
        } = timing.gaps;
        assert_eq!(counts, [2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(sum, Duration::from_millis(99_999 - 300));
        assert_eq!(longest, Duration::from_millis(99_999 - 336));
        assert_eq!(timing.chunks, 5);
    }
}
