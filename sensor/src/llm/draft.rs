//! A call in the making.
//!
//! In: head and body of the request, head and content of the response, in the order
//! they crossed. Out: a [`Call`], or nothing where the exchange was none.

use std::borrow::Cow;

use super::api::route::{self, Route};
use super::api::{Ask, Dialect};
use super::call::{
    Call, CallId, Capture, Completeness, Failure, Name, Request, Response, Server, Timing, Usage,
    Value,
};
use super::frame::Frame;
use super::reply::Reply;
use super::text::{percent_decoded, readable, text};
use super::{Options, attr, error, multipart, rpc};
use crate::content::{Body, Message, MessageKind};
use crate::event::{ConnectionId, Origin, Role};
use crate::http::{Fields, RequestHead, ResponseHead};
use crate::time::Timestamp;

mod grpc;
mod message;
mod reading;

/// Of a whole body.
fn fingerprint(text: &str) -> u64 {
    let sum = crc32fast::hash(text.as_bytes());
    u64::from(sum) << 32 | (text.len() as u64 & u64::from(u32::MAX))
}

/// An exchange that may become a call.
#[derive(Debug)]
pub struct Draft {
    frame: Frame,
    /// `None` until the body tells.
    route: Option<Route>,
    /// The path alone speaks for the dialect: the body must agree.
    doubtful: bool,
    /// The request's content type, where that says how its parts are told apart.
    multipart: Option<Box<str>>,
    ask: Ask,
    /// The request has been read.
    asked: bool,
    /// Bytes that it was read from.
    ask_bytes: usize,
    reply: Reply,
    /// The reply is known to be a stream.
    streams: bool,
    /// The reply is no stream and has holes.
    holed: bool,
    timing: Timing,
}

impl Draft {
    /// Takes the head of a request; `None` where it can't be a call, so that nothing
    /// of its bodies need be kept.
    pub fn new(
        began: Timestamp,
        head: &RequestHead,
        origin: &Origin,
        options: Options,
    ) -> Option<Box<Self>> {
        if !matches!(&*head.method, "POST" | "") {
            return None;
        }
        let frame = Frame::of(head, origin);
        let path = head.target.as_deref().map(|_| head.path());
        let route = path.and_then(|path| route::by_path(frame.known(), path));
        let content_type = head.fields.first("content-type").unwrap_or_default();
        if route.is_none() && !frame.body_may_tell(head) {
            return None;
        }
        Some(Box::new(Self {
            doubtful: frame.provider.is_none()
                && route.as_ref().is_some_and(|route| route.method.is_none()),
            frame,
            route,
            multipart: content_type
                .starts_with("multipart/")
                .then(|| content_type.into()),
            ask: Ask {
                content: options.content,
                ..Ask::default()
            },
            asked: false,
            ask_bytes: 0,
            reply: Reply::new(options.content),
            streams: false,
            holed: false,
            timing: Timing::starting(began),
        }))
    }

    /// Whether the head of the request alone says that it is a call.
    pub fn is_routed(&self) -> bool {
        self.route.is_some()
    }

    /// A call of a session, its request read.
    pub(super) fn turn(
        began: Timestamp,
        frame: Frame,
        dialect: &'static dyn Dialect,
        ask: Ask,
    ) -> Self {
        Self {
            frame,
            route: Some(Route::to(dialect)),
            doubtful: false,
            multipart: None,
            asked: true,
            ask_bytes: 0,
            reply: Reply::new(ask.content),
            ask,
            streams: true,
            holed: false,
            timing: Timing::starting(began),
        }
    }

    /// The whole content of the request, decoded. `false`: no call after all, drop it.
    pub fn request(&mut self, body: Body<'_>) -> bool {
        let text = self.request_text(body);
        if self.route.is_none() {
            self.route = route::by_body(self.frame.known(), &text);
        }
        let Some(route) = &mut self.route else {
            return false;
        };
        route.settle(&text);
        // With a hole, what would speak for the dialect may be what is missing.
        if self.doubtful && body.missing.is_none() && !route::fits(route.dialect, &text) {
            return false;
        }
        self.asked = true;
        self.ask_bytes = text.len();
        let mended = matches!(text, Cow::Owned(_)) && route.method.is_none();
        self.ask.whole = body.missing.is_none() && !mended;
        self.ask.request.model = route.model.as_deref().map(percent_decoded);
        self.ask.request.stream = route.stream;
        self.ask.request.fingerprint = self.ask.whole.then(|| fingerprint(&text));
        if let Some((agent, session)) = &route.agent {
            self.ask.attributes.header(attr::AGENT_ID, Some(agent));
            self.ask.request.conversation_id = Some(percent_decoded(session));
        }
        route.dialect.request(&text, &mut self.ask);
        true
    }

