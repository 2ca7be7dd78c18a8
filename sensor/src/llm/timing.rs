//! Kernel times of a streamed reply.

use super::call::Timing;
use crate::time::Timestamp;

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
            self.first_content.get_or_insert(at);
            self.chunks = self.chunks.saturating_add(1);
        }
    }
}
