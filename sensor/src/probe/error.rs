//! Why probes can't be set.

use aya::maps::MapError;
use aya::programs::ProgramError;

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("this binary was built without its eBPF object; build it with `cargo xtask build`")]
    NoObject,
    #[error("the eBPF object lacks `{0}`; user half and kernel half are of different builds")]
    Object(&'static str),
    #[error("cannot load the eBPF object")]
    Load(#[source] Box<aya::EbpfError>),
    #[error("the kernel rejects the program `{program}`")]
    Program {
        program: &'static str,
        #[source]
        source: Box<ProgramError>,
    },
    #[error("cannot attach to the tracepoint `{tracepoint}`")]
    Tracepoint {
        tracepoint: &'static str,
        #[source]
        source: ProgramError,
    },
    #[error("cannot attach `{program}` at offset {offset:#x}")]
    Attach {
        program: &'static str,
        offset: u64,
        #[source]
        source: Box<ProgramError>,
    },
    #[error("cannot use the map `{map}`")]
    Map {
        map: &'static str,
        #[source]
        source: MapError,
    },
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("cannot wait for records")]
    Wait(#[source] rustix::io::Errno),
}
