//! Processes that come, change their program, and go.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use llmtap_common::layout::FileId;
use llmtap_common::record::process;

use crate::filter::Task;
use crate::maps::{self, FILES};
use crate::{emit, pipes, socket, stash};

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(_: RawTracePointContext) -> u32 {
    let task = Task(bpf_get_current_pid_tgid());
    let file = socket::executable().unwrap_or_default();
    let known = FILES.get_ptr(file).is_some();
    maps::forget_watched(task.pid());
    // Of calls whose return came unseen nobody would know any more.
    stash::forget(task);
    emit::process(process::EXEC, task.pid(), file, 0, !known);
    pipes::inherited();
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(_: RawTracePointContext) -> u32 {
    let task = Task(bpf_get_current_pid_tgid());
    stash::forget(task);
    if task.pid() == task.tid() {
        maps::forget_habits(task.pid());
        maps::forget_watched(task.pid());
        emit::process(process::EXIT, task.pid(), FileId::default(), 0, false);
    }
    0
}
