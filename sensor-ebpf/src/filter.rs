//! Which processes are traced.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use llmtap_common::filter::mode;

use crate::maps::{self, PIDS};

/// A thread, as the kernel names it.
#[derive(Clone, Copy)]
pub struct Task(pub u64);

impl Task {
    #[inline(always)]
    pub fn running() -> Self {
        Self(bpf_get_current_pid_tgid())
    }

    #[inline(always)]
    pub fn pid(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub fn tid(self) -> u32 {
        self.0 as u32
    }
}

/// The running thread, if its process is traced.
#[inline(always)]
pub fn traced() -> Option<Task> {
    let task = Task::running();
    if task.pid() == maps::own_pid() {
        return None;
    }
    let wanted = match maps::pid_mode() {
        mode::EVERY => true,
        mode::EXCEPT => PIDS.get_ptr(task.pid()).is_none(),
        _ => PIDS.get_ptr(task.pid()).is_some(),
    };
    wanted.then_some(task)
}
