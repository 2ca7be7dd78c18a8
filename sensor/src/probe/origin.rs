//! Who opened a connection, and to whom.
//!
//! In: records, and what is known of processes. Out: [`Origin`]. Must not know: traffic.

use llmtap_common::conn::PIPES;
use llmtap_common::record::Opening;

use super::attach::Images;
use super::process::{Library, Processes};
use super::record;
use crate::event::Origin;

/// `library`: what encrypts it, where that is known.
pub fn origin(
    opening: &Opening,
    library: Option<&Library>,
    processes: &mut Processes,
    images: &Images,
) -> Origin {
    let library = if is_plain(opening) {
        Some("none".into())
    } else {
        library.map(|library| library.name.clone())
    };
    let is_go = match library.as_deref() {
        Some("none") => processes.is_go(opening.pid, images),
        library => library == Some("go"),
    };
    let identity = processes.identity(opening.pid);
    let addresses = record::addresses(&opening.socket);
    Origin {
        pid: Some(opening.pid),
        tid: Some(opening.tid),
        // A process may be gone before anyone could ask who it was.
        comm: identity.comm.clone().or_else(|| thread_name(opening)),
        exe: identity.exe.clone(),
        language: is_go.then_some("go".into()),
        tls: library.map(|name| String::from(name).into()),
        local: addresses.map(|(local, _)| local),
        peer: addresses.map(|(_, peer)| peer),
        pipe: is_pipe(opening).then_some(opening.key.object),
        ..Origin::default()
    }
}

/// Whether nothing encrypts it.
pub const fn is_plain(opening: &Opening) -> bool {
    opening.key.pid == 0 || is_pipe(opening)
}

const fn is_pipe(opening: &Opening) -> bool {
    opening.key.pid & PIPES != 0
}

/// In most programs the thread that speaks bears the process's name.
fn thread_name(opening: &Opening) -> Option<Box<str>> {
    let name = opening.comm.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into())
}

pub fn server_name(name: &[u8]) -> Origin {
    Origin {
        sni: Some(String::from_utf8_lossy(name).into()),
        ..Origin::default()
    }
}
