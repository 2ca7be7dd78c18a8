//! Records on their way out.
//!
//! In: [`Record`](crate::redact::Record)s. Out: text. Must not know: kernel, HTTP, a
//! call that was not redacted.

pub mod jsonl;
pub mod message;
pub mod semconv;
