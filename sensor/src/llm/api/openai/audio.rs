//! Audio: `POST …/audio/transcriptions`, `…/audio/translations`, `…/audio/speech`.

use super::usage::Usage;
use crate::llm::api::{Ask, Dialect, Event, user_message};
use crate::llm::attr;
use crate::llm::call::{Name, Part};
use crate::llm::error;
use crate::llm::json::{Bool, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(in crate::llm::api) struct Transcription;

#[derive(Debug)]
pub(in crate::llm::api) struct Speech;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        stream: Bool,
        temperature: Num,
        prompt: Str<'a>,
        input: Str<'a>,
        file_name: Str<'a> = "file.filename",
    }

    struct Response<'a> {
        kind: Str<'a> = "type",
        model: Str<'a>,
        text: Str<'a>,
        delta: Str<'a>,
        usage: Usage<'a>,
        duration: Num,
        finish_reason: Str<'a>,
        data: Raw<'a> = "audio_data" | "audio",
        error: Raw<'a>,
    }
}

impl Request<'_> {
    fn apply(&self, ask: &mut Ask) {
        let request = &mut ask.request;
        request.model = self.model.boxed().or(request.model.take());
        request.stream = self.stream.0;
        request.temperature = self.temperature.0;
        ask.attributes.text(attr::FILE_NAME, self.file_name);
        if ask.content {
            let text = self.input.or(self.prompt).string();
            request
                .messages
                .extend(text.map(|text| user_message(Part::Text(text))));
        }
    }
}

impl Dialect for Transcription {
    fn name(&self) -> &'static str {
        "transcription"
    }

    fn operation(&self) -> &'static str {
        "transcription"
    }

    fn provider(&self) -> &'static str {
        super::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        read::<Request<'_>>(body).apply(ask);
        ask.request.output_type = Some(Name::Borrowed("text"));
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        response.apply(reply);
        reply.text(0, None, response.text);
        // Plain text and subtitles are formats that may be asked for.
        if !body.starts_with(['{', '[', '<']) {
            reply.plain_text(0, body);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: Response<'_> = read(event.data);
        told.apply(reply);
        let kind = told.kind.key();
        // Mistral's pieces are named as the whole is.
        reply.text(0, None, told.delta);
        if kind.ends_with(".delta") || !reply.has_content() {
            reply.text(0, None, told.text);
        }
        reply.ended |= kind.ends_with(".done");
    }
}

impl Response<'_> {
    /// Everything but the text.
    fn apply(&self, reply: &mut Reply) {
        reply.recognised |= self.text.is_some() || self.kind.key().starts_with("transcript");
        reply.set_model(self.model);
        reply.finish(0, self.finish_reason);
        reply.tokens.update(self.usage.tokens());
        self.usage.extras(&mut reply.attributes);
        reply.attributes.double(attr::AUDIO_SECONDS, self.duration);
        if let Some(failure) = error::member(self.error) {
            reply.fail(failure);
        }
    }
}

impl Dialect for Speech {
    fn name(&self) -> &'static str {
        "speech"
    }

    fn operation(&self) -> &'static str {
        "speech"
    }

    fn provider(&self) -> &'static str {
        super::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        read::<Request<'_>>(body).apply(ask);
        ask.request.output_type = Some(Name::Borrowed("speech"));
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.data.is_string();
        response.apply(reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: Response<'_> = read(event.data);
        told.apply(reply);
        reply.progressed();
        reply.ended |= told.kind.key() == "speech.audio.done";
    }
}
