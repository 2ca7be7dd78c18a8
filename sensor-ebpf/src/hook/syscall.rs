//! System calls.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use llmtap_common::record::process;

use crate::arch::{self, number};
use crate::filter::Task;
use crate::maps::FILES;
use crate::{emit, socket};

const PROT_EXEC: u64 = 4;

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn syscall_exit(ctx: RawTracePointContext) -> u32 {
    let Some(call) = arch::system_call(ctx.arg(0)) else {
        return 0;
    };
    let result: i64 = ctx.arg(1);
    if call.number >= number::END || result < 0 {
        return 0;
    }
    if call.number == number::MMAP {
        mapped(&call, result as u64);
    }
    0
}

/// A file was mapped for execution: it may be a library to probe.
#[inline(always)]
fn mapped(call: &arch::Call, address: u64) {
    if call.args[2] & PROT_EXEC == 0 || call.fifth as i32 == -1 {
        return;
    }
    let Some(file) = socket::file_id(call.fifth) else {
        return;
    };
    if FILES.get_ptr(&file).is_none() {
        let task = Task(bpf_get_current_pid_tgid());
        emit::process(process::MAP, task.pid(), file, address, true);
    }
}