    /// Bytes that the contents kept of it came from.
    pub fn held_bytes(&self) -> usize {
        match self.ask.content {
            true => self.ask_bytes.saturating_add(self.reply.held_bytes()),
            false => 0,
        }
    }

    pub fn response_head(&mut self, at: Timestamp, head: &ResponseHead) {
        self.timing.end = self.timing.end.max(at);
        self.frame.answered(head);
        self.reply.recognised |= self.frame.binary;
    }

    /// Fields that follow the response's content; they say what fields of a head may.
    pub fn response_trailers(&mut self, trailers: &Fields) {
        self.frame.trailers(trailers);
        self.reply.ended |= self.frame.rpc.is_some();
    }

    /// One unit of the response's content, or the whole of it.
    pub fn response_message(&mut self, message: Message<'_>) {
        self.timing.end = self.timing.end.max(message.at);
        if self.frame.binary {
            return;
        }
        if let (Some(method), MessageKind::Event) = (self.method(), message.kind) {
            return self.rpc_message(method, message);
        }
        let text = text(message.data);
        match message.kind {
            MessageKind::Event => self.event(message.at, message.name, &text),
            MessageKind::Whole => self.whole(&text),
            MessageKind::Exception => {
                self.timing.event(message.at, false);
                self.reply.fail(error::exception(message.name, &text));
            }
        }
    }

    /// The response's content where it was no stream and has holes.
    pub fn response_body(&mut self, at: Timestamp, body: Body<'_>) {
        self.timing.end = self.timing.end.max(at);
        if self.frame.binary {
            return;
        }
        self.holed = true;
        let text = readable(body);
        self.whole(&text);
    }

    /// Bytes of a streamed response are missing between the messages before and after.
    pub fn response_gap(&mut self) {
        self.reply.gap();
    }

    /// Text of the first choice that came since the last time this was asked. Ask again
    /// until there is none.
    pub fn new_text(&mut self) -> Option<&str> {
        self.reply.new_text()
    }

    /// The call as far as it is known, once the request has been read; without content.
    pub fn started(
        &mut self,
        id: CallId,
        connection: ConnectionId,
        role: Role,
    ) -> Option<Box<Call>> {
        if !self.asked || self.route.as_ref()?.guessed {
            return None;
        }
        let capture = Capture {
            completeness: Completeness::Unfinished,
            inferred: self.frame.inferred,
            ..Capture::default()
        };
        let server = self.frame.server.clone();
        let mut call = self.outline(id, connection, role, server, capture)?;
        call.request = self.bare_request();
        call.extra = self.ask.attributes.to_vec();
        Some(call)
    }

    /// A copy of the request without its content, most of which is dear to copy.
    fn bare_request(&mut self) -> Request {
        let request = &mut self.ask.request;
        let system = std::mem::take(&mut request.system);
        let messages = std::mem::take(&mut request.messages);
        let tools = std::mem::take(&mut request.tools);
        let bare = request.clone();
        (request.system, request.messages, request.tools) = (system, messages, tools);
        bare
    }

    /// The call, its exchange being over. `end`: when the last byte of the response
    /// crossed. `None`: it was no call after all.
    pub fn finish(
        mut self: Box<Self>,
        id: CallId,
        connection: ConnectionId,
        role: Role,
        end: Timestamp,
        mut capture: Capture,
    ) -> Option<Box<Call>> {
        if !self.asked || !self.is_call() {
            return None;
        }
        self.timing.end = self.timing.end.max(end);
        capture.inferred |= self.frame.inferred;
        capture.truncated |= self.reply.is_cut();
        if capture.truncated && capture.completeness == Completeness::Complete {
            capture.completeness = Completeness::Truncated;
        }
        let error = self.failure(&capture);
        let server = std::mem::take(&mut self.frame.server);
        let mut call = self.outline(id, connection, role, server, capture)?;
        call.error = error;
        self.reply.metered.update(self.frame.tokens);
        call.usage = self.reply.usage();
        let conversation = self.reply.conversation_id.take();
        let mut attributes = self.ask.attributes;
        attributes.append(self.frame.attributes);
        attributes.append(std::mem::take(&mut self.reply.attributes));
        if let Some(api) = openai_api(&call) {
            attributes.header(attr::API_TYPE, Some(api));
        }
        call.extra = attributes.into_vec();
        call.response = self.reply.into_response();
        call.request = self.ask.request;
        if conversation.is_some() {
            call.request.conversation_id = conversation;
        }
        Some(call)
    }

