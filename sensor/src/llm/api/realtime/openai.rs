//! OpenAI's Realtime API, which Azure and xAI speak too, and its Responses API over a
//! WebSocket.

use super::{Conversation, Effect, Setup};
use crate::llm::api::openai::items::Item;
use crate::llm::api::openai::responses::Responses;
use crate::llm::api::openai::{COMPATIBLE, content, usage::Usage};
use crate::llm::api::{Ask, Dialect, Event};
use crate::llm::call::{ChatMessage, Name, Part};
use crate::llm::error;
use crate::llm::json::{Int, List, Num, Raw, Str, parse, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(super) struct Realtime;

#[derive(Debug)]
pub(super) struct ResponsesSocket;

wire! {
    struct Message<'a> {
        kind: Str<'a> = "type",
        session: Raw<'a>,
        item: Raw<'a>,
        response: Raw<'a>,
        transcript: Str<'a>,
        delta: Str<'a>,
        usage: Usage<'a>,
        error: Raw<'a>,
    }

    struct Session<'a> {
        kind: Str<'a> = "type",
        model: Str<'a>,
        audio: Audio<'a>,
        heard: Model<'a> = "input_audio_transcription",
        instructions: Raw<'a>,
        tools: Raw<'a>,
        temperature: Num,
        max_tokens: Raw<'a> = "max_response_output_tokens" | "max_output_tokens",
        modalities: List<Str<'a>> = "modalities" | "output_modalities",
    }

    struct Audio<'a> {
        input: Input<'a>,
    }

    struct Input<'a> {
        heard: Model<'a> = "transcription",
    }

    struct Model<'a> {
        model: Str<'a>,
    }
}

/// What the events are called that tell what was heard.
const HEARD: &str = "conversation.item.input_audio_transcription.";
/// The operation of a session that has no model to answer.
const TRANSCRIPTION: &str = "transcription";

impl Session<'_> {
    /// Takes over every setting that is given.
    fn apply(&self, ask: &mut Ask) {
        if self.kind.key() == TRANSCRIPTION {
            ask.operation = Some(TRANSCRIPTION);
        }
        let request = &mut ask.request;
        let transcribes = ask.operation == Some(TRANSCRIPTION);
        let hears = self.audio.input.heard.model.or(self.heard.model);
        let model = if transcribes { hears } else { self.model }.boxed();
        request.model = model.or(request.model.take());
        request.temperature = self.temperature.0.or(request.temperature);
        let limit = parse::<Int>(self.max_tokens.text()).and_then(|limit| limit.0);
        request.max_tokens = limit.or(request.max_tokens);
        if self.modalities.iter().any(|m| m.key() == "audio") {
            request.output_type = Some(Name::Borrowed("speech"));
        } else if !self.modalities.is_empty() {
            request.output_type = Some(Name::Borrowed("text"));
        }
        if ask.content && self.instructions.is_some() {
            request.system.clear();
            content::parts(self.instructions, &mut request.system);
        }
        if ask.content && self.tools.is_some() {
            request.tools = content::tools(self.tools);
        }
    }
}

impl Conversation for Realtime {
    fn dialect(&self) -> &'static dyn Dialect {
        &Self
    }

    fn client(&self, text: &str, setup: &mut Setup) -> Effect {
        let message: Message<'_> = read(text);
        match message.kind.key() {
            "transcription_session.update" => {
                setup.ask.operation = Some(TRANSCRIPTION);
                message.session.parse::<Session<'_>>().apply(&mut setup.ask);
                Effect::None
            }
            "session.update" => {
                message.session.parse::<Session<'_>>().apply(&mut setup.ask);
                Effect::None
            }
            "conversation.item.create" => {
                setup.say(message.item.parse::<Item<'_>>().message(message.item));
                Effect::None
            }
            "response.create" => {
                message
                    .response
                    .parse::<Session<'_>>()
                    .apply(&mut setup.ask);
                Effect::Ask
            }
            "input_audio_buffer.commit" => Effect::Spoken,
            _ => Effect::None,
        }
    }

    fn server(&self, text: &str, setup: &mut Setup) -> Effect {
        let message: Message<'_> = read(text);
        let transcribes = setup.ask.operation == Some(TRANSCRIPTION);
        match message.kind.key() {
            "session.created"
            | "session.updated"
            | "transcription_session.created"
            | "transcription_session.updated" => {
                message.session.parse::<Session<'_>>().apply(&mut setup.ask);
                Effect::None
            }
            kind if transcribes && kind.starts_with(HEARD) => match kind.ends_with(".delta") {
                true => Effect::Reply,
                false => Effect::End,
            },
            "conversation.item.input_audio_transcription.completed" => {
                setup.say(heard(message.transcript));
                Effect::None
            }
            "input_audio_buffer.committed" | "input_audio_buffer.speech_stopped" => Effect::Spoken,
            kind => of_response(kind),
        }
    }
}

impl Conversation for ResponsesSocket {
    fn dialect(&self) -> &'static dyn Dialect {
        &Responses
    }

    /// The event that asks is itself the request.
    fn client(&self, text: &str, setup: &mut Setup) -> Effect {
        let message: Message<'_> = read(text);
        if message.kind.key() != "response.create" {
            return Effect::None;
        }
        let nested = message.response.is_object();
        let body = if nested {
            message.response.text()
        } else {
            text
        };
        Responses.request(body, &mut setup.ask);
        setup.ask.request.stream = Some(true);
        setup.pending = std::mem::take(&mut setup.ask.request.messages);
        Effect::Ask
    }

    fn server(&self, text: &str, _: &mut Setup) -> Effect {
        let message: Message<'_> = read(text);
        of_response(message.kind.key())
    }
}

fn of_response(kind: &str) -> Effect {
    match kind {
        "response.created" => Effect::Begin,
        "error" => Effect::Refuse,
        "response.done" | "response.completed" | "response.failed" | "response.incomplete" => {
            Effect::End
        }
        _ if kind.starts_with("response.") => Effect::Reply,
        _ => Effect::None,
    }
}

impl Message<'_> {
    /// What an event of this kind says of a transcript that is the reply.
    fn heard(&self, kind: &str, reply: &mut Reply) {
        reply.recognised = true;
        reply.text(0, None, self.delta);
        if self.transcript.is_some() {
            reply.restart(0);
            reply.text(0, None, self.transcript);
        }
        reply.tokens.update(self.usage.tokens());
        self.usage.extras(&mut reply.attributes);
        if let Some(failure) = error::member(self.error) {
            reply.fail(failure);
        }
        reply.ended |= kind != "delta";
    }
}

/// What the user said, as the provider heard it.
fn heard(transcript: Str<'_>) -> ChatMessage {
    ChatMessage {
        role: Name::Borrowed("user"),
        parts: transcript.string().map(Part::Text).into_iter().collect(),
        ..ChatMessage::default()
    }
}

impl Dialect for Realtime {
    fn name(&self) -> &'static str {
        "realtime.websocket"
    }

    fn operation(&self) -> &'static str {
        "realtime"
    }

    fn provider(&self) -> &'static str {
        COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        read::<Session<'_>>(body).apply(ask);
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        Responses.whole(body, reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        Responses.event(event, reply);
        // xAI counts beside the response, not in it.
        let message: Message<'_> = read(event.data);
        let kind = message.kind.key();
        if kind == "response.done" {
            reply.tokens.update(message.usage.tokens());
            message.usage.extras(&mut reply.attributes);
        }
        if let Some(heard) = kind.strip_prefix(HEARD) {
            message.heard(heard, reply);
        }
    }
}
