//! A call in the making.
//!
//! In: head and body of the request, head and content of the response, in the order
//! they crossed. Out: a [`Call`], or nothing where the exchange was none.

use std::borrow::Cow;

use super::api::route::{self, Route};
use super::api::{Ask, Event};
use super::call::{Call, CallId, Capture, Completeness, Failure, Name, Server, Timing};
use super::provider::{self, Provider};
use super::reply::Reply;
use super::{Options, attr, error, fields, multipart, partial};
use crate::content::{Body, Message, MessageKind};
use crate::event::{ConnectionId, Origin, Role};
use crate::http::{Fields, RequestHead, ResponseHead};
use crate::time::Timestamp;

/// An exchange that may become a call.
#[derive(Debug)]
pub struct Draft {
    provider: Option<&'static Provider>,
    /// `None` until the body tells.
    route: Option<Route>,
    /// The path alone speaks for the dialect: the body must agree.
    doubtful: bool,
    /// Some field of a head was hidden.
    inferred: bool,
    content_type: Box<str>,
    server: Server,
    ask: Ask,
    /// The request has been read.
    asked: bool,
    reply: Reply,
    /// The reply is known to be a stream.
    streams: bool,
    binary: bool,
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
    ) -> Option<Self> {
        if !matches!(&*head.method, "POST" | "") {
            return None;
        }
        let host = head.host().or(origin.sni.as_deref());
        let port = head.port().or(origin.peer.map(|peer| peer.port()));
        let provider = provider::identify(host, port);
        let known = provider.map_or("", |p| p.name);
        let route = route::by_path(known, head.path());
        let content_type = head.fields.first("content-type").unwrap_or_default();
        if route.is_none() && !body_may_tell(head, provider, content_type) {
            return None;
        }
        Some(Self {
            doubtful: provider.is_none() && route.is_some(),
            provider,
            inferred: head.partial,
            content_type: content_type.into(),
            server: Server {
                address: host.map(Into::into),
                port,
                path: head.target.is_some().then(|| head.path().into()),
                user_agent: head.fields.first("user-agent").map(Into::into),
                ..Server::default()
            },
            ask: Ask {
                content: options.content,
                ..Ask::default()
            },
            route,
            asked: false,
            reply: Reply::new(options.content),
            streams: false,
            binary: false,
            timing: Timing::starting(began),
        })
    }

    /// The whole content of the request, decoded. `false`: no call after all, drop it.
    pub fn request(&mut self, body: Body<'_>) -> bool {
        let text = self.request_text(body);
        let known = self.provider.map_or("", |p| p.name);
        if self.route.is_none() {
            self.route = route::by_body(known, &text);
        }
        let Some(route) = &self.route else {
            return false;
        };
        // With a hole, what would speak for the dialect may be what is missing.
        if self.doubtful && body.missing.is_none() && !route::fits(route.dialect, &text) {
            return false;
        }
        self.asked = true;
        self.ask.request.model = route.model.as_deref().map(percent_decoded);
        self.ask.request.stream = route.stream;
        if let Some((agent, session)) = &route.agent {
            self.ask.attributes.header(attr::AGENT_ID, Some(agent));
            self.ask.request.conversation_id = Some(percent_decoded(session));
        }
        route.dialect.request(&text, &mut self.ask);
        true
    }

    pub fn response_head(&mut self, at: Timestamp, head: &ResponseHead) {
        self.timing.end = self.timing.end.max(at);
        self.inferred |= head.partial;
        self.server.status = head.status;
        self.server.request_id = fields::request_id(&head.fields);
        fields::response(&head.fields, &mut self.reply.attributes);
        self.reply.metered.update(fields::tokens(&head.fields));
        let content_type = head.fields.first("content-type").unwrap_or_default();
        self.binary = fields::is_binary(content_type);
        self.reply.recognised |= self.binary;
    }

    /// Fields that follow the response's content; they say what fields of a head may.
    pub fn response_trailers(&mut self, trailers: &Fields) {
        fields::response(trailers, &mut self.reply.attributes);
        self.reply.tokens.update(fields::tokens(trailers));
    }

    /// One unit of the response's content, or the whole of it.
    pub fn response_message(&mut self, message: Message<'_>) {
        self.timing.end = self.timing.end.max(message.at);
        if self.binary {
            return;
        }
        let text = String::from_utf8_lossy(message.data);
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
        if self.binary {
            return;
        }
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

    /// The call as far as it is known, once the request has been read.
    pub fn started(&self, id: CallId, connection: ConnectionId, role: Role) -> Option<Call> {
        if !self.asked || self.route.as_ref()?.guessed {
            return None;
        }
        let capture = Capture {
            completeness: Completeness::Unfinished,
            inferred: self.inferred,
            ..Capture::default()
        };
        let mut call = self.frame(id, connection, role, capture)?;
        call.request = self.ask.request.clone();
        call.extra = self.ask.attributes.to_vec();
        Some(call)
    }

    /// The call, its exchange being over. `end`: when the last byte of the response
    /// crossed. `None`: it was no call after all.
    pub fn finish(
        mut self,
        id: CallId,
        connection: ConnectionId,
        role: Role,
        end: Timestamp,
        mut capture: Capture,
    ) -> Option<Call> {
        if !self.asked || !self.is_call() {
            return None;
        }
        self.timing.end = self.timing.end.max(end);
        capture.inferred |= self.inferred;
        let mut call = self.frame(id, connection, role, capture)?;
        call.error = self.failure(&capture);
        call.usage = self.reply.usage();
        let conversation = self.reply.conversation_id.take();
        self.ask
            .attributes
            .append(std::mem::take(&mut self.reply.attributes));
        call.response = self.reply.into_response();
        call.request = self.ask.request;
        if conversation.is_some() {
            call.request.conversation_id = conversation;
        }
        call.extra = self.ask.attributes.into_vec();
        Some(call)
    }

    /// Whether the reply bears out what the request was taken for.
    fn is_call(&self) -> bool {
        let guessed = self.route.as_ref().is_none_or(|route| route.guessed);
        let failed = self.server.status.is_some_and(|status| status >= 400);
        !guessed || self.reply.recognised || (failed && self.provider.is_some())
    }

    /// Everything but what request and reply say.
    fn frame(
        &self,
        id: CallId,
        connection: ConnectionId,
        role: Role,
        capture: Capture,
    ) -> Option<Call> {
        let dialect = self.route.as_ref()?.dialect;
        let provider = self.provider.map_or_else(|| dialect.provider(), |p| p.name);
        Some(Call {
            id,
            connection,
            role,
            operation: Name::Borrowed(self.ask.operation.unwrap_or_else(|| dialect.operation())),
            provider: Name::Borrowed(provider),
            dialect: dialect.name(),
            server: self.server.clone(),
            request: super::call::Request::default(),
            response: super::call::Response::default(),
            usage: super::call::Usage::default(),
            timing: self.timing,
            error: None,
            capture,
            extra: Vec::new(),
        })
    }

    fn event(&mut self, at: Timestamp, name: Option<&str>, text: &str) {
        self.streams = true;
        let text = text.trim_ascii();
        if text == "[DONE]" {
            self.reply.ended = true;
        } else if let Some(route) = &self.route {
            if name == Some("error")
                && let Some(failure) = error::read(text)
            {
                self.reply.fail(failure);
            }
            route
                .dialect
                .event(&Event { name, data: text }, &mut self.reply);
        }
        let content = self.reply.take_progress();
        self.timing.event(at, content);
    }

    fn whole(&mut self, text: &str) {
        let Some(route) = &self.route else {
            return;
        };
        let failed = self.server.status.is_some_and(|status| status >= 400);
        if failed {
            if let Some(failure) = error::read(text) {
                self.reply.fail(failure);
            }
            return;
        }
        route.dialect.whole(text, &mut self.reply);
    }

    /// What went wrong, if anything: the status, else the provider's words inside of a
    /// reply that seemed well, else that a stream broke off.
    fn failure(&mut self, capture: &Capture) -> Option<Failure> {
        let told = self.reply.failure.take();
        let status = self.server.status.filter(|status| *status >= 400);
        if let Some(status) = status {
            if let Some(told) = &told {
                let kind = super::call::Value::String(told.kind.as_ref().into());
                self.reply.attributes.set(attr::PROVIDER_ERROR, kind);
            }
            return Some(Failure {
                kind: Name::Owned(status.to_string()),
                message: told.and_then(|f| f.message),
            });
        }
        let cut =
            self.streams && !self.reply.ended && capture.completeness == Completeness::Unfinished;
        told.or_else(|| {
            cut.then_some(Failure {
                kind: Name::Borrowed(error::STREAM_INTERRUPTED),
                message: None,
            })
        })
    }

    /// The request as JSON text, as far as it can be read.
    fn request_text<'b>(&self, body: Body<'b>) -> Cow<'b, str> {
        if self.content_type.starts_with("multipart/") {
            let fields = multipart::fields(&self.content_type, body.head);
            return Cow::Owned(fields.unwrap_or_default());
        }
        readable(body)
    }
}

/// Whether a request whose path says nothing may still be a call. At a known provider
/// it is none, unless it speaks MCP or its path was not seen.
fn body_may_tell(head: &RequestHead, provider: Option<&Provider>, content_type: &str) -> bool {
    let json = content_type.is_empty() || content_type.contains("json");
    let nobody = provider.is_none() || head.target.is_none();
    json && (nobody || head.path().split('/').any(|segment| segment == "mcp"))
}

/// A body as text; one with a hole, or cut short, as the members that are whole.
fn readable(body: Body<'_>) -> Cow<'_, str> {
    let head = String::from_utf8_lossy(body.head);
    if body.tail.is_empty() && body.missing.is_none() && is_document(&head) {
        return head;
    }
    let tail = String::from_utf8_lossy(body.tail);
    partial::mend(&head, &tail).map_or(head, Cow::Owned)
}

fn is_document(text: &str) -> bool {
    let text = text.trim_ascii_end();
    text.ends_with('}') || text.ends_with(']')
}

/// Undoes percent-encoding (RFC 3986, section 2.1).
fn percent_decoded(text: &str) -> Box<str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
    String::from_utf8_lossy(&bytes)
        .into_owned()
        .into_boxed_str()
}
