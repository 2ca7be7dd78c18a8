//! A WebSocket that carries calls, one after the other.
//!
//! In: the head of the handshake, then messages of both directions. Out: a [`Draft`]
//! for each reply of the model. Must not know: frames, masks, compression.

use super::Options;
use super::api::realtime::{self, Conversation, Effect, Setup};
use super::draft::Draft;
use super::frame::Frame;
use crate::event::{Origin, Role};
use crate::http::{RequestHead, ResponseHead};
use crate::time::Timestamp;

/// The calls of one WebSocket.
#[derive(Debug)]
pub struct Session {
    conversation: &'static dyn Conversation,
    /// What all calls of the session share.
    frame: Frame,
    setup: Setup,
    /// The call that is going on.
    turn: Option<Box<Draft>>,
    /// When the client asked, or spoke, without a call to show for it yet.
    since: Option<Timestamp>,
}

impl Session {
    /// Takes the head of a handshake (RFC 6455, section 4; RFC 8441); `None` where no
    /// model answers at its path.
    pub fn new(head: &RequestHead, origin: &Origin, options: Options) -> Option<Self> {
        let upgrade = head.fields.first("upgrade").unwrap_or_default();
        let asks = upgrade.eq_ignore_ascii_case("websocket") || &*head.method == "CONNECT";
        let conversation = realtime::by_path(head.path()).filter(|_| asks)?;
        let mut setup = Setup::default();
        setup.ask.content = options.content;
        let model = head.query("model").or(head.query("deployment"));
        setup.ask.request.model = model.map(super::text::percent_decoded);
        Some(Self {
            conversation,
            frame: Frame::of(head, origin),
            setup,
            turn: None,
            since: None,
        })
    }

    /// Takes the head of the answer to the handshake.
    pub fn accepted(&mut self, head: &ResponseHead) {
        self.frame.answered(head);
    }

    /// Takes a message of the client or of the server. Gives the call that it ends, to
    /// be finished; [`Session::turn`] is then the next, if there is one.
    pub fn message(&mut self, at: Timestamp, sender: Role, data: &[u8]) -> Option<Box<Draft>> {
        let text = String::from_utf8_lossy(data);
        match sender {
            Role::Client => self.client(at, &text),
            Role::Server => self.server(at, &text),
        }
    }

    /// The call that is going on.
    pub fn turn(&mut self) -> Option<&mut Draft> {
        self.turn.as_deref_mut()
    }

    /// Messages of the server are missing here.
    pub fn gap(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.response_gap();
        }
    }

    /// The socket is closed: gives the call that was going on.
    pub fn close(self) -> Option<Box<Draft>> {
        self.turn.filter(|turn| turn.is_answered())
    }

    fn client(&mut self, at: Timestamp, text: &str) -> Option<Box<Draft>> {
        match self.conversation.client(text, &mut self.setup) {
            Effect::Ask if self.turn.is_none() => {
                self.begin(at);
            }
            Effect::Ask | Effect::Spoken => self.since = Some(at),
            _ => {}
        }
        None
    }

    fn server(&mut self, at: Timestamp, text: &str) -> Option<Box<Draft>> {
        let effect = self.conversation.server(text, &mut self.setup);
        let ended = match effect {
            // A reply to which no end was seen, perhaps one of several at once.
            Effect::Begin => self.turn.take_if(|turn| turn.is_answered()),
            _ => None,
        };
        match effect {
            Effect::None if self.turn.is_none() => {}
            Effect::Spoken => self.since = Some(at),
            Effect::None | Effect::Ask => {}
            Effect::Begin | Effect::Reply => self.begin(at).server_event(at, text),
            Effect::End => {
                self.begin(at).server_event(at, text);
                return self.turn.take();
            }
        }
        ended
    }

    /// The call that is going on, or a new one.
    fn begin(&mut self, at: Timestamp) -> &mut Draft {
        let Self {
            conversation,
            frame,
            setup,
            turn,
            since,
        } = self;
        turn.get_or_insert_with(|| {
            let mut ask = setup.ask.clone();
            ask.request.messages = std::mem::take(&mut setup.pending);
            ask.request.stream = Some(true);
            let began = since.take().unwrap_or(at);
            Box::new(Draft::turn(
                began,
                frame.clone(),
                conversation.dialect(),
                ask,
            ))
        })
    }
}
