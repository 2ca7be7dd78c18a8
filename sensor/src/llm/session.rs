//! A WebSocket that carries calls, one after the other.
//!
//! In: the head of the handshake, then messages of both directions. Out: a [`Draft`]
//! for each reply of the model. Must not know: frames, masks, compression.

use super::Options;
use super::api::realtime::{self, Conversation, Effect, Setup};
use super::draft::Draft;
use super::frame::Frame;
use super::text::text;
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
        let mut frame = Frame::of(head, origin);
        // Whoever shook hands need not be who asks.
        (frame.thread, frame.goroutine) = (None, None);
        Some(Self {
            conversation,
            frame,
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
        let text = text(data);
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

    /// The socket is closed: gives the call that was going on, perhaps without an answer.
    pub fn close(self) -> Option<Box<Draft>> {
        self.turn
    }

    fn client(&mut self, at: Timestamp, text: &str) -> Option<Box<Draft>> {
        self.setup.said = self.setup.said.saturating_add(text.len());
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
            Effect::Refuse => {
                let mut refused = self.turn.take_if(|turn| !turn.is_answered())?;
                refused.server_event(at, text);
                return Some(refused);
            }
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
            setup.said = 0;
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

#[cfg(test)]
mod tests {
    use super::Session;
    use crate::event::{ConnectionId, Origin, Role};
    use crate::http::{Fields, RequestHead};
    use crate::llm::call::{Call, CallId, Capture, Part};
    use crate::llm::{Draft, Options};
    use crate::time::Timestamp;

    fn session(target: &str) -> Option<Session> {
        let mut fields = Fields::default();
        fields.push("Upgrade", "websocket");
        let head = RequestHead {
            method: "GET".into(),
            authority: Some("api.openai.com".into()),
            target: Some(target.into()),
            fields,
            ..RequestHead::default()
        };
        Session::new(&head, &Origin::default(), Options { content: true })
    }

    fn finish(draft: Box<Draft>) -> Call {
        let end = Timestamp::from_nanos(99);
        let capture = Capture::default();
        let call = draft.finish(CallId(1), ConnectionId(1), Role::Client, end, capture);
        *call.expect("a call")
    }

    /// Feeds messages, one a nanosecond; the calls that they end.
    fn calls(session: &mut Session, messages: &[(Role, &str)]) -> Vec<Call> {
        let mut calls = Vec::new();
        for (at, (sender, text)) in (1..).zip(messages) {
            let at = Timestamp::from_nanos(at);
            calls.extend(session.message(at, *sender, text.as_bytes()).map(finish));
        }
        calls
    }

    #[test]
    fn each_response_is_a_call() {
        use Role::{Client, Server};
        let mut session = session("/v1/realtime?model=gpt%2Dr").expect("a session");
        let calls = calls(
            &mut session,
            &[
                (
                    Server,
                    r#"{"type":"session.created","session":{"model":"gpt-r-1"}}"#,
                ),
                (
                    Client,
                    r#"{"type":"session.update","session":{"instructions":"Be kind."}}"#,
                ),
                (
                    Client,
                    r#"{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}}"#,
                ),
                (Client, r#"{"type":"response.create"}"#),
                (
                    Server,
                    r#"{"type":"response.created","response":{"id":"r1","status":"in_progress"}}"#,
                ),
                (
                    Server,
                    r#"{"type":"response.output_text.delta","output_index":0,"delta":"Yo"}"#,
                ),
                (
                    Server,
                    r#"{"type":"response.done","response":{"id":"r1","status":"completed","usage":{"input_tokens":3,"output_tokens":1,"input_token_details":{"cached_tokens":2}}}}"#,
                ),
                (Server, r#"{"type":"input_audio_buffer.committed"}"#),
                (
                    Server,
                    r#"{"type":"response.created","response":{"id":"r2"}}"#,
                ),
                (
                    Server,
                    r#"{"type":"response.output_audio.delta","delta":"AAAA"}"#,
                ),
                (
                    Server,
                    r#"{"type":"response.output_audio_transcript.delta","delta":"Yes"}"#,
                ),
                (
                    Server,
                    r#"{"type":"response.done","response":{"id":"r2","status":"incomplete","status_details":{"reason":"max_output_tokens"}}}"#,
                ),
            ],
        );
        let [first, second] = &calls[..] else {
            panic!("two calls: {calls:?}");
        };
        assert_eq!(first.request.model.as_deref(), Some("gpt-r-1"));
        assert_eq!(first.request.system, [Part::Text("Be kind.".into())]);
        assert_eq!(first.request.messages.len(), 1);
        assert_eq!(first.response.messages[0].parts, [Part::Text("Yo".into())]);
        assert_eq!(
            (first.usage.input, first.usage.cache_read),
            (Some(3), Some(2))
        );
        assert_eq!(first.timing.start, Timestamp::from_nanos(4));
        assert_eq!(first.timing.first_chunk, Some(Timestamp::from_nanos(5)));
        assert_eq!(second.response.id.as_deref(), Some("r2"));
        assert_eq!(&*second.response.finish_reasons[0], "max_output_tokens");
        assert!(second.request.messages.is_empty());
        assert_eq!(second.timing.start, Timestamp::from_nanos(8));
        assert_eq!(second.response.messages[0].parts.len(), 2);
        assert!(session.close().is_none());
    }

    #[test]
    fn a_turn_that_the_socket_cuts_off_is_told() {
        use Role::{Client, Server};
        let mut session = session("/v1/responses").expect("a session");
        let ended = calls(
            &mut session,
            &[
                (
                    Client,
                    r#"{"type":"response.create","model":"m","input":"Hi"}"#,
                ),
                (
                    Server,
                    r#"{"type":"response.created","response":{"id":"r","model":"m"}}"#,
                ),
            ],
        );
        assert!(ended.is_empty());
        let call = finish(session.close().expect("a call that goes on"));
        assert_eq!(call.dialect, "openai.responses");
        assert_eq!(call.request.model.as_deref(), Some("m"));
    }

    #[test]
    fn what_is_refused_is_a_call_that_failed() {
        use Role::{Client, Server};
        let refusal = r#"{"type":"error","error":{"type":"invalid_request_error","code":"bad","message":"No"}}"#;
        let mut session = session("/v1/realtime?model=m").expect("a session");
        // Nothing was asked for.
        assert!(calls(&mut session, &[(Server, refusal)]).is_empty());
        let asked = (Client, r#"{"type":"response.create"}"#);
        let ended = calls(&mut session, &[asked, (Server, refusal)]);
        let error = ended[0].error.as_ref().expect("a failure");
        assert_eq!(error.message.as_deref(), Some("No"));
        // What is being answered goes on.
        let begun = (
            Server,
            r#"{"type":"response.created","response":{"id":"r"}}"#,
        );
        assert!(calls(&mut session, &[asked, begun, (Server, refusal)]).is_empty());
        let call = finish(session.close().expect("a call that goes on"));
        assert_eq!(call.response.id.as_deref(), Some("r"));
    }

    #[test]
    fn a_session_may_do_nothing_but_transcribe() {
        use Role::{Client, Server};
        let mut session = session("/v1/realtime?intent=transcription").expect("a session");
        let calls = calls(
            &mut session,
            &[
                (
                    Client,
                    r#"{"type":"session.update","session":{"type":"transcription","audio":{"input":{"transcription":{"model":"t"}}}}}"#,
                ),
                (Server, r#"{"type":"input_audio_buffer.committed"}"#),
                (
                    Server,
                    r#"{"type":"conversation.item.input_audio_transcription.delta","item_id":"i","delta":"Y"}"#,
                ),
                (
                    Server,
                    r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"i","transcript":"Yo","usage":{"type":"tokens","input_tokens":5,"output_tokens":2}}"#,
                ),
            ],
        );
        let [call] = &calls[..] else {
            panic!("one call: {calls:?}");
        };
        assert_eq!(call.operation, "transcription");
        assert_eq!(call.request.model.as_deref(), Some("t"));
        assert_eq!(call.response.messages[0].parts, [Part::Text("Yo".into())]);
        assert_eq!((call.usage.input, call.usage.output), (Some(5), Some(2)));
        assert!(session.close().is_none());
    }

    #[test]
    fn turns_of_gemini_end_with_the_model() {
        use Role::{Client, Server};
        let mut session =
            session("/ws/x.GenerativeService.BidiGenerateContent").expect("a session");
        let calls = calls(
            &mut session,
            &[
                (Client, r#"{"setup":{"model":"models/g"}}"#),
                (Server, r#"{"setupComplete":{}}"#),
                (
                    Client,
                    r#"{"clientContent":{"turns":[{"role":"user","parts":[{"text":"Hi"}]}],"turnComplete":true}}"#,
                ),
                (
                    Server,
                    r#"{"serverContent":{"modelTurn":{"parts":[{"text":"Yo"}]}}}"#,
                ),
                (
                    Server,
                    r#"{"toolCall":{"functionCalls":[{"id":"c","name":"f","args":{}}]}}"#,
                ),
                (
                    Server,
                    r#"{"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":2,"responseTokenCount":1}}"#,
                ),
            ],
        );
        let [call] = &calls[..] else {
            panic!("one call: {calls:?}");
        };
        assert_eq!(call.request.model.as_deref(), Some("models/g"));
        assert_eq!(call.response.messages[0].parts.len(), 2);
        assert_eq!((call.usage.input, call.usage.output), (Some(2), Some(1)));
    }

    #[test]
    fn other_sockets_are_no_sessions() {
        assert!(session("/socket.io/").is_none());
    }
}
