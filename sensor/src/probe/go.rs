//! What the kernel half has to know of a Go program before its probes fire.
//!
//! In: places found by `discover`. Out: entries of a map. Must not know: how they were
//! found.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aya::maps::{HashMap, MapData};
use llmtap_common::site::{PAGE, SiteKey};
use zerocopy::IntoBytes;

use super::ProbeError;
use super::load::Programs;

const SITES: &str = "GO_SITES";

/// How far from its first byte a call has others that a breakpoint leaves alone; the kernel
/// half counts the same way.
const BESIDE: u64 = if cfg!(target_arch = "x86_64") { 1 } else { 4 };

/// Tells where the function that is probed at `offset` of a file keeps its connection:
/// `home` bytes above the stack pointer.
pub fn tell_site(
    programs: &mut Programs,
    file: &Path,
    offset: u64,
    home: u32,
) -> Result<(), ProbeError> {
    let mut beside = [0; 8];
    File::open(file)
        .and_then(|file| file.read_exact_at(&mut beside, offset.saturating_add(BESIDE)))
        .map_err(|source| ProbeError::Code { offset, source })?;
    let key = SiteKey {
        // Segments are loaded so that the lower bits of offset and address agree.
        in_page: offset % PAGE,
        beside: u64::from_le_bytes(beside),
    };
    let mut bytes = [0; size_of::<SiteKey>()];
    bytes.copy_from_slice(key.as_bytes());
    let mut sites: HashMap<&mut MapData, [u8; size_of::<SiteKey>()], u64> =
        programs.map_mut(SITES)?;
    sites
        .insert(bytes, u64::from(home), 0)
        .map_err(|source| ProbeError::Map { map: SITES, source })
}
