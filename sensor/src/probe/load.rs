//! The kernel half: loaded, its settings written, its programs attached to what exists once.
//!
//! In: the eBPF object. Out: [`Programs`]. Must not know: files of processes.

use std::num::NonZeroU32;
use std::path::Path;

use aya::maps::{Map, MapData};
use aya::programs::raw_trace_point::RawTracePointLinkId;
use aya::programs::uprobe::UProbeScope;
use aya::programs::{Program, ProgramError, RawTracePoint, UProbe};
use aya::sys::SyscallError;
use aya::{Ebpf, EbpfLoader};
use llmtap_common::filter::mode;
use llmtap_common::layout::KernelLayout;
use zerocopy::IntoBytes;

use super::links::{self, Link};
use super::multi::Multi;
use super::{Options, Pids, ProbeError, btf, process};
use crate::discover::{Exit, Function, Site};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/llmtap-ebpf"));

/// Programs attached once, with the tracepoint of each.
const TRACEPOINTS: [(&str, &str); 3] = [
    ("process_exec", "sched_process_exec"),
    ("process_exit", "sched_process_exit"),
    ("syscall_exit", "sys_exit"),
];

/// The same, attached only while it is wanted.
const FORKS: (&str, &str) = ("process_fork", "task_newtask");

const PROBES: [&str; 25] = [
    "aead_seal",
    "aead_seal_scatter",
    "aead_open",
    "aead_open_gather",
    "aead_opened",
    "aead_returns",
    "ring_seal",
    "ring_open",
    "ssl_read",
    "ssl_read_ex",
    "ssl_write",
    "ssl_write_ex",
    "ssl_write_ex2",
    "ssl_free",
    "ssl_ctrl",
    "ssl_sendfile",
    "ssl_returned",
    "ssl_returns",
    "nspr_recv",
    "go_read",
    "go_write",
    "go_close",
    "go_http1_asks",
    "go_http2_asks",
    "go_http2_writes",
];

/// The program for the entry of `function`; `None` where it isn't followed.
pub fn entry_program(function: Function) -> Option<&'static str> {
    match function {
        Function::Read => Some("ssl_read"),
        Function::Recv => Some("nspr_recv"),
        Function::ReadEx => Some("ssl_read_ex"),
        Function::Write => Some("ssl_write"),
        Function::WriteEx => Some("ssl_write_ex"),
        Function::WriteEx2 => Some("ssl_write_ex2"),
        Function::Free => Some("ssl_free"),
        Function::Ctrl => Some("ssl_ctrl"),
        Function::SendFile => Some("ssl_sendfile"),
        // The socket is told by the system calls that carry the records.
        Function::SetFd | Function::SetBio => None,
        Function::AeadSeal => Some("aead_seal"),
        Function::AeadSealScatter => Some("aead_seal_scatter"),
        Function::AeadOpen => Some("aead_open"),
        Function::AeadOpenGather => Some("aead_open_gather"),
        Function::RingSeal => Some("ring_seal"),
        Function::RingOpen => Some("ring_open"),
        Function::GoRead { .. } => Some("go_read"),
        Function::GoWrite => Some("go_write"),
        Function::GoClose => Some("go_close"),
        Function::GoHttp1Asks => Some("go_http1_asks"),
        Function::GoHttp2Asks => Some("go_http2_asks"),
        Function::GoHttp2Writes => Some("go_http2_writes"),
    }
}

pub fn exit_program(function: Function, exit: &Exit) -> &'static str {
    let opens = matches!(
        function,
        Function::AeadOpen | Function::AeadOpenGather | Function::RingOpen
    );
    match exit {
        Exit::Return if opens => "aead_opened",
        Exit::Sites(_) if opens => "aead_returns",
        Exit::Return => "ssl_returned",
        Exit::Sites(_) => "ssl_returns",
    }
}

/// The loaded kernel half.
#[derive(Debug)]
pub struct Programs {
    ebpf: Ebpf,
    /// `None`: each probe has a link of its own.
    multi: Option<Multi>,
    /// Whether this kernel's types are known, which sockets and new files need.
    pub layout: bool,
    /// While new processes are reported.
    forks: Option<RawTracePointLinkId>,
}

impl Programs {
    pub fn load(options: &Options) -> Result<Self, ProbeError> {
        if OBJECT.is_empty() {
            return Err(ProbeError::NoObject);
        }
        let layout = btf::kernel_layout(Path::new(btf::VMLINUX));
        let mut ebpf = loaded(options, &layout.unwrap_or_default())?;
        // Without it, a hook too many is one that could not be attached.
        let _ = links::allow_many();
        let multi = options
            .multi
            .then(|| Multi::load(OBJECT, &ebpf, &PROBES))
            .flatten();
        if multi.is_none() {
            load_probes(&mut ebpf)?;
        }
        for (name, _) in TRACEPOINTS.into_iter().chain([FORKS]) {
            let program: &mut RawTracePoint = program(&mut ebpf, name)?;
            program.load().map_err(|source| rejected(name, source))?;
        }
        Ok(Self {
            ebpf,
            multi,
            layout: layout.is_some(),
            forks: None,
        })
    }

    /// From now on processes that come and go are reported.
    pub fn attach_tracepoints(&mut self) -> Result<(), ProbeError> {
        for (name, tracepoint) in TRACEPOINTS {
            let program: &mut RawTracePoint = program(&mut self.ebpf, name)?;
            program
                .attach(tracepoint)
                .map_err(|source| ProbeError::Tracepoint { tracepoint, source })?;
        }
        Ok(())
    }

