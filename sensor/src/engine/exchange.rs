//! One exchange on its way to a call: gathers the request, frames the response, and
//! accounts for what is missing.

use super::conversation::Conversation;
use super::{Answered, Output, Shared};
use crate::content::{self, Body, Content, Message, MessageKind};
use crate::event::{ConnectionId, Missing, Origin, Role};
use crate::http::{End, RequestHead, ResponseHead, Step};
use crate::llm::call::{Capture, Completeness};
use crate::llm::{CallId, Draft};
use crate::stream::Segment;
use crate::time::Timestamp;

/// What an engine hands down to an exchange that is at work.
pub(super) struct Context<'a> {
    pub(super) connection: ConnectionId,
    /// That moved the last bytes.
    pub(super) thread: Option<u32>,
    pub(super) at: Timestamp,
    pub(super) shared: &'a mut Shared,
    pub(super) out: &'a mut dyn FnMut(Output),
}

/// An open exchange. One that can't be a call costs only this struct.
#[derive(Debug)]
pub(super) struct Exchange {
    candidate: Option<Box<Candidate>>,
    conversation: Option<Box<Conversation>>,
    /// Set where the process serves it and is not done.
    answer: Option<Answered>,
    /// It asks for something that may stay open.
    subscribes: bool,
}

#[derive(Debug)]
struct Candidate {
    role: Role,
    /// The number it was given when its head was read.
    number: Option<CallId>,
    draft: Box<Draft>,
    request: Half,
    response: Option<Half>,
    /// Set once the request was read and is a call.
    call: Option<CallId>,
    /// When its last byte crossed.
    last: Timestamp,
    /// Some field of a head is unknown.
    inferred: bool,
}

/// The content of a request or of a response, and how it ended.
#[derive(Debug)]
struct Half {
    content: Content,
    end: Option<End>,
    missing: Missing,
}

impl Exchange {
    pub(super) fn new(
        began: Timestamp,
        role: Role,
        head: &RequestHead,
        origin: &Origin,
        shared: &Shared,
        served: Option<CallId>,
    ) -> Self {
        let limits = shared.options.limits.content();
        let candidate = Draft::new(began, head, origin, shared.options.llm).map(|draft| {
            let coding = head.fields.coding();
            let request = Content::whole(coding.as_deref(), limits);
            Box::new(Candidate {
                role,
                number: served,
                draft,
                request: Half::new(request.expecting(head.fields.content_length())),
                response: None,
                call: None,
                last: began,
                inferred: head.partial,
            })
        });
        let llm = shared.options.llm;
        let conversation = Conversation::new(began, role, head, origin, llm).map(Box::new);
        let answer = served.map(|id| Answered {
            id,
            at: began,
            status: None,
            thread: None,
        });
        Self {
            candidate,
            conversation,
            answer,
            subscribes: &*head.method == "GET",
        }
    }

    /// Whether it may still turn out to be a call.
    pub(super) fn is_candidate(&self) -> bool {
        self.candidate.is_some() || self.conversation.is_some()
    }

    /// Whether its head says that it is one: its first bytes would not be enough.
    pub(super) fn is_likely(&self) -> bool {
        self.candidate.as_ref().is_some_and(|c| c.draft.is_routed()) || self.conversation.is_some()
    }

    /// Whether its request was read and is a call.
    pub(super) fn is_call(&self) -> bool {
        self.candidate.as_ref().is_some_and(|c| c.call.is_some())
            || self.conversation.as_ref().is_some_and(|c| c.is_call())
    }

    /// Bytes of contents that are held for it.
    pub(super) fn held_bytes(&self) -> usize {
        self.candidate.as_ref().map_or(0, |candidate| {
            let response = candidate.response.as_ref();
            let response = response.map_or(0, |half| half.content.held_bytes());
            let request = candidate.request.content.held_bytes();
            let draft = candidate.draft.held_bytes();
            request.saturating_add(response).saturating_add(draft)
        })
    }

