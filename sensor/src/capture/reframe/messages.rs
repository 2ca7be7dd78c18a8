//! Messages over pipes, written line by line.
//!
//! In: events of one connection. Out: the same messages on a connection of another number,
//! with their content hidden where that is asked for.

use super::{Bodies, Sink, Wire, hide};
use crate::event::{ConnectionId, Event, EventKind, Missing, Origin};
use crate::jsonrpc::{self, Heard};
use crate::stream::Segment;

/// Bytes of a message at most; a longer one counts as missing.
const MAX_LINE: usize = 16 << 20;

#[derive(Debug)]
pub struct Messages {
    id: ConnectionId,
    bodies: Bodies,
    lines: jsonrpc::Connection,
    /// Something was written.
    is_open: bool,
}

impl Messages {
    pub fn new(bodies: Bodies, id: ConnectionId) -> Self {
        Self {
            id,
            bodies,
            lines: jsonrpc::Connection::new(MAX_LINE),
            is_open: false,
        }
    }

    /// `origin`: what was known of the connection before the event.
    pub fn feed(&mut self, event: &Event<'_>, origin: &Origin, sink: Sink<'_>) {
        let mut wire = Wire {
            connection: self.id,
            at: event.at,
            sink,
        };
        match &event.kind {
            EventKind::Open(newer) if self.is_open => wire.send(EventKind::Open(newer.clone())),
            EventKind::Close if self.is_open => wire.send(EventKind::Close),
            EventKind::Open(_) | EventKind::Close => {}
            EventKind::Data {
                direction,
                missing,
                bytes,
            } => {
                if !std::mem::replace(&mut self.is_open, true) {
                    wire.send(EventKind::Open(Box::new(origin.clone())));
                }
                let bodies = self.bodies;
                let gap = (!missing.is_none()).then_some(Segment::Gap(*missing));
                for segment in gap.into_iter().chain([Segment::Data(bytes)]) {
                    let mut take = |heard: Heard<'_>| match heard {
                        Heard::Line { bytes, .. } => {
                            let mut line = match bodies {
                                Bodies::AsTheyAre => bytes.to_vec(),
                                Bodies::Hidden => hide::hide(bytes),
                            };
                            line.push(b'\n');
                            wire.data(*direction, Missing::NONE, &line);
                        }
                        // What follows a hole counts from the next line on.
                        Heard::Missing(missing) => wire.data(*direction, missing, b"\n"),
                    };
                    self.lines.feed(*direction, event.at, segment, &mut take);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Reframer;
    use crate::event::Direction;
    use crate::time::Timestamp;

    /// What is written of a server that reads `chunks`: `[n]` for n bytes that are missing.
    fn rewritten(bodies: Bodies, chunks: &[(Missing, &str)]) -> String {
        let mut reframer = Reframer::new(bodies);
        let mut out = String::new();
        let mut sink = |event: &Event<'_>| match &event.kind {
            EventKind::Open(origin) => out += &format!("open {:?}\n", origin.pipe),
            EventKind::Close => out += "close",
            EventKind::Data { missing, bytes, .. } => {
                if !missing.is_none() {
                    out += &format!("[{}]", missing.total());
                }
                out += &String::from_utf8_lossy(bytes);
            }
        };
        let origin = Origin {
            pipe: Some(7),
            ..Origin::default()
        };
        let open = EventKind::Open(Box::new(origin));
        let data = chunks.iter().map(|(missing, text)| EventKind::Data {
            direction: Direction::Read,
            missing: *missing,
            bytes: text.as_bytes(),
        });
        let all = [open].into_iter().chain(data).chain([EventKind::Close]);
        for (at, kind) in (0..).zip(all) {
            let event = Event {
                connection: ConnectionId(1),
                at: Timestamp::from_nanos(at),
                kind,
            };
            reframer.feed(&event, &mut sink);
        }
        out
    }

    const CALL: &str = r#"{"id":1,"method":"tools/call","params":{"arguments":{"who":"Jo"}}}"#;
    const LOST: Missing = Missing { lost: 9, cut: 0 };

    #[test]
    fn messages_are_written_whole_and_without_content() {
        let (head, tail) = CALL.split_at(20);
        let chunks = [
            (Missing::NONE, head),
            (Missing::NONE, tail),
            (Missing::NONE, "\nJo says\n"),
            (LOST, "of Jo\"}\n{\"id\":2}\n"),
            (Missing::NONE, "{\"who\":\"Jo\""),
        ];
        assert_eq!(
            rewritten(Bodies::Hidden, &chunks),
            format!(
                "open Some(7)\n{}\n*******\n[9]\n{{\"id\":2}}\nclose",
                CALL.replace("Jo", "**")
            )
        );
        assert_eq!(
            rewritten(Bodies::AsTheyAre, &chunks),
            format!("open Some(7)\n{CALL}\nJo says\n[9]\n{{\"id\":2}}\nclose")
        );
    }

    #[test]
    fn a_connection_without_messages_is_not_written() {
        assert_eq!(rewritten(Bodies::Hidden, &[]), "");
    }
}
