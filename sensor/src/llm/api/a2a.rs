//! Agent2Agent: JSON-RPC over HTTP, a message to an agent and what it makes of it.

use super::{Ask, Dialect, Event};
use crate::llm::attr;
use crate::llm::call::{ChatMessage, Name, Part};
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Raw, Str, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(super) struct Agent;

wire! {
    pub(super) struct Request<'a> {
        jsonrpc: Str<'a>,
        method: Str<'a>,
        id: Raw<'a>,
        params: Params<'a>,
    }

    struct Params<'a> {
        message: Message<'a>,
    }

    struct Message<'a> {
        parts: List<Piece<'a>>,
        context: Str<'a> = "contextId",
    }

    struct Piece<'a> {
        text: Str<'a>,
    }

    struct Response<'a> {
        result: Raw<'a>,
        error: RpcError<'a>,
    }

    struct RpcError<'a> {
        code: Int,
        message: Str<'a>,
    }

    /// A task, a message, or what is new of a task; the second version of the protocol has
    /// each in a member of its own.
    struct Outcome<'a> {
        kind: Str<'a>,
        id: Str<'a>,
        task: Str<'a> = "taskId",
        message: Str<'a> = "messageId",
        context: Str<'a> = "contextId",
        status: Status<'a>,
        artifacts: List<Message<'a>>,
        artifact: Message<'a>,
        parts: List<Piece<'a>>,
        last: Bool = "final",
        inner: Raw<'a> = "task" | "message" | "statusUpdate" | "artifactUpdate",
    }

    struct Status<'a> {
        state: Str<'a>,
        message: Message<'a>,
    }
}

impl Request<'_> {
    /// Whether this asks an agent to do something.
    pub(super) fn is_a2a(&self) -> bool {
        let asks = [
            "message/send",
            "message/stream",
            "SendMessage",
            "SendStreamingMessage",
        ];
        self.jsonrpc.key() == "2.0" && asks.contains(&self.method.key())
    }
}

impl Dialect for Agent {
    fn name(&self) -> &'static str {
        "a2a"
    }

    fn operation(&self) -> &'static str {
        "invoke_agent"
    }

    fn provider(&self) -> &'static str {
        "a2a"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let message = &asked.params.message;
        let streams = ["message/stream", "SendStreamingMessage"].contains(&asked.method.key());
        ask.request.stream = streams.then_some(true);
        ask.request.conversation_id = message.context.boxed();
        ask.attributes.text(attr::RPC_REQUEST_ID, asked.id.string());
        if ask.content {
            let texts = message.parts.iter().filter_map(|piece| piece.text.string());
            ask.request.messages.push(ChatMessage {
                role: Name::Borrowed("user"),
                parts: texts.map(Part::Text).collect(),
                ..ChatMessage::default()
            });
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        if let Some(code) = response.error.code.0 {
            let code = code.to_string();
            reply.attributes.text(attr::RPC_STATUS, Str::plain(&code));
            reply.fail(error::failure(Str::plain(&code), response.error.message));
        }
        let mut outcome: Outcome<'_> = response.result.parse();
        if outcome.inner.is_object() {
            outcome = outcome.inner.parse();
        }
        outcome.apply(reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}

impl Outcome<'_> {
    fn apply(&self, reply: &mut Reply) {
        let state = self.status.state;
        let id = self.id.or(self.task).or(self.message);
        reply.recognised |= state.is_some() || !id.is_empty();
        reply.set_id(id);
        if let Some(context) = self.context.boxed() {
            reply.conversation_id = Some(context);
        }
        reply.finish(0, state);
        let artifacts = self.artifacts.iter().chain([&self.artifact]);
        for piece in artifacts
            .flat_map(|artifact| &artifact.parts)
            .chain(&self.parts)
        {
            reply.text(0, None, piece.text);
        }
        // Of a task that goes on it says how, else what came of it.
        if !reply.has_content() && self.kind.key() != "status-update" {
            for piece in &self.status.message.parts {
                reply.text(0, None, piece.text);
            }
        }
        reply.ended |= self.last.0 == Some(true);
    }
}
