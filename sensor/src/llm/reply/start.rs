//! How the events of a reply begin: most begin as the one before did, word for word.
//!
//! In: events. Out: how much of one says nothing new. Must not know: what it says.

/// Bytes kept of the start of an event.
const LONGEST: usize = 1024;

/// The start of the last event, as far as it speaks of the reply as a whole.
#[derive(Debug, Default)]
pub(in crate::llm) struct Start(String);

impl Start {
    /// How many bytes of `event` were read with the last one. `None`: it begins in
    /// another way.
    pub(in crate::llm) fn known(&self, event: &str) -> Option<usize> {
        let is_known = !self.0.is_empty() && event.starts_with(&*self.0);
        is_known.then_some(self.0.len())
    }

    /// To read what `event` says before `end` once is to have read it; 0 where there is
    /// no such place.
    pub(in crate::llm) fn note(&mut self, event: &str, end: usize) {
        let start = event.get(..end).filter(|start| start.len() <= LONGEST);
        let start = start.unwrap_or_default();
        if *start != self.0 {
            self.0.clear();
            self.0.push_str(start);
        }
    }

    /// What was said is to be heard anew.
    pub(in crate::llm) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Start};

    #[test]
    fn only_the_last_start_is_known() {
        let mut start = Start::default();
        assert_eq!(start.known("ab1"), None);
        start.note("ab1", 2);
        assert_eq!((start.known("ab2"), start.known("a")), (Some(2), None));
        start.note("cd1", 2);
        assert_eq!((start.known("ab2"), start.known("cd2")), (None, Some(2)));
        start.note("cd2", 0);
        assert_eq!(start.known("cd3"), None);
        start.note("cd3", 2);
        start.forget();
        assert_eq!(start.known("cd4"), None);
    }

    #[test]
    fn a_long_start_is_not_kept() {
        let mut start = Start::default();
        let long = "x".repeat(LONGEST + 2);
        start.note(&long, LONGEST + 1);
        assert_eq!(start.known(&long), None);
    }
}
