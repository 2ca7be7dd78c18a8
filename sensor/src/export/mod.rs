//! Records on their way out.
//!
//! In: [`Record`](crate::redact::Record)s. Out: text, files, the network. Must not know:
//! kernel, HTTP traffic, a call that was not redacted.
//!
//! ```text
//! Record -> Retries (links) -> Worker (a thread each) -> jsonl | otlp: encode -> Spool -> Lane -> collector
//!                                                     -> metrics <- health; prometheus and otlp read them
//! ```

pub mod file;
pub mod jsonl;
pub mod message;
pub mod metrics;
pub mod otlp;
pub mod retries;
#[cfg(test)]
pub(crate) mod samples;
pub mod semconv;
pub mod serve;
pub mod spool;
pub mod worker;
