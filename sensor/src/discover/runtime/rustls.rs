//! Programs with rustls: its connections have no function of a fixed form to hook, the
//! libraries that encrypt for it have.
//!
//! Both may be in one program, and which one it uses is not to be seen in the file: both
//! are hooked. What they encrypt for others than TLS is told apart where it happens.

use super::super::image::{Image, ImageError};
use super::super::plan::{Finding, FoundBy, Unsupported};
use super::super::symbols::Symbols;
use super::{Hooks, Runtime, aead, ring};

pub const RUNTIME: Runtime = Runtime {
    symbols: &[],
    examine,
};

/// Copies of a name that are looked at.
const MAX_PLACES: usize = 16;
/// The name of rustls's source in two parts, so that this program itself does not hold it.
const NAME: [&[u8]; 2] = [b"rustls", b"-0."];

fn examine(image: &Image<'_>, _: &Symbols) -> Result<Option<Finding>, ImageError> {
    let name = NAME.concat();
    let mut version = None;
    let mut files = Vec::new();
    image.find_constants(&[&name, aead::AWS_LC], |which, at| match which {
        0 => version = version.or(Some(at)),
        _ if files.len() < MAX_PLACES => files.push(at),
        _ => {}
    })?;
    if version.is_none() && files.is_empty() {
        return Ok(None);
    }
    let mut hooks = Hooks::new(image);
    let awslc = aead::hook_at(&mut hooks, &files)?;
    let ring = ring::hook(&mut hooks)?;
    if awslc || ring {
        return Ok(Some(Finding::Hooks(hooks.into_plan(
            "rustls",
            None,
            FoundBy::Pattern,
        ))));
    }
    Ok(version.is_some().then(|| {
        Finding::Unsupported(Unsupported {
            library: "rustls".into(),
            reason: "rustls is linked in without a function that can be hooked".into(),
        })
    }))
}
