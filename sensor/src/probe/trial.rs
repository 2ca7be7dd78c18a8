//! Hooks that were found by form alone are on trial: those that show something else than
//! plaintext are taken away.
//!
//! In: what came through the hooks. Out: [`Withdrawn`]. Must not know: traffic.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use super::attach::{Image, Images};
use super::process::Processes;
use super::tables::Misfits;
use super::tally::{Judgement, Refutation};
use crate::discover::Finding;

/// Between two looks, in nanoseconds.
const PERIOD: u64 = 1_000_000_000;

/// A file that lost its hooks.
#[derive(Clone, Debug)]
pub struct Withdrawn {
    pub path: PathBuf,
    pub library: String,
    pub why: Refutation,
}

pub struct Trial {
    misfits: Misfits,
    /// Boot time of the last look.
    looked: u64,
    news: Vec<Withdrawn>,
}

impl Trial {
    pub const fn new(misfits: Misfits) -> Self {
        Self {
            misfits,
            looked: 0,
            news: Vec::new(),
        }
    }

    /// Looks, now and then, at what speaks against hooks, and acts on it.
    pub fn look(&mut self, now: u64, processes: &mut Processes, images: &Images) {
        if now.saturating_sub(self.looked) < PERIOD {
            return;
        }
        self.looked = now;
        for (place, count) in self.misfits.take() {
            let pid = u32::try_from(place.pid).unwrap_or(0);
            if let Some(library) = processes.library(pid, place.instruction, images) {
                library.tally.misfits(count);
            }
        }
        for image in images.all() {
            if let Some(why) = refutation(&image) {
                self.news.push(Withdrawn {
                    path: image.path.clone(),
                    library: image.library().to_owned(),
                    why,
                });
                images.withdraw(&image, why);
            }
        }
    }

    /// What was withdrawn since the last time.
    pub fn news(&mut self) -> Vec<Withdrawn> {
        mem::take(&mut self.news)
    }
}

/// Why the hooks of a file are to go, if they are.
fn refutation(image: &Arc<Image>) -> Option<Refutation> {
    match (&image.finding, image.tally.judgement()) {
        (Finding::Hooks(plan), Judgement::Refuted(why))
            if plan.found_by.may_err() && image.withdrawn.is_none() =>
        {
            Some(why)
        }
        _ => None,
    }
}