    /// Whether anything of a reply was seen.
    pub(super) fn is_answered(&self) -> bool {
        self.timing.first_chunk.is_some()
    }

    /// Takes a message of the server, in a session.
    pub(super) fn server_event(&mut self, at: Timestamp, text: &str) {
        self.timing.end = self.timing.end.max(at);
        self.event(at, None, text);
    }

    /// Whether the reply bears out what the request was taken for.
    fn is_call(&self) -> bool {
        let guessed = self.route.as_ref().is_none_or(|route| route.guessed);
        let failed = self.frame.failed().is_some() && self.frame.provider.is_some();
        !guessed || self.reply.recognised || failed
    }

    /// Everything but what request and reply say.
    fn outline(
        &self,
        id: CallId,
        connection: ConnectionId,
        role: Role,
        server: Server,
        capture: Capture,
    ) -> Option<Box<Call>> {
        let dialect = self.route.as_ref()?.dialect;
        let operation = self.reply.operation.or(self.ask.operation);
        let operation = operation.unwrap_or_else(|| dialect.operation());
        let home = self.method().map_or(dialect.provider(), |m| m.provider());
        Some(Box::new(Call {
            id,
            connection,
            role,
            thread: self.frame.thread,
            goroutine: self.frame.goroutine,
            // What the message says is nearer to it than what its carrier says.
            context: self
                .ask
                .context
                .as_ref()
                .or(self.frame.context.as_ref())
                .cloned(),
            operation: Name::Borrowed(operation),
            provider: Name::Borrowed(self.frame.provider(home)),
            dialect: dialect.name(),
            server,
            request: Request::default(),
            response: Response::default(),
            usage: Usage::default(),
            timing: self.timing,
            error: None,
            capture,
            extra: Vec::new(),
        }))
    }

    /// What went wrong, if anything: the status, else the provider's words inside of a
    /// reply that seemed well, else that a stream broke off.
    fn failure(&mut self, capture: &Capture) -> Option<Failure> {
        let told = self.reply.failure.take();
        let unseen = self.frame.server.status.is_none() && !self.streams;
        let implied = told.as_ref().and(self.reply.status).filter(|_| unseen);
        if let Some(status) = self.frame.failed().or(implied) {
            // Of several names for a type the best may be what is missing.
            let named = |told: &&Failure| !self.holed && told.kind != error::UNKNOWN;
            if let Some(told) = told.as_ref().filter(named) {
                let kind = Value::String(told.kind.as_ref().into());
                self.reply.attributes.set(attr::PROVIDER_ERROR, kind);
            }
            return Some(Failure {
                kind: Name::Owned(status.to_string()),
                message: told.and_then(|f| f.message),
            });
        }
        if let Some(failure) = self.frame.rpc.as_ref().and_then(rpc::Status::failure) {
            return Some(failure);
        }
        let unfinished = capture.completeness == Completeness::Unfinished;
        let broke_off = self.streams && !self.reply.ended && unfinished;
        told.or_else(|| {
            broke_off.then_some(Failure {
                kind: Name::Borrowed(error::STREAM_INTERRUPTED),
                message: None,
            })
        })
    }

    /// The request as JSON text, as far as it can be read.
    fn request_text<'b>(&self, body: Body<'b>) -> Cow<'b, str> {
        if let Some(method) = self.method() {
            let message = body.grpc_message();
            return Cow::Owned(method.request.read(&message).into_owned());
        }
        if let Some(content_type) = &self.multipart {
            let fields = multipart::fields(content_type, body.head);
            return Cow::Owned(fields.unwrap_or_default());
        }
        readable(body)
    }
}

/// `openai.api.type`, which the conventions give to OpenAI's own calls.
fn openai_api(call: &Call) -> Option<&'static str> {
    match call.dialect {
        _ if call.provider != "openai" => None,
        "openai.chat" => Some("chat_completions"),
        "openai.responses" => Some("responses"),
        _ => None,
    }
}
