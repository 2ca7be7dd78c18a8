//! A capture being written: each connection as it is, or written anew.

use std::collections::HashMap;
use std::io;

use llmtap::capture::reframe::begins_http2;
use llmtap::capture::{Bodies, Reframer, Writer};
use llmtap::event::{ConnectionId, Event, EventKind};

/// Connections whose way is remembered; beyond it each is decided again.
const MAX_CONNECTIONS: usize = 1 << 16;

/// See the module.
pub struct File {
    writer: Writer,
    reframer: Reframer,
    /// Everything is written anew, with its content hidden.
    redacts: bool,
    /// Whether a connection is HTTP/2, which has to be written anew.
    http2: HashMap<ConnectionId, bool>,
    failed: Option<io::Error>,
}

impl File {
    pub fn new(writer: Writer, redacts: bool) -> Self {
        let bodies = match redacts {
            true => Bodies::Hidden,
            false => Bodies::AsTheyAre,
        };
        Self {
            writer,
            reframer: Reframer::new(bodies),
            redacts,
            http2: HashMap::new(),
            failed: None,
        }
    }

    /// A failure is kept for [`failure`](Self::failure).
    pub fn write(&mut self, event: &Event<'_>) {
        let is_http2 = self.is_http2(event);
        let Self {
            writer,
            reframer,
            failed,
            ..
        } = self;
        let mut write = |event: &Event<'_>| {
            if let (None, Err(error)) = (&failed, writer.write(event)) {
                *failed = Some(error);
            }
        };
        // Facts told before the protocol was known must not be missing later.
        let is_fact = !matches!(event.kind, EventKind::Data { .. });
        if self.redacts || is_http2 || is_fact {
            reframer.feed(event, &mut write);
        }
        if !self.redacts && !is_http2 {
            write(event);
        }
    }

    /// The first failure since the last time.
    pub fn failure(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    pub fn written_bytes(&self) -> u64 {
        self.writer.written_bytes()
    }

    pub fn left_out(&self) -> u64 {
        self.writer.left_out()
    }

    pub fn finish(self) -> io::Result<()> {
        self.writer.finish()
    }

    /// Decided by what is said of the connection, or else by its first bytes.
    fn is_http2(&mut self, event: &Event<'_>) -> bool {
        let id = event.connection;
        if self.http2.len() > MAX_CONNECTIONS {
            self.http2.clear();
        }
        let known = self.http2.get(&id).copied();
        match (&event.kind, known) {
            (EventKind::Open(origin), None) if origin.alpn.as_deref() == Some("h2") => {
                self.http2.insert(id, true);
                true
            }
            (EventKind::Open(_), known) => known.unwrap_or(false),
            (EventKind::Data { .. }, Some(known)) => known,
            (EventKind::Data { bytes, .. }, None) => {
                let is_http2 = begins_http2(bytes);
                self.http2.insert(id, is_http2);
                is_http2
            }
            (EventKind::Close, _) => self.http2.remove(&id).unwrap_or(false),
        }
    }
}
