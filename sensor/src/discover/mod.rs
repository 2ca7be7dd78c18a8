//! Which places of a process's files to probe.
//!
//! In: process ids, ELF images (hostile). Out: a [`HookPlan`] for each image. Must
//! not know: aya, kernel state, traffic.

pub mod plan;

pub use plan::{Exit, Function, Hook, HookPlan, Site, SiteCost};
