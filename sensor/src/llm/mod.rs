//! From exchanges to calls: who was called ([`provider`]) and in what dialect
//! ([`api`]).
//!
//! In: heads, bodies and messages of one exchange. Out: a [`Call`]. Must not know:
//! connection internals, process, exporter, price.
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
        reason = "a test may fail loudly"
    )
)]

mod api;
pub(crate) mod attr;
pub mod call;
mod draft;
mod error;
mod fields;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod json;
mod multipart;
mod partial;
mod peers;
mod protobuf;
mod provider;
mod reply;
mod rpc;
mod session;
mod text;
mod timing;
mod usage;

pub use call::{Call, CallId};
pub use draft::Draft;
pub use peers::{Peers, Said};
pub use session::Session;

/// What to build of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Keep prompts, replies, tools and tool arguments.
    pub content: bool,
}
