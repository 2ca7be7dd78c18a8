//! Moderations: `POST …/moderations`.

use crate::llm::api::{Ask, Dialect, Event, strings, user_message};
use crate::llm::attr;
use crate::llm::call::{Part, Value};
use crate::llm::error;
use crate::llm::json::{Bool, List, Raw, Str, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(in crate::llm::api) struct Moderations;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        input: Raw<'a>,
    }

    struct Response<'a> {
        id: Str<'a>,
        model: Str<'a>,
        results: List<Verdict>,
        error: Raw<'a>,
    }

    struct Verdict {
        flagged: Bool,
    }
}

impl Dialect for Moderations {
    fn name(&self) -> &'static str {
        "moderations"
    }

    fn operation(&self) -> &'static str {
        "moderation"
    }

    fn provider(&self) -> &'static str {
        super::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        ask.request.model = asked.model.boxed().or(ask.request.model.take());
        if ask.content {
            let texts = strings(asked.input).into_iter();
            ask.request.messages = texts
                .map(|text| user_message(Part::Text(text.into())))
                .collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= !response.results.is_empty();
        reply.set_id(response.id);
        reply.set_model(response.model);
        let mut verdicts = response.results.iter().filter_map(|v| v.flagged.0);
        if response.results.iter().any(|v| v.flagged.0.is_some()) {
            reply
                .attributes
                .set(attr::FLAGGED, Value::Bool(verdicts.any(|flagged| flagged)));
        }
        if let Some(failure) = error::member(response.error) {
            reply.fail(failure);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}
