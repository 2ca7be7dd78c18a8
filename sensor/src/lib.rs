//! llmtap turns what probes see of a process's traffic into calls to language models.
//!
//! A record leaves the kernel, and every room hands the next room a smaller thing
//! with more meaning. The modules below stand in the order of that flow:
//!
//! ```text
//! discover, probe | capture -> event -> stream -> http -> content -> llm    (engine owns these)
//!                                                                    |
//!                              export <- redact <- enrich <----------+     (cmd wires all)
//! ```
//!
//! From `event` to `engine` nothing reads a clock, opens a file or starts a thread:
//! the same bytes with the same timestamps give the same calls, live or replayed.

pub mod discover;

pub mod probe;

pub mod time;

pub mod event;

pub mod capture;

pub mod stream;

pub mod http;

pub mod jsonrpc;

pub mod content;

pub mod llm;

pub mod engine;

pub mod enrich;

pub mod redact;

pub mod export;

// By this name the samples find it, here as in the program.
#[cfg(test)]
extern crate self as llmtap;
#[cfg(test)]
mod samples;
