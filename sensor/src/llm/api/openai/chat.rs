//! Chat Completions: `POST …/chat/completions`, and the many who serve it.

use super::content::{self, ContentPart, Message};
use super::usage::Usage;
use crate::llm::api::{Ask, Dialect, Event, strings, user_message};
use crate::llm::attr;
use crate::llm::call::{Name, Part, Value};
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Num, Placed, Raw, Str, read, read_on, wire};
use crate::llm::reply::{Reply, ToolFragment};

#[derive(Debug)]
pub(in crate::llm::api) struct Chat;

wire! {
    /// A request of Chat Completions, or of the older Completions.
    pub(super) struct Request<'a> {
        model: Str<'a> = "model" | "model_id",
        stream: Bool,
        messages: Raw<'a>,
        pub(super) prompt: Raw<'a>,
        tools: Raw<'a>,
        functions: Raw<'a>,
        tool_choice: Str<'a>,
        max_tokens: Int,
        max_completion_tokens: Int,
        temperature: Num,
        top_p: Num,
        top_k: Num,
        frequency_penalty: Num,
        presence_penalty: Num,
        stop: Raw<'a>,
        seed: Int = "seed" | "random_seed",
        n: Int,
        reasoning_effort: Str<'a>,
        reasoning: Reasoning<'a>,
        response_format: Format<'a>,
        modalities: List<Str<'a>>,
        service_tier: Str<'a>,
        user: Str<'a> = "user" | "safety_identifier",
    }

    struct Reasoning<'a> {
        effort: Str<'a>,
    }

    struct Format<'a> {
        kind: Str<'a> = "type",
    }

    /// A reply, whole or a chunk of one; its choices are of either kind.
    struct Response<'a, C> {
        id: Str<'a>,
        model: Str<'a> = "model" | "model_id",
        choices: Placed<List<C>>,
        usage: Raw<'a>,
        service_tier: Str<'a>,
        system_fingerprint: Str<'a>,
        /// The upstream that a router chose.
        provider: Str<'a>,
        x_groq: Raw<'a>,
        error: Raw<'a>,
    }

    struct Choice<'a> {
        index: Int,
        message: Message<'a>,
        text: Str<'a>,
        finish_reason: Str<'a> = "finish_reason" | "finishReason",
        /// Where it is not what vLLM has beside the other (Mistral and DeepSeek at Bedrock).
        stop_reason: Str<'a>,
        native_finish_reason: Str<'a>,
        content_filter_results: Raw<'a>,
    }

    struct Piece<'a> {
        index: Int,
        delta: Message<'a>,
        finish_reason: Str<'a> = "finish_reason" | "finishReason",
        native_finish_reason: Str<'a>,
        content_filter_results: Raw<'a>,
    }

    struct Audio<'a> {
        data: Str<'a>,
        transcript: Str<'a>,
    }

    struct Groq<'a> {
        usage: Usage<'a>,
    }
}

impl Request<'_> {
    /// Everything but what is content.
    pub(super) fn apply(&self, ask: &mut Ask) {
        let request = &mut ask.request;
        request.model = self.model.boxed().or(request.model.take());
        request.stream = self.stream.0.or(request.stream);
        request.max_tokens = self.max_completion_tokens.0.or(self.max_tokens.0);
        request.temperature = self.temperature.0;
        request.top_p = self.top_p.0;
        request.top_k = self.top_k.0;
        request.frequency_penalty = self.frequency_penalty.0;
        request.presence_penalty = self.presence_penalty.0;
        request.stop_sequences = strings(self.stop);
        request.seed = self.seed.0;
        request.choice_count = self.n.0;
        request.reasoning_level = self.reasoning_effort.or(self.reasoning.effort).boxed();
        request.output_type = self.output_type();
        ask.attributes
            .text(attr::REQUEST_SERVICE_TIER, self.service_tier);
        ask.attributes.text(attr::END_USER, self.user);
        ask.attributes.text(attr::TOOL_CHOICE, self.tool_choice);
    }

    fn output_type(&self) -> Option<Name> {
        if self.modalities.iter().any(|m| m.key() == "audio") {
            return Some(Name::Borrowed("speech"));
        }
        match self.response_format.kind.key() {
            "json_object" | "json_schema" | "json" => Some(Name::Borrowed("json")),
            "text" => Some(Name::Borrowed("text")),
            _ => None,
        }
    }
}