    /// Whether probes can be set for single processes.
    pub fn by_process(&self) -> bool {
        let by_process = self.multi.as_ref().is_some_and(|multi| multi.by_process);
        by_process && self.layout && process::has_numbers_of_host()
    }

    /// From now on new processes are reported, too, or are no more.
    pub fn report_forks(&mut self, wanted: bool) -> Result<(), ProbeError> {
        if self.forks.is_some() == wanted {
            return Ok(());
        }
        let (name, tracepoint) = FORKS;
        let program: &mut RawTracePoint = program(&mut self.ebpf, name)?;
        let failed = |source| ProbeError::Tracepoint { tracepoint, source };
        match self.forks.take() {
            Some(link) => program.detach(link).map_err(failed),
            None => {
                self.forks = Some(program.attach(tracepoint).map_err(failed)?);
                Ok(())
            }
        }
    }

    /// Ends what [`Self::attach_tracepoints`] began.
    pub fn detach_tracepoints(&mut self) {
        for (name, _) in TRACEPOINTS.into_iter().chain([FORKS]) {
            let program: Result<&mut RawTracePoint, _> = program(&mut self.ebpf, name);
            if let Ok(program) = program {
                // At the latest it goes with this process.
                let _ = program.unload();
            }
        }
    }

    /// Sets probes at all `sites` of a file, or at none; in one process or in every one.
    pub fn probe(
        &mut self,
        name: &'static str,
        file: &Path,
        sites: &[Site],
        process: Option<u32>,
    ) -> Result<Vec<Link>, ProbeError> {
        let Some(multi) = &self.multi else {
            return sites
                .iter()
                .map(|site| self.probe_one(name, file, site, process))
                .collect();
        };
        let offsets: Vec<u64> = sites.iter().map(|site| site.offset).collect();
        let Some(first) = offsets.first() else {
            return Ok(vec![]);
        };
        let link = multi
            .link(name, file, &offsets, process)
            .map_err(|io_error| {
                // The kernel doesn't say which of them it was.
                let call = "bpf_link_create";
                not_attached(name, *first, SyscallError { call, io_error }.into())
            })?;
        Ok(vec![Link::Many(link, offsets.len())])
    }

    fn probe_one(
        &mut self,
        name: &'static str,
        file: &Path,
        site: &Site,
        process: Option<u32>,
    ) -> Result<Link, ProbeError> {
        let probe: &mut UProbe = program(&mut self.ebpf, name)?;
        let scope = match process.and_then(NonZeroU32::new) {
            Some(pid) => UProbeScope::OneProcess(pid),
            None => UProbeScope::AllProcesses,
        };
        let attached = probe
            .attach(site.offset, file, scope)
            .and_then(|link| probe.take_link(link));
        attached
            .map(Link::One)
            .map_err(|source| not_attached(name, site.offset, source))
    }

    /// A map of the object, to be written to.
    pub fn map_mut<'a, T>(&'a mut self, name: &'static str) -> Result<T, ProbeError>
    where
        T: TryFrom<&'a mut Map, Error = aya::maps::MapError>,
    {
        let map = self.ebpf.map_mut(name).ok_or(ProbeError::Object(name))?;
        T::try_from(map).map_err(|source| ProbeError::Map { map: name, source })
    }

    /// Hands over a map of the object.
    pub fn map<T>(&mut self, name: &'static str) -> Result<T, ProbeError>
    where
        T: TryFrom<Map, Error = aya::maps::MapError>,
    {
        let map = self.ebpf.take_map(name).ok_or(ProbeError::Object(name))?;
        T::try_from(map).map_err(|source| ProbeError::Map { map: name, source })
    }
}

fn loaded(options: &Options, layout: &KernelLayout) -> Result<Ebpf, ProbeError> {
    let own_pid = std::process::id();
    let watermark = u64::from(options.ring_bytes / 8);
    let pid_mode = match &options.pids {
        Pids::Every => mode::EVERY,
        Pids::Except(_) => mode::EXCEPT,
        Pids::Only(_) => mode::ONLY,
    };
    let mut loader = EbpfLoader::new();
    loader
        .override_global("OWN_PID", &own_pid, true)
        .override_global("PID_MODE", &pid_mode, true)
        .override_global("TURN_LIMIT", &options.turn_limit, true)
        .override_global("WATERMARK", &watermark, true)
        .override_global("LAYOUT", layout.as_bytes(), true)
        .map_max_entries("EVENTS", options.ring_bytes);
    let mut ebpf = loader
        .load(OBJECT)
        .map_err(|source| ProbeError::Load(Box::new(source)))?;
    if let Pids::Except(pids) | Pids::Only(pids) = &options.pids {
        let map = ebpf.map_mut("PIDS").ok_or(ProbeError::Object("PIDS"))?;
        let map_error = |source| ProbeError::Map {
            map: "PIDS",
            source,
        };
        let mut map: aya::maps::HashMap<&mut MapData, u32, u8> =
            map.try_into().map_err(map_error)?;
        for pid in pids {
            map.insert(pid, 0, 0).map_err(map_error)?;
        }
    }
    Ok(ebpf)
}

fn load_probes(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    for name in PROBES {
        let program: &mut UProbe = program(ebpf, name)?;
        program.load().map_err(|source| rejected(name, source))?;
    }
    Ok(())
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut T, ProbeError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(ProbeError::Object(name))?;
    program.try_into().map_err(|source| rejected(name, source))
}

fn rejected(program: &'static str, source: ProgramError) -> ProbeError {
    ProbeError::Program {
        program,
        source: Box::new(source),
    }
}

fn not_attached(program: &'static str, offset: u64, source: ProgramError) -> ProbeError {
    ProbeError::Attach {
        program,
        offset,
        source: Box::new(source),
    }
}
