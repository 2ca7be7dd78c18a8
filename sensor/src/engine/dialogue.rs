//! Messages of MCP on their way to calls: an answer finds its request by direction and id.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::exchange::Context;
use super::{Answered, Output, Served, count};
use crate::event::{Direction, Missing, Origin, Role};
use crate::jsonrpc::{self, Heard};
use crate::llm::call::{Capture, Completeness};
use crate::llm::{CallId, Draft, Peers, Said};
use crate::stream::Segment;
use crate::time::Timestamp;

#[cfg(test)]
mod tests;

/// Messages of a connection, none of MCP, after which none is expected; and their bytes.
const FRUITLESS: u32 = 16;
const FRUITLESS_BYTES: usize = 4 << 20;

/// Answers kept for requests that are told of later, because whoever wrote one was held up
/// before its system call returned: how many, how long, and bytes of each.
const MAX_EARLY: usize = 8;
const EARLY_AGE: Duration = Duration::from_millis(200);
const EARLY_BYTES: usize = 64 << 10;

/// What the messages of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    Unknown,
    Mcp,
    Other,
}

#[derive(Debug)]
pub(super) struct Dialogue {
    lines: jsonrpc::Connection,
    peers: Peers,
    table: Table,
}

/// Requests that wait for their answers.
#[derive(Debug)]
struct Table {
    speech: Speech,
    /// Messages that were not of MCP, counted as far as it matters.
    fruitless: u32,
    /// Bytes of them, as far as it matters.
    unknown: usize,
    asked: HashMap<Id, Asked>,
    early: VecDeque<Early>,
    /// Bytes that their contents came from.
    held: usize,
}

/// The direction in which a request went, and its id as it was written.
type Id = (Direction, Box<str>);

#[derive(Debug)]
struct Asked {
    call: CallId,
    draft: Box<Draft>,
    held: usize,
    /// When its last byte crossed.
    last: Timestamp,
    /// Bytes missing since.
    missing: Missing,
}

#[derive(Debug)]
struct Early {
    id: Id,
    at: Timestamp,
    text: Box<str>,
}

impl Dialogue {
    /// Of a connection that begins with `bytes`; `None` where it can't be one of messages.
    pub(super) fn new(origin: &Origin, bytes: &[u8], options: super::Options) -> Option<Box<Self>> {
        let is_bare = origin.peer.is_none() && origin.sni.is_none();
        let is_plain = origin.tls.as_deref().is_none_or(|tls| tls == "none");
        let may_be = is_bare && is_plain && jsonrpc::may_begin(bytes);
        (origin.pipe.is_some() || may_be).then(|| {
            Box::new(Self {
                lines: jsonrpc::Connection::new(options.limits.body),
                peers: Peers::new(origin, options.llm),
                table: Table {
                    speech: Speech::Unknown,
                    fruitless: 0,
                    unknown: 0,
                    asked: HashMap::new(),
                    early: VecDeque::new(),
                    held: 0,
                },
            })
        })
    }

    pub(super) fn feed(
        &mut self,
        direction: Direction,
        segment: Segment<'_>,
        context: &mut Context<'_>,
    ) -> Speech {
        let Self {
            lines,
            peers,
            table,
        } = self;
        let at = context.at;
        lines.feed(direction, at, segment, &mut |heard| match heard {
            Heard::Line { began, bytes } => {
                peers.read(began, context.thread, bytes, &mut |peers, said| {
                    table.take(peers, direction, began, said, context);
                });
                table.doubt(bytes.len());
            }
            Heard::Missing(missing) => {
                table.lose(missing);
                table.doubt(usize::try_from(missing.cut).unwrap_or(usize::MAX));
            }
        });
        table.speech
    }

    /// The connection is over, or nothing more of it will be seen.
    pub(super) fn finish(mut self, context: &mut Context<'_>) {
        let mut open: Vec<_> = self.table.asked.drain().collect();
        open.sort_unstable_by_key(|(_, asked)| asked.call);
        for ((direction, _), asked) in open {
            asked.over(direction, Completeness::Unfinished, context);
        }
    }
}

impl Table {
    fn take(
        &mut self,
        peers: &mut Peers,
        direction: Direction,
        began: Timestamp,
        said: Said<'_>,
        context: &mut Context<'_>,
    ) {
        if self.speech == Speech::Other {
            return;
        }
        self.note(&said);
        match said {
            Said::Asks { id, draft } => {
                let id = (direction, Box::from(id));
                self.asks(&id, began, draft, context);
                if let Some(early) = self.come_early(&id, context.at) {
                    self.answers(peers, &id, early.at, &early.text, context);
                }
            }
            Said::Answers { id, text } => {
                let id = (direction.opposite(), Box::from(id));
                if !self.answers(peers, &id, context.at, text, context) {
                    self.keep_early(id, context.at, text);
                }
            }
            Said::Cancels { id, draft } => {
                tells(direction, draft, context);
                if let Some(mut asked) = self.remove(&(direction, id.into())) {
                    asked.draft.cancel();
                    asked.last = context.at;
                    asked.over(direction, Completeness::Complete, context);
                }
            }
            Said::Tells(draft) => tells(direction, draft, context),
            Said::Announces | Said::Other => {}
        }
    }

    /// Whether it is MCP shows with a request or a notification.
    fn note(&mut self, said: &Said<'_>) {
        if !matches!(said, Said::Answers { .. } | Said::Other) {
            self.speech = Speech::Mcp;
        } else if self.speech == Speech::Unknown {
            self.fruitless = self.fruitless.saturating_add(1);
            if self.fruitless >= FRUITLESS {
                self.speech = Speech::Other;
            }
        }
    }

