//! The lines of a capture file, as JSON objects.
//!
//! In: one line's bytes. Out: its fields, borrowed where the text has no escapes.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Direction, Origin, Role, Workload};

/// A string that borrows from its line where it can.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

/// What every line has; decides which of the others it is.
#[derive(Debug, Deserialize)]
pub struct Tag<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Text<'a>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Header<'a> {
    pub version: u64,
    #[serde(default)]
    pub epoch_ns: Option<i64>,
    #[serde(default, borrow)]
    pub host: Option<Text<'a>>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Open<'a> {
    pub conn: u64,
    pub ts: u64,
    #[serde(default)]
    pub pid: Option<u32>,
    #[serde(default)]
    pub tid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goroutine: Option<u32>,
    #[serde(default, borrow)]
    pub comm: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub exe: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub tls: Option<Text<'a>>,
    #[serde(default)]
    pub role: Option<Side>,
    /// An address that does not parse is as good as none.
    #[serde(default, borrow)]
    pub local: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub peer: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipe: Option<u64>,
    #[serde(default, borrow)]
    pub sni: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub alpn: Option<Text<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub language: Option<Text<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<Text<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Text<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub service: Option<Text<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Text<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub container: Option<Text<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Text<'a>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Cow<'a, Workload>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_workload: Option<Cow<'a, Workload>>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Data<'a> {
    pub conn: u64,
    pub ts: u64,
    pub dir: Way,
    #[serde(default)]
    pub len: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// Bytes left out on purpose just before this chunk.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u64,
    #[serde(borrow)]
    pub data: Text<'a>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Close {
    pub conn: u64,
    pub ts: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    Write,
    Read,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl From<Side> for Role {
    fn from(side: Side) -> Self {
        match side {
            Side::Client => Self::Client,
            Side::Server => Self::Server,
        }
    }
}

impl From<Role> for Side {
    fn from(role: Role) -> Self {
        match role {
            Role::Client => Self::Client,
            Role::Server => Self::Server,
        }
    }
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::Write => Self::Write,
            Way::Read => Self::Read,
        }
    }
}

impl From<Direction> for Way {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Write => Self::Write,
            Direction::Read => Self::Read,
        }
    }
}

impl<'a> Open<'a> {
    pub fn new(conn: u64, ts: u64, origin: &'a Origin) -> Self {
        let address = |a: SocketAddr| Text(Cow::Owned(a.to_string()));
        let text = |field: &'a Option<Box<str>>| field.as_deref().map(Text::from);
        Self {
            conn,
            ts,
            pid: origin.pid,
            tid: origin.tid,
            goroutine: origin.goroutine,
            comm: text(&origin.comm),
            exe: text(&origin.exe),
            tls: origin.tls.as_deref().map(Text::from),
            role: origin.role.map(Side::from),
            local: origin.local.map(address),
            peer: origin.peer.map(address),
            pipe: origin.pipe,
            sni: text(&origin.sni),
            alpn: text(&origin.alpn),
            language: origin.language.as_deref().map(Text::from),
            command_line: text(&origin.command_line),
            owner: text(&origin.owner),
            service: text(&origin.service),
            unit: text(&origin.unit),
            container: text(&origin.container),
            runtime: text(&origin.runtime),
            pod_uid: text(&origin.pod_uid),
            workload: origin.workload.as_deref().map(Cow::Borrowed),
            peer_workload: origin.peer_workload.as_deref().map(Cow::Borrowed),
        }
    }

    pub fn into_origin(self) -> Origin {
        let text = |field: Option<Text<'_>>| field.map(|t| t.0.into_owned().into_boxed_str());
        Origin {
            pid: self.pid,
            tid: self.tid,
            goroutine: self.goroutine,
            comm: text(self.comm),
            exe: text(self.exe),
            tls: self.tls.map(|t| Cow::Owned(t.0.into_owned())),
            role: self.role.map(Role::from),
            local: self.local.and_then(|a| a.0.parse().ok()),
            peer: self.peer.and_then(|a| a.0.parse().ok()),
            pipe: self.pipe,
            sni: text(self.sni),
            alpn: text(self.alpn),
            language: self.language.map(|l| Cow::Owned(l.0.into_owned())),
            command_line: text(self.command_line),
            owner: text(self.owner),
            service: text(self.service),
            unit: text(self.unit),
            container: text(self.container),
            runtime: text(self.runtime),
            pod_uid: text(self.pod_uid),
            workload: self.workload.map(|w| Arc::new(w.into_owned())),
            peer_workload: self.peer_workload.map(|w| Arc::new(w.into_owned())),
        }
    }
}