impl Dialect for Chat {
    fn name(&self) -> &'static str {
        "openai.chat"
    }

    fn operation(&self) -> &'static str {
        "chat"
    }

    fn provider(&self) -> &'static str {
        super::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let request: Request<'_> = read(body);
        request.apply(ask);
        if ask.content {
            ask.request.messages = content::messages(request.messages);
            if let Some(prompt) = request.prompt.string().string() {
                ask.request.messages.push(user_message(Part::Text(prompt)));
            }
            ask.request.tools = content::tools(request.tools.or(request.functions));
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_, Choice<'_>> = read(body);
        response.apply(reply);
        for (place, choice) in response.choices.value.iter().enumerate() {
            let at = choice.index.index().unwrap_or(place);
            let reason = choice.finish_reason.or(choice.stop_reason);
            closing(at, reason, choice.native_finish_reason, reply);
            filtering(choice.content_filter_results, reply);
            choice.message.add_to(at, false, reply);
            if choice.message.content.is_some() || choice.message.role.is_some() {
                continue;
            }
            reply.text(at, None, choice.text);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let response: Response<'_, Piece<'_>> = match reply.start.known(event.data) {
            Some(known) => read_on(event.data, known, "choices"),
            None => read(event.data),
        };
        response.apply(reply);
        // What comes before the choices is said of the reply as a whole; to hear it once
        // is to hear it always.
        reply.start.note(event.data, response.choices.at);
        for piece in &response.choices.value {
            let at = piece.index.index().unwrap_or_default();
            closing(at, piece.finish_reason, piece.native_finish_reason, reply);
            filtering(piece.content_filter_results, reply);
            piece.delta.add_to(at, true, reply);
        }
    }
}

impl<C> Response<'_, C> {
    fn apply(&self, reply: &mut Reply) {
        reply.recognised |= !self.choices.value.is_empty();
        reply.set_id(self.id);
        reply.set_model(self.model);
        if self.usage.is_some() {
            self.usage.parse::<Usage<'_>>().apply(reply);
        }
        if self.x_groq.is_some() {
            let groq: Groq<'_> = self.x_groq.parse();
            reply.tokens.update(groq.usage.tokens());
        }
        reply
            .attributes
            .text(attr::RESPONSE_SERVICE_TIER, self.service_tier);
        reply
            .attributes
            .text(attr::SYSTEM_FINGERPRINT, self.system_fingerprint);
        reply.attributes.text(attr::SERVED_BY, self.provider);
        if let Some(failure) = error::member(self.error) {
            reply.fail(failure);
        }
    }
}

/// Why choice `at` ends, as OpenAI names it and as the upstream of a router does.
fn closing(at: usize, reason: Str<'_>, native: Str<'_>, reply: &mut Reply) {
    reply.finish(at, reason);
    if native.key() != reason.key() {
        reply.attributes.text(attr::NATIVE_FINISH_REASON, native);
    }
}

/// What Azure's content filter says of a choice.
fn filtering(results: Raw<'_>, reply: &mut Reply) {
    if let Some(kinds) = filtered(results) {
        reply.attributes.set(attr::CONTENT_FILTER, kinds);
    }
}

/// The categories in which Azure's content filter found something.
fn filtered(results: Raw<'_>) -> Option<Value> {
    if !results.text().contains("true") {
        return None;
    }
    let value = results.value()?;
    let kinds: Vec<Box<str>> = value
        .as_object()?
        .iter()
        .filter(|(_, v)| {
            ["filtered", "detected"]
                .iter()
                .any(|k| v.get(k) == Some(&true.into()))
        })
        .map(|(kind, _)| kind.as_str().into())
        .collect();
    (!kinds.is_empty()).then_some(Value::Strings(kinds))
}

