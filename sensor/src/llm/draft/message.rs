//! A call in the making that is asked and answered in single messages, without heads.
//!
//! In: what a request says, the text of its answer. Out: the draft.

use super::Draft;
use crate::content::{Message, MessageKind};
use crate::llm::api::{Ask, Dialect};
use crate::llm::call::{Failure, Name, TraceContext, Value};
use crate::llm::frame::Frame;
use crate::time::Timestamp;

/// `error.type` of a request that was taken back.
const CANCELLED: &str = "cancelled";

impl Draft {
    /// A call whose request, of so many bytes, has been read.
    pub(in crate::llm) fn message(
        began: Timestamp,
        frame: Frame,
        dialect: &'static dyn Dialect,
        ask: Ask,
        bytes: usize,
    ) -> Self {
        Self {
            ask_bytes: bytes,
            ..Self::turn(began, frame, dialect, ask)
        }
    }

    pub(in crate::llm) fn answer(&mut self, at: Timestamp, text: &str) {
        self.response_message(Message {
            at,
            kind: MessageKind::Whole,
            name: None,
            data: text.as_bytes(),
        });
    }

    /// Whoever asked has taken it back.
    pub fn cancel(&mut self) {
        self.reply.fail(Failure {
            kind: Name::Borrowed(CANCELLED),
            message: None,
        });
    }

    /// An attribute that the answer gives, or else the request.
    pub(in crate::llm) fn attribute(&self, name: &str) -> Option<&Value> {
        let answer = self.reply.attributes.get(name);
        answer.or_else(|| self.ask.attributes.get(name))
    }

    /// The trace that the request says it belongs to.
    pub fn context(&self) -> Option<&TraceContext> {
        self.ask.context.as_ref()
    }

    /// The method of MCP that it calls.
    pub fn mcp_method(&self) -> Option<&str> {
        match self.ask.attributes.get(crate::llm::attr::MCP_METHOD) {
            Some(Value::String(method)) => Some(method),
            _ => None,
        }
    }
}
