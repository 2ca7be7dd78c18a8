//! What llmtap knows of each TLS implementation: one file and one line of [`RUNTIMES`].
//!
//! In: an [`Image`]. Out: a [`Finding`]. Must not know: processes, other runtimes.

mod aead;
mod boringssl;
mod exported;
mod go;
mod openssl;
mod ring;
mod rustls;
mod static_openssl;
mod unseen;

use std::ops::Range;

use super::image::{Image, ImageError};
use super::plan::{Exit, Finding, FoundBy, Function, Hook, HookPlan, Site, SiteCost};
use super::site::{Code, PlacedExit, Placement};
use super::symbols::Symbols;

/// One TLS implementation, and how to see its plaintext.
#[derive(Clone, Copy)]
pub struct Runtime {
    /// Functions that [`Runtime::examine`] wants to be looked up.
    symbols: &'static [&'static str],
    /// `None`: this image does not hold it.
    examine: fn(&Image<'_>, &Symbols) -> Result<Option<Finding>, ImageError>,
}

/// In the order of asking; the first that knows the image answers.
const RUNTIMES: &[Runtime] = &[
    openssl::RUNTIME,
    exported::RUNTIME,
    go::RUNTIME,
    boringssl::RUNTIME,
    rustls::RUNTIME,
    static_openssl::RUNTIME,
    unseen::RUNTIME,
];

/// Asks each runtime about the image.
pub fn examine(image: &Image<'_>) -> Result<Option<Finding>, ImageError> {
    let names: Vec<&'static str> = RUNTIMES.iter().flat_map(|r| r.symbols).copied().collect();
    let symbols = Symbols::find(image, &names)?;
    for runtime in RUNTIMES {
        if let Some(finding) = (runtime.examine)(image, &symbols)? {
            return Ok(Some(finding));
        }
    }
    Ok(None)
}

/// A plan in the making.
struct Hooks<'a> {
    image: &'a Image<'a>,
    hooks: Vec<Hook>,
    evidence: Vec<String>,
}

impl<'a> Hooks<'a> {
    const fn new(image: &'a Image<'a>) -> Self {
        Self {
            image,
            hooks: Vec::new(),
            evidence: Vec::new(),
        }
    }

    fn note(&mut self, fact: String) {
        self.evidence.push(fact);
    }

    /// Hooks `function` at `place`, which was found by way of `what`.
    fn add(&mut self, function: Function, place: &Placement, what: &str) {
        let Some(hook) = self.hook(function, place) else {
            return self.note(format!("{what}: its code is not in the file"));
        };
        let cost = match hook.entry.cost {
            SiteCost::Emulated => "emulated",
            SiteCost::Stepped => "single-stepped",
        };
        self.note(format!(
            "{function:?} at {:#x} ({cost}): {what}",
            hook.entry.offset
        ));
        self.hooks.push(hook);
    }

    /// Hooks `function`, whose code lies in `extent`, at the best place in its first
    /// `at_most` bytes; whether there is one.
    fn place(
        &mut self,
        function: Function,
        extent: &Range<u64>,
        at_most: u64,
        what: &str,
    ) -> Result<bool, ImageError> {
        let size = extent.end.saturating_sub(extent.start);
        let read = size.min(at_most.saturating_add(1)) as usize;
        let bytes = self.image.code(extent.start, read)?;
        let code = Code {
            machine: self.image.machine,
            address: extent.start,
            bytes: &bytes,
            whole: bytes.len() == read && size <= at_most,
        };
        let wanted = function.wanted();
        let place = code.cheap(wanted).or_else(|| code.at_entry(wanted));
        match &place {
            Some(place) => self.add(function, place, what),
            None => self.note(silent(what)),
        }
        Ok(place.is_some())
    }

    fn hook(&self, function: Function, place: &Placement) -> Option<Hook> {
        let site = |address, cost| {
            Some(Site {
                offset: self.image.code_offset(address)?,
                cost,
            })
        };
        let exit = match &place.exit {
            None => None,
            Some(PlacedExit::Return) => Some(Exit::Return),
            Some(PlacedExit::At(returns)) => {
                let sites = returns.iter().map(|&at| site(at, SiteCost::Emulated));
                Some(Exit::Sites(sites.collect::<Option<_>>()?))
            }
        };
        Some(Hook {
            function,
            entry: site(place.entry, place.cost)?,
            exit,
        })
    }

    fn into_plan(
        self,
        library: &'static str,
        version: Option<Box<str>>,
        found_by: FoundBy,
    ) -> HookPlan {
        HookPlan {
            library: library.into(),
            version,
            found_by,
            hooks: self.hooks,
            evidence: self.evidence,
        }
    }
}

/// Says that a function cannot be observed.
fn silent(name: &str) -> String {
    format!("{name} begins with an instruction that takes no probe: its calls are not seen")
}
