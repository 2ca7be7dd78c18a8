//! What a source of traffic (live probes or a capture) says: bytes crossed a
//! connection, and what is known about that connection.
//!
//! In: nothing. Out: [`Event`]. Must not know: how the bytes were obtained, nor
//! what they mean.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Names one connection for as long as its source lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Which way bytes went, as the traced process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the process to its peer.
    Write,
    /// From the peer to the process.
    Read,
}

impl Direction {
    pub const fn opposite(self) -> Self {
        match self {
            Self::Write => Self::Read,
            Self::Read => Self::Write,
        }
    }
}

/// Which end of a connection a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Client,
    Server,
}

/// Bytes that crossed the connection and are not here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Lost: the ring was full, the memory unreadable, or the capture says so.
    pub lost: u64,
    /// Left out on purpose, because a size limit was reached.
    pub cut: u64,
}

impl Missing {
    pub const NONE: Self = Self { lost: 0, cut: 0 };

    pub const fn is_none(self) -> bool {
        self.lost == 0 && self.cut == 0
    }

    pub const fn total(self) -> u64 {
        self.lost.saturating_add(self.cut)
    }

    pub const fn and(self, other: Self) -> Self {
        Self {
            lost: self.lost.saturating_add(other.lost),
            cut: self.cut.saturating_add(other.cut),
        }
    }
}

/// One thing that happened on one connection.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    pub connection: ConnectionId,
    pub at: Timestamp,
    pub kind: EventKind<'a>,
}

#[derive(Clone, Debug)]
pub enum EventKind<'a> {
    /// Facts about the connection. May come more than once as more becomes known,
    /// or never.
    Open(Box<Origin>),
    /// Plaintext. `missing` stands for bytes of this direction just before these.
    Data {
        direction: Direction,
        missing: Missing,
        bytes: &'a [u8],
    },
    Close,
}

/// Who opened a connection, and to whom. Unknown is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub pid: Option<u32>,
    pub tid: Option<u32>,
    /// In a program of Go, what tells the goroutine that asks or serves from others that live.
    pub goroutine: Option<u32>,
    /// Name of the process's main thread.
    pub comm: Option<Box<str>>,
    pub exe: Option<Box<str>>,
    /// `go`, whose programs move work from thread to thread; others are not told.
    pub language: Option<Cow<'static, str>>,
    /// TLS library as a capture spells it (`openssl`, `boringssl`, `go`, `none`, …).
    pub tls: Option<Cow<'static, str>>,
    pub role: Option<Role>,
    pub local: Option<SocketAddr>,
    pub peer: Option<SocketAddr>,
    /// Names the pair of pipes that it is, alike in the processes at both ends.
    pub pipe: Option<u64>,
    pub sni: Option<Box<str>>,
    pub alpn: Option<Box<str>>,
    /// The command line, without what may authenticate somebody.
    pub command_line: Option<Box<str>>,
    /// Name of the user it runs as.
    pub owner: Option<Box<str>>,
    /// What the process calls itself, where it says so.
    pub service: Option<Box<str>>,
    /// The systemd unit it runs in, a service or a scope.
    pub unit: Option<Box<str>>,
    /// Id of the container it runs in.
    pub container: Option<Box<str>>,
    /// What runs that: `docker`, `containerd`, `cri-o` or `podman`.
    pub runtime: Option<Box<str>>,
    /// Uid of the pod that the container is of.
    pub pod_uid: Option<Box<str>>,
    pub workload: Option<Arc<Workload>>,
    /// What runs at the peer's address, where that is a pod's.
    pub peer_workload: Option<Arc<Workload>>,
}

/// What Kubernetes knows a process by. Unknown is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    pub namespace: Box<str>,
    pub pod: Box<str>,
    pub container: Option<Box<str>>,
    pub node: Option<Box<str>>,
    /// Kind and name of whatever owns the pod, of its owner, and so on.
    pub owners: Vec<(Box<str>, Box<str>)>,
    /// Those that were asked for.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// Those that were asked for.
    pub annotations: Vec<(Box<str>, Box<str>)>,
}

impl Workload {
    /// Name of the uppermost owner, or of the pod that has none.
    pub fn name(&self) -> &str {
        self.owners.last().map_or(&self.pod, |(_, name)| name)
    }
}

impl Origin {
    /// Takes over every fact that `newer` knows.
    pub fn update(&mut self, newer: Self) {
        let Self {
            pid,
            tid,
            goroutine,
            comm,
            exe,
            language,
            tls,
            role,
            local,
            peer,
            pipe,
            sni,
            alpn,
            command_line,
            owner,
            service,
            unit,
            container,
            runtime,
            pod_uid,
            workload,
            peer_workload,
        } = newer;
        take(&mut self.pid, pid);
        // Another thread may run none.
        if tid.is_some() || goroutine.is_some() {
            self.goroutine = goroutine;
        }
        take(&mut self.tid, tid);
        take(&mut self.comm, comm);
        take(&mut self.exe, exe);
        take(&mut self.language, language);
        take(&mut self.tls, tls);
        take(&mut self.role, role);
        take(&mut self.local, local);
        take(&mut self.peer, peer);
        take(&mut self.pipe, pipe);
        take(&mut self.sni, sni);
        take(&mut self.alpn, alpn);
        take(&mut self.command_line, command_line);
        take(&mut self.owner, owner);
        take(&mut self.service, service);
        take(&mut self.unit, unit);
        take(&mut self.container, container);
        take(&mut self.runtime, runtime);
        take(&mut self.pod_uid, pod_uid);
        take(&mut self.workload, workload);
        take(&mut self.peer_workload, peer_workload);
    }
}

fn take<T>(slot: &mut Option<T>, newer: Option<T>) {
    if newer.is_some() {
        *slot = newer;
    }
}

/// What the engine thinks of a connection, for its source to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Not decided: deliver everything.
    Undecided,
    /// Carries calls: deliver everything.
    Wanted,
    /// Carries none so far: the first bytes of each turn are enough, but for exchanges
    /// that begin with `POST`, which a later call on the same connection does.
    HeadsAndPosts,
    /// Carries other things that are posted: the first bytes of each turn are enough, so
    /// that a later call is still found, if not with all of its request.
    HeadsOnly,
    /// Never will (not HTTP): deliver nothing.
    Unwanted,
}
