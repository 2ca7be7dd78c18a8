//! NSS, whose users read and write through NSPR; most of it looks like OpenSSL.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use llmtap_common::record::READ;

use super::openssl::{self, BY_RESULT};

/// `PR_MSG_PEEK`
const PEEK: u32 = 2;

/// `PR_Recv(fd, buf, amount, flags, timeout)`: what is only looked at comes once more.
#[uprobe]
pub fn nspr_recv(ctx: ProbeContext) -> u32 {
    match ctx.arg::<u32>(3) {
        Some(flags) if flags & PEEK == 0 => openssl::enter(&ctx, READ as u64 | BY_RESULT, None),
        _ => 0,
    }
}
