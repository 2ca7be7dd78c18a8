//! The static and the dynamic table of HPACK (RFC 7541, section 2.3).
//!
//! An observer may have joined late, so it knows the newest entries of the dynamic
//! table and perhaps not the oldest. That is enough to be never wrong: an index counts
//! from the newest entry, and the encoder drops its oldest entries first, so whatever
//! it may refer to among the entries that were seen stands at the same index here. An
//! entry that was dropped here too early is merely unknown, one that is kept too long
//! is never referred to. What capacity the encoder really has matters to memory only.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::http::head::redact;

/// Overhead of an entry in the reckoning of the specification (section 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// Capacity until a `SETTINGS_HEADER_TABLE_SIZE` or an update says otherwise.
const DEFAULT_CAPACITY: usize = 4096;

/// What is kept at most, whatever is announced.
pub const MOST: usize = 64 * 1024;

/// What an index stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    Known {
        name: &'a str,
        value: &'a str,
        dynamic: bool,
    },
    /// Inserted before we joined, or lost.
    Unknown,
}

#[derive(Debug)]
pub struct Table {
    /// Newest first.
    entries: VecDeque<Inserted>,
    size: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Inserted {
    /// `None`: it was given by an index that is unknown.
    name: Option<Cow<'static, str>>,
    value: Box<str>,
    size: usize,
}

impl Table {
    /// The table of a connection that was seen from its start.
    pub const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            capacity: DEFAULT_CAPACITY,
        }
    }

    pub fn lookup(&self, index: usize) -> Entry<'_> {
        let Some(place) = index.checked_sub(1) else {
            return Entry::Unknown;
        };
        if let Some(&(name, value)) = STATIC.get(place) {
            return Entry::Known {
                name,
                value,
                dynamic: false,
            };
        }
        match self.entries.get(place.saturating_sub(STATIC.len())) {
            Some(Inserted {
                name: Some(name),
                value,
                ..
            }) => Entry::Known {
                name,
                value,
                dynamic: true,
            },
            _ => Entry::Unknown,
        }
    }

    /// The name at `index`, at no cost where it is a constant.
    pub fn name(&self, index: usize) -> Option<Cow<'static, str>> {
        let place = index.checked_sub(1)?;
        match STATIC.get(place) {
            Some(&(name, _)) => Some(Cow::Borrowed(name)),
            None => self
                .entries
                .get(place.saturating_sub(STATIC.len()))?
                .name
                .clone(),
        }
    }

    /// Inserts a field whose name and value have `octets` octets as sent. Credentials,
    /// and values whose name is unknown, are not kept.
    pub fn insert(&mut self, name: Option<Cow<'static, str>>, value: &str, octets: usize) {
        let size = octets.saturating_add(ENTRY_OVERHEAD);
        self.shrink_to(self.capacity.saturating_sub(size));
        if size > self.capacity {
            return;
        }
        let value = match &name {
            Some(name) => redact(name, value).into(),
            None => "".into(),
        };
        self.entries.push_front(Inserted { name, value, size });
        self.size = self.size.saturating_add(size);
    }

    /// A dynamic table size update (section 6.3).
    pub fn resize(&mut self, capacity: usize) {
        self.capacity = capacity.min(MOST);
        self.shrink_to(self.capacity);
    }

    /// The decoder announced `capacity`. An encoder that may use more has to say so
    /// with an update, yet some don't; to drop nothing until then is always safe.
    pub fn allow(&mut self, capacity: usize) {
        self.capacity = self.capacity.max(capacity.min(MOST));
    }

    /// Forgets all: entries may have been inserted that were not seen.
    pub fn forget(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.capacity = MOST;
    }

    fn shrink_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_back() else {
                break;
            };
            self.size = self.size.saturating_sub(oldest.size);
        }
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.entries
            .iter()
            .map(|e| size_of::<Inserted>() + e.value.len() + e.name.as_ref().map_or(0, |n| n.len()))
            .sum()
    }
}

/// Appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut Table, name: &'static str, value: &str) {
        table.insert(Some(Cow::Borrowed(name)), value, name.len() + value.len());
    }

    fn value(table: &Table, index: usize) -> Option<&str> {
        match table.lookup(index) {
            Entry::Known { value, .. } => Some(value),
            Entry::Unknown => None,
        }
    }

    #[test]
    fn the_newest_entry_has_the_lowest_index() {
        let mut table = Table::new();
        insert(&mut table, "a", "1");
        insert(&mut table, "b", "2");
        assert_eq!(value(&table, 62), Some("2"));
        assert_eq!(value(&table, 63), Some("1"));
        assert_eq!(value(&table, 64), None);
        assert_eq!(value(&table, 0), None);
        assert_eq!(value(&table, 61), Some(""));
    }

    #[test]
    fn a_field_too_large_empties_the_table_and_shifts_nothing() {
        let mut table = Table::new();
        insert(&mut table, "a", "1");
        insert(&mut table, "big", &"x".repeat(5000));
        assert_eq!(value(&table, 62), None);
        insert(&mut table, "b", "2");
        assert_eq!(value(&table, 62), Some("2"));
        assert_eq!(value(&table, 63), None);
    }

    #[test]
    fn updates_evict_the_oldest() {
        let mut table = Table::new();
        for value in ["1", "2", "3"] {
            insert(&mut table, "n", value);
        }
        table.resize(2 * 34);
        assert_eq!(value(&table, 63), Some("2"));
        assert_eq!(value(&table, 64), None);
        table.resize(0);
        table.resize(4096);
        assert_eq!(value(&table, 62), None);
    }

    #[test]
    fn credentials_are_known_by_name_alone() {
        let mut table = Table::new();
        insert(&mut table, "authorization", "Bearer canary");
        insert(&mut table, ":path", "/v1?key=canary");
        table.insert(None, "canary", 10);
        insert(&mut table, "x", "y");
        let held = format!("{table:?}");
        assert!(!held.contains("canary"), "{held}");
        assert_eq!(value(&table, 65), Some(""));
        assert_eq!(value(&table, 64), Some("/v1?key="));
        assert_eq!(table.lookup(63), Entry::Unknown);
    }

    #[test]
    fn capacity_has_a_limit() {
        let mut table = Table::new();
        table.allow(usize::MAX);
        table.resize(usize::MAX);
        for _ in 0..10_000 {
            insert(&mut table, "", "");
        }
        assert!(table.size <= MOST);
        assert!(table.held_bytes() < 4 * MOST);
    }
}
