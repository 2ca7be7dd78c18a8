//! Many places of a file under one link of the kernel (`uprobe_multi`, since 6.6).
//!
//! In: the object, and the maps that were made of it. Out: programs, and links to them. Must
//! not know: what the programs do.
//!
//! A link by way of a perf event holds one place, and to take it away costs several grace
//! periods under a lock that all perf events share. One of this kind costs a grace period,
//! however many places it holds, and many can be waited for at once. The kernel wants to
//! hear of it when the program is loaded, which `aya` does not say; so the programs are
//! loaded here, from the same object and with the same maps.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Ebpf;
use aya::maps::Map;
use aya_obj::{Object, ProgramSection};
use rustix::io::Errno;

use super::bpf::{self, Program};

/// Programs that can be linked to many places at once.
#[derive(Debug)]
pub struct Multi {
    programs: HashMap<&'static str, Program>,
    /// Whether a link can be limited to a process.
    pub by_process: bool,
}

impl Multi {
    /// `None`: not with this kernel.
    pub fn load(object: &[u8], ebpf: &Ebpf, names: &[&'static str]) -> Option<Self> {
        let mut object = relocated(object, ebpf)?;
        let types = load_types(&mut object)?;
        let mut programs = HashMap::new();
        let mut by_process = false;
        for name in names {
            let program = load(&object, &types, name)?;
            if programs.is_empty() {
                if !is_linkable(&program) {
                    return None;
                }
                by_process = is_linkable_by_process(&program);
            }
            programs.insert(*name, program);
        }
        Some(Self {
            programs,
            by_process,
        })
    }

    /// Probes at all the offsets of a file, which is found by its name, or at none; in one
    /// process or in every one.
    pub fn link(
        &self,
        program: &str,
        file: &Path,
        offsets: &[u64],
        process: Option<u32>,
    ) -> io::Result<OwnedFd> {
        let program = self.programs.get(program).ok_or(Errno::NOENT)?;
        let file = CString::new(file.as_os_str().as_bytes())?;
        bpf::link(program, &file, offsets, process)
    }
}

/// The object's functions, complete but for what the kernel adds.
fn relocated(object: &[u8], ebpf: &Ebpf) -> Option<Object> {
    let mut object = Object::parse(object).ok()?;
    let functions: HashSet<usize> = object.functions.keys().map(|(at, _)| *at).collect();
    let maps = std::mem::take(&mut object.maps);
    let mut made = vec![];
    for (name, map) in &maps {
        made.push((name.as_str(), map_fd(ebpf.map(name)?)?, map));
    }
    object.relocate_maps(made.into_iter(), &functions).ok()?;
    object.relocate_calls(&functions).ok()?;
    Some(object)
}

/// `None`: of a type that no program here uses.
fn map_fd(map: &Map) -> Option<RawFd> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data) => Some(data.fd().as_fd().as_raw_fd()),
        _ => None,
    }
}

/// The types of functions: only where it has them the verifier looks at each function by
/// itself, and then it takes programs as long as ours.
fn load_types(object: &mut Object) -> Option<OwnedFd> {
    let features = aya::features().btf()?;
    let types = object.fixup_and_sanitize_btf(features).ok()??;
    bpf::load_types(&types.to_bytes()).ok()
}

fn load(object: &Object, types: &OwnedFd, name: &str) -> Option<Program> {
    let program = object.programs.get(name)?;
    let function = object.functions.get(&program.function_key())?;
    let at_return = matches!(program.section, ProgramSection::URetProbe { .. });
    bpf::load_program(name, function, types, &program.license, at_return).ok()
}

/// Whether the kernel links the program: the file is what it looks at last, and then it says
/// of a folder what it says of nothing else.
fn is_linkable(program: &Program) -> bool {
    refusal(bpf::link(program, c"/", &[0], None)) == Some(Errno::BADF)
}

/// Whether a link that is limited to a process sees all of its threads. Where it sees only
/// the first one (6.6, until it was mended in 6.6.33), numbers that no process can have are
/// looked up as any other.
fn is_linkable_by_process(program: &Program) -> bool {
    let nobody = Some(u32::MAX);
    refusal(bpf::link(program, c"/proc/self/exe", &[0], nobody)) == Some(Errno::INVAL)
}

fn refusal(link: io::Result<OwnedFd>) -> Option<Errno> {
    Errno::from_io_error(&link.err()?)
}
