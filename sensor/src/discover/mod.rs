//! Which places of a process's files to probe.
//!
//! In: process ids, ELF images (hostile). Out: a [`HookPlan`] for each image. Must not
//! know: aya, kernel state, traffic.
//!
//! ```text
//! maps (what a process has mapped) -> cache -> image (ELF) -> runtime/* (asks site/*) -> Finding
//! ```
//!
//! Reading a file may block for as long as its file system likes, so call this from a
//! thread that may wait.

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

pub mod cache;
#[doc(hidden)]
pub mod fuzz;
pub mod image;
pub mod language;
pub mod maps;
pub mod plan;
pub mod process;
mod reference;
mod runtime;
pub mod site;
mod symbols;
#[cfg(test)]
mod synthetic;
mod unwind;

use std::fs::File;

pub use cache::{Cache, Examined, analyse_cached};
pub use image::ImageError;
pub use plan::{Exit, Finding, FoundBy, Function, Hook, HookPlan, Site, SiteCost, Unsupported};

/// Looks for a TLS implementation in a file. `None`: there is none that is known, which
/// is quickly told for most files.
pub fn examine(file: &File) -> Result<Option<Finding>, ImageError> {
    examine_bytes(file)
}

/// The same for any source of bytes.
pub fn examine_bytes(source: &dyn image::ReadAt) -> Result<Option<Finding>, ImageError> {
    match image::Image::parse(source)? {
        Some(image) => runtime::examine(&image),
        None => Ok(None),
    }
}

/// The probes for a file. `None`: nothing to hook.
pub fn analyse(file: &File) -> Result<Option<HookPlan>, ImageError> {
    Ok(match examine(file)? {
        Some(Finding::Hooks(plan)) => Some(plan),
        Some(Finding::Unsupported(_)) | None => None,
    })
}
