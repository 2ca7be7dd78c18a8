//! A WebSocket on its way to calls: one for each reply of the model.

use super::exchange::Context;
use super::{Output, count};
use crate::event::{Direction, Missing, Origin, Role};
use crate::http::{RequestHead, ResponseHead};
use crate::llm::call::{Capture, Completeness};
use crate::llm::{CallId, Draft, Options, Session};
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Conversation {
    role: Role,
    session: Session,
    /// The call that is going on, once it has a name.
    call: Option<CallId>,
    /// Bytes missing since the last call was over.
    missing: Missing,
    /// When the last message crossed.
    last: Timestamp,
    /// The session has given calls.
    fruitful: bool,
}

impl Conversation {
    pub(super) fn new(
        began: Timestamp,
        role: Role,
        head: &RequestHead,
        origin: &Origin,
        options: Options,
    ) -> Option<Self> {
        Some(Self {
            role,
            session: Session::new(head, origin, options)?,
            call: None,
            missing: Missing::NONE,
            last: began,
            fruitful: false,
        })
    }

    pub(super) fn is_call(&self) -> bool {
        self.fruitful || self.call.is_some()
    }

    /// The handshake is answered. `false`: there will be no session.
    pub(super) fn answered(&mut self, head: &ResponseHead) -> bool {
        self.session.accepted(head);
        head.status.is_none_or(|status| status < 300)
    }

    /// A message crossed, or one is missing.
    pub(super) fn message(
        &mut self,
        direction: Direction,
        data: &[u8],
        missing: Missing,
        context: &mut Context<'_>,
    ) {
        self.last = context.at;
        self.missing = self.missing.and(missing);
        let written = direction == Direction::Write;
        let sender = match (self.role, written) {
            (Role::Client, true) | (Role::Server, false) => Role::Client,
            _ => Role::Server,
        };
        if !missing.is_none() && sender == Role::Server {
            self.session.gap();
        }
        if let Some(draft) = self.session.message(context.at, sender, data) {
            self.over(draft, Completeness::Complete, context);
        }
        self.announce(context);
    }

    /// The socket is closed, or nothing more of it will be seen.
    pub(super) fn finish(mut self, context: &mut Context<'_>) {
        let draft = self.session.close();
        // A session is taken apart by its end; what is left of it is accounted here.
        let capture = capture(self.missing, Completeness::Unfinished);
        let id = self.call.take();
        if let Some(draft) = draft {
            emit(draft, id, self.role, self.last, capture, context);
        }
    }

    fn over(&mut self, draft: Box<Draft>, end: Completeness, context: &mut Context<'_>) {
        let capture = capture(std::mem::take(&mut self.missing), end);
        let id = self.call.take();
        self.fruitful = true;
        emit(draft, id, self.role, self.last, capture, context);
    }

    /// Tells of a call that has begun, and of its text.
    fn announce(&mut self, context: &mut Context<'_>) {
        let Some(turn) = self.session.turn() else {
            return;
        };
        let id = *self.call.get_or_insert_with(|| {
            let id = context.shared.next_call();
            if let Some(call) = turn.started(id, context.connection, self.role) {
                (context.out)(Output::Started(call));
            }
            id
        });
        if context.shared.options.follow_text {
            while let Some(text) = turn.new_text() {
                (context.out)(Output::Text {
                    call: id,
                    at: context.at,
                    text: text.to_owned(),
                });
            }
        }
    }
}

fn emit(
    draft: Box<Draft>,
    id: Option<CallId>,
    role: Role,
    last: Timestamp,
    capture: Capture,
    context: &mut Context<'_>,
) {
    let id = id.unwrap_or_else(|| context.shared.next_call());
    if let Some(call) = draft.finish(id, context.connection, role, last, capture) {
        count(&mut context.shared.counters.calls, 1);
        (context.out)(Output::Finished(call));
    }
}

fn capture(missing: Missing, end: Completeness) -> Capture {
    let completeness = match missing {
        Missing { lost: 1.., .. } => Completeness::Gap,
        Missing { cut: 1.., .. } => Completeness::Truncated,
        _ => end,
    };
    Capture {
        completeness,
        lost_bytes: missing.lost,
        truncated: missing.cut > 0,
        inferred: false,
    }
}
