//! Makes events of records.
//!
//! In: records, in the order of the ring. Out: events, of the right connection. Must not
//! know: where records come from.

use llmtap_common::record::Header;

use super::attach::Images;
use super::connections::Connections;
use super::origin::{origin, server_name};
use super::pending::{Pending, Released};
use super::process::Processes;
use super::record::Record;
use crate::event::Event;

/// Sums over connections that are over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub refused: u64,
    pub unreadable: u64,
}

impl Totals {
    pub fn count(&mut self, refused: u32, unreadable: u32) {
        self.refused = self.refused.saturating_add(refused.into());
        self.unreadable = self.unreadable.saturating_add(unreadable.into());
    }
}

/// What it needs to tell.
#[derive(Debug)]
pub struct Teller<'s> {
    pub connections: &'s mut Connections,
    pub pending: &'s mut Pending,
    pub processes: &'s mut Processes,
    pub images: &'s Images,
    pub closed: &'s mut Totals,
}

impl Teller<'_> {
    /// Tells of a record, or keeps it until it is known what to tell.
    pub fn take(&mut self, header: &Header, record: Record<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        let waits = self.pending.takes(header, &record);
        self.tell_released(sink);
        if !waits {
            self.tell(header, record, sink);
        }
    }

    /// Tells of what was kept for too long at `now`, or of all.
    pub fn hurry(&mut self, now: u64, all: bool, sink: &mut dyn FnMut(Event<'_>)) {
        self.pending.hurry(now, all);
        self.tell_released(sink);
    }

    fn tell_released(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        while let Some(released) = self.pending.next() {
            match released {
                Released::Open(header, opening) => {
                    self.tell(&header, Record::Open(opening), sink);
                }
                Released::Data(header, bytes) => self.tell(&header, Record::Data(&bytes), sink),
            }
        }
    }

    fn tell(&mut self, header: &Header, record: Record<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        let id = header.connection;
        match record {
            Record::Data(bytes) => self.connections.data(header, bytes, sink),
            Record::Open(opening) => {
                let origin = origin(&opening, self.processes, self.images);
                let owner = (opening.pid, opening.key);
                self.connections.open(header, owner, origin, sink);
            }
            Record::Close(end) => {
                self.connections.close(id, &end, header.at, sink);
                self.closed.count(end.refused, end.unreadable);
            }
            Record::ServerName(name) => self.connections.update(header, server_name(name), sink),
            Record::Join(_) => self.connections.absorb(id, header.at, sink),
        }
    }
}
