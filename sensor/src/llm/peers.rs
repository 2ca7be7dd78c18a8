//! Two peers that exchange messages of MCP over one connection; either may ask the other.
//!
//! In: messages. Out: what each is to the exchange, a [`Draft`] for what asks or tells. Must
//! not know: which answer goes with which request; how messages are told apart.

use super::Options;
use super::api::mcp::{self, Mcp};
use super::api::{Ask, Dialect};
use super::attr::{self, Attributes};
use super::call::Value;
use super::draft::Draft;
use super::frame::Frame;
use super::json::{List, Raw, Str, parse, wire};
use super::text::text;
use crate::event::Origin;
use crate::http::RequestHead;
use crate::time::Timestamp;

/// Bytes of the id of a request; nobody's are longer.
const MAX_ID: usize = 256;

wire! {
    struct Envelope<'a> {
        method: Str<'a>,
        id: Raw<'a>,
        params: Params<'a>,
        result: Raw<'a>,
        error: Raw<'a>,
    }

    struct Params<'a> {
        request: Raw<'a> = "requestId",
        version: Raw<'a> = "protocolVersion",
    }
}

/// Notifications that a client posts over HTTP as well, where they are calls.
const TOLD: [&str; 2] = [
    "notifications/initialized",
    "notifications/roots/list_changed",
];

/// What both sides of a connection have agreed on.
#[derive(Debug)]
pub struct Peers {
    frame: Frame,
    options: Options,
    /// Attributes of every call.
    agreed: Attributes,
}

/// One message. Ids are as they were written.
#[derive(Debug)]
pub enum Said<'a> {
    /// Asks for an answer.
    Asks { id: &'a str, draft: Box<Draft> },
    /// Tells of itself, and waits for nothing.
    Tells(Box<Draft>),
    /// Tells of progress, of a change, or writes to a log: nobody's call.
    Announces,
    /// Takes a request back that its sender has made.
    Cancels { id: &'a str, draft: Box<Draft> },
    /// Answers a request; to be read by [`Peers::answered`].
    Answers { id: &'a str, text: &'a str },
    /// Nothing of this protocol.
    Other,
}

impl Peers {
    pub fn new(origin: &Origin, options: Options) -> Self {
        let mut agreed = Attributes::default();
        let over_pipes = origin.pipe.is_some() || (origin.peer.is_none() && origin.local.is_none());
        agreed.header(attr::TRANSPORT, over_pipes.then_some("pipe"));
        Self {
            frame: Frame::of(&RequestHead::default(), origin),
            options,
            agreed,
        }
    }

    /// Reads a line, which holds a message or a list of them. `began`: when its first byte
    /// crossed; `thread`: that moved it.
    pub fn read(
        &mut self,
        began: Timestamp,
        thread: Option<u32>,
        line: &[u8],
        each: &mut dyn FnMut(&mut Self, Said<'_>),
    ) {
        let text = text(line);
        // What else is in the line shows that it is none of these.
        let value = parse(&text).filter(|value: &Raw<'_>| value.text().len() == text.len());
        let Some(value) = value.filter(|value| value.is_object() || value.is_list()) else {
            return each(self, Said::Other);
        };
        let messages: List<Raw<'_>> = value.one_or_many();
        for message in &messages {
            let said = self.message(began, thread, message.text());
            each(self, said);
        }
    }

    fn message<'a>(&self, began: Timestamp, thread: Option<u32>, text: &'a str) -> Said<'a> {
        let envelope: Envelope<'a> = Raw::of(text).parse();
        let id = Some(envelope.id.text()).filter(|id| !id.is_empty() && id.len() <= MAX_ID);
        if !envelope.method.is_some() {
            let is_answer = envelope.result.is_some() || envelope.error.is_some();
            return match id {
                Some(id) if is_answer => Said::Answers { id, text },
                _ => Said::Other,
            };
        }
        let method = envelope.method.key();
        // Others greet so, too, and number their versions.
        let is_foreign = method == "initialize" && !envelope.params.version.is_string();
        if is_foreign || !Raw::of(text).parse::<mcp::Request<'_>>().is_mcp() {
            return Said::Other;
        }
        let draft = Box::new(self.draft(began, thread, text));
        let request = envelope.params.request.text();
        match id {
            Some(id) => Said::Asks { id, draft },
            None if method == "notifications/cancelled" => Said::Cancels { id: request, draft },
            None if TOLD.contains(&method) => Said::Tells(draft),
            None => Said::Announces,
        }
    }

    fn draft(&self, began: Timestamp, thread: Option<u32>, text: &str) -> Draft {
        let mut ask = Ask {
            content: self.options.content,
            whole: true,
            attributes: self.agreed.clone(),
            ..Ask::default()
        };
        Mcp.request(text, &mut ask);
        let mut frame = self.frame.clone();
        (frame.thread, frame.goroutine) = (thread, None);
        Draft::message(began, frame, &Mcp, ask, text.len())
    }

    /// Reads the answer to the request of `draft`.
    pub fn answered(&mut self, draft: &mut Draft, at: Timestamp, text: &str) {
        draft.answer(at, text);
        if draft.attribute(attr::MCP_METHOD).is_some_and(is_handshake) {
            for name in AGREED {
                if let Some(value) = draft.attribute(name) {
                    self.agreed.set(name, value.clone());
                }
            }
        }
    }
}

/// What the handshake tells of all that follows.
const AGREED: [&str; 5] = [
    attr::MCP_PROTOCOL,
    attr::MCP_CLIENT_NAME,
    attr::MCP_CLIENT_VERSION,
    attr::MCP_SERVER_NAME,
    attr::MCP_SERVER_VERSION,
];

fn is_handshake(method: &Value) -> bool {
    matches!(method, Value::String(method) if matches!(&**method, "initialize" | "server/discover"))
}