    pub(super) fn step(&mut self, step: Step<'_>, mut context: Context<'_>) {
        self.note_answer(&step, &mut context);
        if self.conversation.is_some() {
            self.converse(&step, &mut context);
        }
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        if !candidate.step(step, &mut context) {
            self.candidate = None;
        }
    }

    fn note_answer(&mut self, step: &Step<'_>, context: &mut Context<'_>) {
        let Some(answer) = &mut self.answer else {
            return;
        };
        answer.at = context.at;
        if let Step::Response(head) = step {
            answer.status = head.status;
            answer.thread = context.thread;
            if self.subscribes && is_subscription(head) {
                (context.out)(Output::Answered(*answer));
                self.answer = None;
            }
        }
    }

    fn converse(&mut self, step: &Step<'_>, context: &mut Context<'_>) {
        let Some(conversation) = &mut self.conversation else {
            return;
        };
        match step {
            Step::Response(head) if !conversation.answered(head) => self.conversation = None,
            Step::WebSocket {
                direction,
                data,
                missing,
                ..
            } => conversation.message(*direction, data, *missing, context),
            _ => {}
        }
    }

    /// The exchange is over, or nothing more of it will be seen.
    pub(super) fn finish(self, mut context: Context<'_>) {
        if let Some(conversation) = self.conversation {
            conversation.finish(&mut context);
        }
        if let Some(mut candidate) = self.candidate
            && candidate.read_request(&mut context)
        {
            candidate.finish(&mut context);
        }
        if let Some(answer) = self.answer {
            (context.out)(Output::Answered(answer));
        }
    }
}

/// Whether what is sent from now on is no answer to the request: another protocol, or
/// whatever happens.
fn is_subscription(head: &ResponseHead) -> bool {
    let kind = head.fields.first("content-type").unwrap_or_default();
    head.status == Some(101) || kind.starts_with("text/event-stream")
}

impl Candidate {
    /// `false`: it is no call after all.
    fn step(&mut self, step: Step<'_>, context: &mut Context<'_>) -> bool {
        match step {
            Step::RequestBody(segment) => {
                self.last = context.at;
                match segment {
                    _ if self.call.is_none() => self.request.feed(context.at, segment, &mut |_| {}),
                    // Of a request that was read before its end was seen.
                    Segment::Gap(missing) => {
                        self.request.missing = self.request.missing.and(missing)
                    }
                    Segment::Data(_) => {}
                }
                true
            }
            Step::RequestEnd(end) => {
                self.ended(end, context.at);
                self.request.end = Some(end);
                self.read_request(context)
            }
            Step::Response(head) => {
                self.last = context.at;
                self.response_head(&head, context);
                true
            }
            Step::ResponseBody(segment) => {
                self.read_request(context) && {
                    self.last = context.at;
                    self.response_body(segment, context);
                    true
                }
            }
            Step::ResponseTrailers(fields) => {
                self.draft.response_trailers(&fields);
                true
            }
            Step::ResponseEnd(end) => {
                self.read_request(context) && {
                    self.ended(end, context.at);
                    self.response_end(end, context);
                    true
                }
            }
            Step::Request { .. } | Step::WebSocket { .. } | Step::Over => true,
        }
    }

    /// Only an end that was seen to cross has a time of its own.
    fn ended(&mut self, end: End, at: Timestamp) {
        if end == End::Complete {
            self.last = at;
        }
    }

    /// Reads the request as far as it was gathered; does so once. `false`: no call.
    fn read_request(&mut self, context: &mut Context<'_>) -> bool {
        if self.call.is_some() {
            return true;
        }
        let complete = self.request.end == Some(End::Complete);
        self.request
            .content
            .finish(context.at, complete, &mut |_| {});
        let whole = self.request.content.body();
        let body = whole.unwrap_or(Body {
            head: &[],
            tail: &[],
            missing: Missing::NONE,
        });
        if !self.draft.request(body) {
            return false;
        }
        self.request.settle(context.shared);
        let id = self.number.unwrap_or_else(|| context.shared.next_call());
        self.call = Some(id);
        if let Some(call) = self.draft.started(id, context.connection, self.role) {
            (context.out)(Output::Started(call));
        }
        true
    }

