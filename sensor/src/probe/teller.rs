//! Makes events of records.
//!
//! In: records, in the order of the ring. Out: events. Must not know: where records come
//! from, what a payload means.

use llmtap_common::record::{Closing, Header};

use super::attach::Images;
use super::clock;
use super::connections::Connections;
use super::origin::{is_plain, origin, server_name};
use super::pending::{Pending, Released};
use super::process::Processes;
use super::record::Record;
use super::witness::Witness;
use crate::event::Event;

#[derive(Debug, Default)]
pub struct Teller {
    pub connections: Connections,
    /// Connections that may be part of others.
    pending: Pending,
    pub processes: Processes,
    pub witness: Witness,
    /// Sums over connections that are over, see [`Closing`].
    pub refused: u64,
    pub unreadable: u64,
}

/// Takes events.
type Sink<'a> = &'a mut dyn FnMut(Event<'_>);

impl Teller {
    pub fn take(&mut self, header: &Header, record: Record<'_>, images: &Images, sink: Sink<'_>) {
        let waits = self.pending.takes(header, &record);
        self.tell_released(images, sink);
        if !waits {
            self.tell(header, record, images, sink);
        }
    }

    /// Lets go of records that have waited long enough to know their connection, or of all.
    pub fn hurry(&mut self, all: bool, images: &Images, sink: Sink<'_>) {
        self.pending.hurry(clock::boot_time(), all);
        self.tell_released(images, sink);
    }

    pub fn count(&mut self, end: &Closing) {
        self.refused = self.refused.saturating_add(end.refused.into());
        self.unreadable = self.unreadable.saturating_add(end.unreadable.into());
    }

    fn tell_released(&mut self, images: &Images, sink: Sink<'_>) {
        while let Some(released) = self.pending.next() {
            match released {
                Released::Open(header, opening) => {
                    self.tell(&header, Record::Open(opening), images, sink);
                }
                Released::Data(header, bytes) => {
                    self.tell(&header, Record::Data(&bytes), images, sink);
                }
            }
        }
    }

    fn tell(&mut self, header: &Header, record: Record<'_>, images: &Images, sink: Sink<'_>) {
        match record {
            Record::Data(bytes) => {
                self.witness.data(header.connection, bytes);
                self.connections.data(header, bytes, sink);
            }
            Record::Open(opening) => {
                let (pid, instruction) = (opening.pid, opening.instruction);
                let library = (!is_plain(&opening))
                    .then(|| self.processes.library(pid, instruction, images))
                    .flatten();
                if let Some(library) = &library {
                    self.witness.open(header.connection, pid, &library.tally);
                }
                let origin = origin(&opening, library.as_ref(), &mut self.processes, images);
                let owner = (opening.pid, opening.key);
                // Other libraries do not say for which goroutine they are called.
                let is_go = origin.language.as_deref() == Some("go");
                if is_go && self.processes.tells_goroutines(pid, images) {
                    self.connections.has_goroutines(header);
                }
                self.connections.open(header, owner, origin, sink);
            }
            Record::Close(end) => {
                self.count(&end);
                self.witness.close(header.connection, end.calls);
                self.connections
                    .close(header.connection, &end, header.at, sink);
            }
            Record::ServerName(name) => self.connections.update(header, server_name(name), sink),
            Record::Join(_) => {
                self.witness.close(header.connection, 0);
                self.connections.absorb(header.connection, header.at, sink);
            }
        }
    }
}