impl Message<'_> {
    /// Adds a message, or the delta of one, to choice `at`.
    pub(super) fn add_to(&self, at: usize, delta: bool, reply: &mut Reply) {
        reply.role(at, self.role);
        reply.reasoning(at, None, self.reasoning_content.or(self.reasoning));
        if self.content.is_string() {
            reply.text(at, None, self.content.string());
        } else if self.content.is_list() {
            self.add_parts(at, reply);
        }
        reply.refusal(at, self.refusal);
        if self.audio.is_some() {
            let audio: Audio<'_> = self.audio.parse();
            reply.media(at, "audio", Str::default(), audio.data.key().len());
            reply.transcript(at, audio.transcript);
        }
        for call in &self.tool_calls {
            if delta {
                reply.tool(at, call.fragment());
            } else {
                reply.whole_tool(at, call.fragment());
            }
        }
        if self.function_call.name.is_some() || self.function_call.arguments.is_some() {
            reply.tool(
                at,
                ToolFragment {
                    key: Some(0),
                    ..self.function_call.fragment()
                },
            );
        }
    }

    /// Mistral's content in parts; each delta brings pieces of text or thought.
    fn add_parts(&self, at: usize, reply: &mut Reply) {
        for raw in &self.content.parse::<List<Raw<'_>>>() {
            let part: ContentPart<'_> = raw.parse();
            match part.kind.key() {
                "text" => reply.text(at, None, part.text),
                "thinking" if part.thinking.is_string() => {
                    reply.reasoning(at, None, part.thinking.string());
                }
                "thinking" => {
                    for chunk in &part.thinking.parse::<List<ContentPart<'_>>>() {
                        reply.reasoning(at, None, chunk.text);
                    }
                }
                _ => reply.part(at, None, || content::part(*raw)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Chat;
    use crate::llm::api::{Dialect, Event};
    use crate::llm::reply::Reply;

    /// What a reply of these events comes to; `alike`: they may begin alike.
    fn reply(events: &[&str], alike: bool) -> String {
        let mut reply = Reply::new(true);
        for data in events {
            if !alike {
                reply.start.forget();
            }
            if data.is_empty() {
                reply.gap();
            } else {
                Chat.event(&Event { name: None, data }, &mut reply);
            }
        }
        let counted = format!("{:?} {:?}", reply.usage(), reply.attributes);
        format!("{counted} {:?}", reply.into_response())
    }

    #[test]
    fn chunks_that_begin_alike_say_what_they_say_alone() {
        let cases: [&[&str]; 5] = [
            &[
                r#"{"id":"i","model":"m","choices":[{"delta":{"content":"a"}}],"usage":null}"#,
                r#"{"id":"i","model":"m","choices":[{"delta":{"content":"b"}}],"usage":null}"#,
                r#"{"id":"i","model":"m","choices":[],"usage":{"prompt_tokens":3}}"#,
            ],
            // The start changes, and changes back.
            &[
                r#"{"model":"m","service_tier":"a","choices":[{"delta":{"content":"a"}}]}"#,
                r#"{"model":"n","service_tier":"b","choices":[{"delta":{"content":"b"}}]}"#,
                r#"{"model":"m","service_tier":"a","choices":[{"delta":{"content":"c"}}]}"#,
            ],
            // A gap takes the counts away, and they are told again.
            &[
                r#"{"usage":{"prompt_tokens":3},"choices":[{"delta":{"content":"a"}}]}"#,
                "",
                r#"{"usage":{"prompt_tokens":3},"choices":[{"delta":{"content":"b"}}]}"#,
            ],
            // What is no list, nothing at all, and a chunk that is cut.
            &[
                r#"{"model":"m","choices": {"a":[]},"id":"i"}"#,
                r#"{"model":"m","choices": [{"delta":{"content":"a"}}],"id":"i"}"#,
                r#"{"model":"n"}"#,
                r#"{"model":"m","choices": [{"delta":{"content":"b"}}"#,
                r#"{"model":"m","choices": [{"delta":{"content":"c"}}]}"#,
            ],
            // A name that looks like the place.
            &[
                r#"{"model":"\"choices\":[","choices":[{"delta":{"content":"a"}}]}"#,
                r#"{"model":"\"choices\":[","choices":[{"delta":{"content":"b"}}]}"#,
            ],
        ];
        for events in cases {
            assert_eq!(reply(events, true), reply(events, false), "{events:?}");
        }
        assert!(reply(cases[0], true).contains("ab"));
    }
}
