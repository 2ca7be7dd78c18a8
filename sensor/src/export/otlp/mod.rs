//! The OpenTelemetry protocol: spans and events to a collector.
//!
//! In: [`Outgoing`]s. Out: export requests, by way of a spool each for spans and events.
//! Must not know: a call that was not redacted.
//!
//! The SDK's own exporters take one resource for all spans and keep their queue in
//! memory; here each record has the resource of its process, and the queue is a spool
//! of encoded requests that outlives this process.

use std::io;
use std::sync::Arc;

use crate::export::Outgoing;
use crate::export::worker::Sink;

mod answer;
pub mod client;
pub mod encode;
pub mod measure;
pub mod send;
pub mod tls;

pub use client::{Client, Compression, Destination, Protocol};
pub use encode::Encoder;
pub use send::{Batching, Lane, LaneStatus, Tally};

/// Encodes records, and puts them into the spools.
#[derive(Debug)]
pub struct Outlet {
    pub encoder: Encoder,
    pub content_on_events: bool,
    pub traces: Option<Arc<Lane>>,
    pub logs: Option<Arc<Lane>>,
}

impl Sink for Outlet {
    fn take(&mut self, record: &Outgoing) -> io::Result<()> {
        // What finds no room on one way is no reason to lose it on the other.
        let span = match &self.traces {
            Some(traces) => traces.push(&self.encoder.span(record)),
            None => Ok(()),
        };
        if let Some(logs) = &self.logs
            && self.content_on_events
            && let Outgoing::Call(record) = record
            && let Some(message) = self.encoder.event(record)
        {
            logs.push(&message)?;
        }
        span
    }
}