    fn doubt(&mut self, bytes: usize) {
        if self.speech == Speech::Unknown {
            self.unknown = self.unknown.saturating_add(bytes);
            if self.unknown > FRUITLESS_BYTES {
                self.speech = Speech::Other;
            }
        }
    }

    fn asks(
        &mut self,
        id: &Id,
        began: Timestamp,
        mut draft: Box<Draft>,
        context: &mut Context<'_>,
    ) {
        // A request that has its id is not answered any more.
        if let Some(earlier) = self.remove(id) {
            earlier.over(id.0, Completeness::Unfinished, context);
        }
        self.make_room(context);
        count(&mut context.shared.counters.exchanges, 1);
        let (call, role) = (context.shared.next_call(), role(id.0));
        if role == Role::Server {
            let connection = context.connection;
            let served = Served::message(call, connection, context.thread, began, &draft);
            (context.out)(Output::Serving(Box::new(served)));
        }
        if let Some(started) = draft.started(call, context.connection, role) {
            (context.out)(Output::Started(started));
        }
        let held = draft.held_bytes();
        self.held = self.held.saturating_add(held);
        let asked = Asked {
            call,
            draft,
            held,
            last: context.at,
            missing: Missing::NONE,
        };
        self.asked.insert(id.clone(), asked);
    }

    /// Whether the request is known.
    fn answers(
        &mut self,
        peers: &mut Peers,
        id: &Id,
        at: Timestamp,
        text: &str,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(mut asked) = self.remove(id) else {
            return false;
        };
        // Whatever is missing, it was not of this call.
        asked.missing = Missing::NONE;
        asked.last = asked.last.max(at);
        peers.answered(&mut asked.draft, at, text);
        asked.over(id.0, Completeness::Complete, context);
        true
    }

    fn remove(&mut self, id: &Id) -> Option<Asked> {
        let asked = self.asked.remove(id)?;
        self.held = self.held.saturating_sub(asked.held);
        Some(asked)
    }

    /// Gives up the oldest requests while there are too many, or too much is held for them.
    fn make_room(&mut self, context: &mut Context<'_>) {
        let limits = context.shared.options.limits;
        while self.asked.len() >= limits.exchanges.max(1) || self.held > limits.connection {
            let oldest = self.asked.iter().min_by_key(|(_, asked)| asked.call);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else {
                return;
            };
            count(&mut context.shared.counters.refused_exchanges, 1);
            if let Some(asked) = self.remove(&id) {
                asked.over(id.0, Completeness::Unfinished, context);
            }
        }
    }

    /// It may have been an answer to any of them.
    fn lose(&mut self, missing: Missing) {
        for asked in self.asked.values_mut() {
            asked.missing = asked.missing.and(missing);
        }
    }

    fn keep_early(&mut self, id: Id, at: Timestamp, text: &str) {
        if text.len() > EARLY_BYTES {
            return;
        }
        if self.early.len() >= MAX_EARLY {
            self.early.pop_front();
        }
        let text = text.into();
        self.early.push_back(Early { id, at, text });
    }

    fn come_early(&mut self, id: &Id, at: Timestamp) -> Option<Early> {
        self.early.retain(|early| at.since(early.at) <= EARLY_AGE);
        let place = self.early.iter().position(|early| early.id == *id)?;
        self.early.remove(place)
    }
}

impl Asked {
    fn over(self, direction: Direction, end: Completeness, context: &mut Context<'_>) {
        let role = role(direction);
        let capture = capture(self.missing, end);
        emit(self.draft, self.call, role, self.last, capture, context);
        if role == Role::Server {
            (context.out)(Output::Answered(Answered {
                id: self.call,
                at: self.last,
                status: None,
                thread: context.thread.filter(|_| end == Completeness::Complete),
            }));
        }
    }
}

/// A notification is over as soon as it is said; it is told where it is said alone, as nothing
/// is done for it.
fn tells(direction: Direction, mut draft: Box<Draft>, context: &mut Context<'_>) {
    let role = role(direction);
    if role == Role::Server {
        return;
    }
    let call = context.shared.next_call();
    count(&mut context.shared.counters.exchanges, 1);
    if let Some(started) = draft.started(call, context.connection, role) {
        (context.out)(Output::Started(started));
    }
    let capture = capture(Missing::NONE, Completeness::Complete);
    emit(draft, call, role, context.at, capture, context);
}

fn emit(
    draft: Box<Draft>,
    id: CallId,
    role: Role,
    last: Timestamp,
    capture: Capture,
    context: &mut Context<'_>,
) {
    if let Some(call) = draft.finish(id, context.connection, role, last, capture) {
        count(&mut context.shared.counters.calls, 1);
        (context.out)(Output::Finished(call));
    }
}

/// Who asks, of the process: what goes out it asks itself.
fn role(direction: Direction) -> Role {
    match direction {
        Direction::Write => Role::Client,
        Direction::Read => Role::Server,
    }
}

fn capture(missing: Missing, end: Completeness) -> Capture {
    Capture {
        completeness: match missing {
            Missing { lost: 1.., .. } => Completeness::Gap,
            Missing { cut: 1.., .. } => Completeness::Truncated,
            _ => end,
        },
        lost_bytes: missing.lost,
        truncated: missing.cut > 0,
        inferred: false,
    }
}