    fn response_head(&mut self, head: &ResponseHead, context: &Context<'_>) {
        self.inferred |= head.partial;
        self.draft.response_head(context.at, head);
        let limits = context.shared.options.limits.content();
        let kind = head.fields.first("content-type");
        let kind = kind.or(self.draft.response_type());
        let coding = head.fields.coding();
        let content = Content::stream(kind, coding.as_deref(), limits);
        let length = head.fields.content_length();
        self.response = Some(Half::new(content.expecting(length)));
    }

    fn response_body(&mut self, segment: Segment<'_>, context: &mut Context<'_>) {
        let Self {
            draft,
            response,
            call,
            ..
        } = self;
        // A body without a head was joined amid its stream.
        let limits = context.shared.options.limits.content();
        let kind = draft.response_type();
        let half = response.get_or_insert_with(|| Half::new(Content::stream(kind, None, limits)));
        half.feed(context.at, segment, &mut |message| {
            draft.response_message(message);
        });
        if matches!(segment, Segment::Gap(_)) {
            draft.response_gap();
        }
        if let (true, Some(call)) = (context.shared.options.follow_text, *call) {
            while let Some(text) = draft.new_text() {
                (context.out)(Output::Text {
                    call,
                    at: context.at,
                    text: text.to_owned(),
                });
            }
        }
    }

    fn response_end(&mut self, end: End, context: &mut Context<'_>) {
        let Self {
            draft,
            response: Some(half),
            ..
        } = self
        else {
            return;
        };
        half.end = Some(end);
        let complete = end == End::Complete;
        half.content.finish(context.at, complete, &mut |message| {
            draft.response_message(message)
        });
        let Some(body) = half.content.body() else {
            return half.settle(context.shared);
        };
        if complete && body.missing.is_none() {
            let whole = MessageKind::Whole;
            let message = Message {
                at: context.at,
                kind: whole,
                name: None,
                data: body.head,
            };
            draft.response_message(message);
        } else {
            draft.response_body(context.at, body);
        }
        half.settle(context.shared);
    }

    fn finish(mut self, context: &mut Context<'_>) {
        let is_open = self
            .response
            .as_ref()
            .is_some_and(|half| half.end.is_none());
        if is_open {
            self.response_end(End::Unfinished, context);
        }
        let capture = self.capture();
        let Some(id) = self.call else { return };
        let Self {
            draft, role, last, ..
        } = self;
        if let Some(call) = draft.finish(id, context.connection, role, last, capture) {
            context.shared.counters.calls = context.shared.counters.calls.saturating_add(1);
            (context.out)(Output::Finished(call));
        }
    }

    fn capture(&self) -> Capture {
        let missing = match &self.response {
            Some(response) => self.request.missing.and(response.missing),
            None => self.request.missing,
        };
        let is_whole = self
            .response
            .as_ref()
            .is_some_and(|r| r.end == Some(End::Complete));
        let completeness = match missing {
            Missing { lost: 1.., .. } => Completeness::Gap,
            _ if !is_whole => Completeness::Unfinished,
            Missing { cut: 1.., .. } => Completeness::Truncated,
            _ => Completeness::Complete,
        };
        Capture {
            completeness,
            lost_bytes: missing.lost,
            truncated: missing.cut > 0,
            inferred: self.inferred,
        }
    }
}

impl Half {
    fn new(content: Content) -> Self {
        Self {
            content,
            end: None,
            missing: Missing::NONE,
        }
    }

    fn feed(&mut self, at: Timestamp, segment: Segment<'_>, out: &mut dyn FnMut(Message<'_>)) {
        self.content.feed(at, segment, out);
    }

    /// Nothing more comes: keeps the account and lets the bytes go.
    fn settle(&mut self, shared: &mut Shared) {
        self.missing = self.content.missing();
        shared.counters.content.add(self.content.faults());
        self.content = Content::whole(None, content::Limits::default());
    }
}
