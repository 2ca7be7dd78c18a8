//! Capture files: traffic as the probes deliver it, kept as JSON Lines.
//!
//! In: a file, or [`Event`](crate::event::Event)s. Out: events, or a file. Must not
//! know: what a call is. Of HTTP it knows enough to let no credential into a file, and
//! where that is asked for no content.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        reason = "a test may fail by panicking"
    )
)]

#[doc(hidden)]
pub mod fuzz;
mod line;
pub mod mask;
pub mod reader;
pub mod reframe;
pub mod writer;

pub use reader::Reader;
pub use reframe::{Bodies, Reframer};
pub use writer::Writer;

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u64 = 1;
