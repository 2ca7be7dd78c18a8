//! Dialects that are spoken in messages of both directions over one WebSocket, with
//! several calls on it.

mod live;
mod openai;

use super::{Ask, Dialect};
use crate::llm::call::ChatMessage;

/// Messages kept that no call has answered yet.
const MAX_PENDING: usize = 256;
/// Bytes that they may come from.
const MAX_SAID: usize = 16 << 20;

/// What a message does to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::llm) enum Effect {
    None,
    /// The client asks for a reply.
    Ask,
    /// The client has spoken; a reply may follow unasked.
    Spoken,
    /// A piece of a reply, which begins one where there is none.
    Reply,
    /// A reply begins, whatever was before it.
    Begin,
    /// A piece that ends its reply.
    End,
    /// What was asked for last is not done, unless its reply has begun.
    Refuse,
}

/// One way to talk over a WebSocket.
pub(in crate::llm) trait Conversation: std::fmt::Debug + Sync {
    /// Reads the server's messages as events of a reply.
    fn dialect(&self) -> &'static dyn Dialect;

    fn client(&self, message: &str, setup: &mut Setup) -> Effect;

    fn server(&self, message: &str, setup: &mut Setup) -> Effect;
}

/// What a session has agreed on, and what was said since the last reply.
#[derive(Debug, Default)]
pub(in crate::llm) struct Setup {
    pub(in crate::llm) ask: Ask,
    pub(in crate::llm) pending: Vec<ChatMessage>,
    /// Bytes of the messages that say what is pending.
    pub(in crate::llm) said: usize,
}

impl Setup {
    fn say(&mut self, message: ChatMessage) {
        let fits = self.pending.len() < MAX_PENDING && self.said <= MAX_SAID;
        if self.ask.content && fits {
            self.pending.push(message);
        }
    }
}

/// The conversation behind a path, by its last segments.
pub(in crate::llm) fn by_path(path: &str) -> Option<&'static dyn Conversation> {
    let last = path.trim_end_matches('/').rsplit('/').next()?;
    match last {
        "realtime" => Some(&openai::Realtime),
        "responses" => Some(&openai::ResponsesSocket),
        _ if last.contains("BidiGenerateContent") => Some(&live::Live),
        _ => None,
    }
}
