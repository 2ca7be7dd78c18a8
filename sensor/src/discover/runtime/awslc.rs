//! AWS-LC, and how its encryption of records is found in a program without symbols.
//!
//! Each error is put down with its reason, the name of the source file and the line. The
//! reasons that a function of `aead.c` can fail with tell which one it is, in every build
//! and for every processor: above the assembly that does the work.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::image::{Image, ImageError};
use super::super::plan::Function;
use super::super::reference::{self, Extents};
use super::Hooks;

/// How the name of the file ends; the build may have cut what is before it.
pub const FILE: &[u8] = b"/aws-lc/crypto/fipsmodule/cipher/aead.c\0";
/// Copies of the library in one image that are looked at.
const MAX_COPIES: usize = 4;
/// Most code of one function that is read.
const MAX_FUNCTION: u64 = 0x1000;
/// Which argument of a report of an error the file's name is.
const FILE_ARGUMENT: usize = 3;

/// Reasons of errors, as `openssl/cipher.h` numbers them.
mod reason {
    pub const BAD_DECRYPT: u32 = 101;
    pub const BUFFER_TOO_SMALL: u32 = 103;
    pub const CTRL_NOT_IMPLEMENTED: u32 = 104;
    pub const INVALID_OPERATION: u32 = 112;
    pub const OUTPUT_ALIASES_INPUT: u32 = 115;
    pub const TOO_LARGE: u32 = 117;
}

/// From the first byte of a function to the first behind it.
type Extent = Range<u64>;

/// Hooks each copy of the library in which both directions were found; whether there is one.
pub fn hook(hooks: &mut Hooks<'_>, names: &[u64]) -> Result<bool, ImageError> {
    let mut any = false;
    for &tail in names.iter().take(MAX_COPIES) {
        let Some(name) = hooks.image.beginning_of_text(tail)? else {
            continue;
        };
        let functions = failing(hooks.image, name)?;
        let found = identify(&functions);
        let has = |wanted| found.iter().any(|(function, _)| *function == wanted);
        if !has(Function::AeadSeal) || !has(Function::AeadOpen) {
            hooks.note("AWS-LC is there, but its functions cannot be told apart".into());
            continue;
        }
        for (function, extent) in found {
            any |= place(hooks, function, extent)?;
        }
    }
    Ok(any)
}

/// Functions that put down errors with this name of a file, and their reasons.
fn failing(
    image: &Image<'_>,
    name: u64,
) -> Result<BTreeMap<(u64, u64), BTreeSet<u32>>, ImageError> {
    let references = reference::references(image, name)?;
    let extents = Extents::near(image, &references)?;
    let mut functions: BTreeMap<(u64, u64), BTreeSet<u32>> = BTreeMap::new();
    for reference in references {
        let Some(extent) = extents.around(reference.address)? else {
            continue;
        };
        let arguments = reference::arguments(image, reference)?;
        let reason = arguments.get(FILE_ARGUMENT.saturating_sub(1)).copied();
        if let Some(reason) = reason.flatten()
            && reference.argument == FILE_ARGUMENT
        {
            let reasons = functions.entry((extent.start, extent.end)).or_default();
            reasons.insert(reason);
        }
    }
    Ok(functions)
}

/// Which function is which; one that two could be is none.
fn identify(functions: &BTreeMap<(u64, u64), BTreeSet<u32>>) -> Vec<(Function, Extent)> {
    use reason::{
        BAD_DECRYPT, BUFFER_TOO_SMALL, CTRL_NOT_IMPLEMENTED, INVALID_OPERATION,
        OUTPUT_ALIASES_INPUT, TOO_LARGE,
    };
    let open = [BAD_DECRYPT, BUFFER_TOO_SMALL, OUTPUT_ALIASES_INPUT];
    // The gathering form may have become a part of it.
    let whole_open = [
        BAD_DECRYPT,
        BUFFER_TOO_SMALL,
        CTRL_NOT_IMPLEMENTED,
        OUTPUT_ALIASES_INPUT,
    ];
    let wanted: [(Function, &[&[u32]]); 4] = [
        (
            Function::AeadSeal,
            &[&[BUFFER_TOO_SMALL, OUTPUT_ALIASES_INPUT, TOO_LARGE]],
        ),
        (
            Function::AeadSealScatter,
            &[&[INVALID_OPERATION, OUTPUT_ALIASES_INPUT]],
        ),
        (Function::AeadOpen, &[&open, &whole_open]),
        (
            Function::AeadOpenGather,
            &[&[CTRL_NOT_IMPLEMENTED, OUTPUT_ALIASES_INPUT]],
        ),
    ];
    let only = |shapes: &[&[u32]]| {
        let fits = |reasons: &BTreeSet<u32>| shapes.iter().any(|s| reasons.iter().eq(s.iter()));
        let mut all = functions.iter().filter(|(_, reasons)| fits(reasons));
        let (&(start, end), _) = all.next()?;
        all.next().is_none().then_some(start..end)
    };
    wanted
        .into_iter()
        .filter_map(|(function, shapes)| Some((function, only(shapes)?)))
        .collect()
}

/// Puts a hook on a function that was found; whether it takes one.
fn place(hooks: &mut Hooks<'_>, function: Function, extent: Extent) -> Result<bool, ImageError> {
    let what = match function {
        Function::AeadSeal => "EVP_AEAD_CTX_seal",
        Function::AeadSealScatter => "EVP_AEAD_CTX_seal_scatter",
        Function::AeadOpen => "EVP_AEAD_CTX_open",
        _ => "EVP_AEAD_CTX_open_gather",
    };
    let what = format!("{what}, by the reasons of its errors");
    hooks.place(function, &extent, MAX_FUNCTION, &what)
}
