//! Records on their way out.
//!
//! In: [`Record`](crate::redact::Record)s. Out: text, files, the network. Must not know:
//! kernel, HTTP traffic, a call that was not redacted.
//!
//! ```text
//! Record -> Retries (links) -> Worker (a thread each) -> jsonl | otlp: encode -> Spool -> Lane -> collector
//!                                                     -> metrics <- health; prometheus and otlp read them
//! ```

use crate::enrich::trace::Trace;
use crate::redact::{Record, ServedRecord};

pub mod file;
pub mod jsonl;
pub mod message;
pub mod metrics;
pub mod otlp;
pub mod retries;
pub mod semconv;
pub mod serve;
pub mod spool;
pub mod worker;

/// What leaves as a span.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "most are calls, and each lies on the heap for itself"
)]
pub enum Outgoing {
    Call(Record),
    /// A request for which a process made calls.
    Served(ServedRecord),
}

impl Outgoing {
    /// Bytes of memory, roughly.
    pub fn weight(&self) -> usize {
        match self {
            Self::Call(record) => record.weight(),
            Self::Served(_) => size_of::<ServedRecord>() + SERVED,
        }
    }

    /// Whether it is one of those that are kept.
    pub fn is_sampled(&self) -> bool {
        let (trace, share): (&Trace, f64) = match self {
            Self::Call(record) => (record.trace(), record.share()),
            Self::Served(record) => (record.trace(), record.share()),
        };
        semconv::is_sampled(trace, share)
    }
}

/// About what the texts of a served request take.
const SERVED: usize = 512;
