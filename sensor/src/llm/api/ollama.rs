//! Ollama's own API: `/api/chat`, `/api/generate`, `/api/embed`, `/api/embeddings`.

use super::openai::content;
use super::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::{Name, Part};
use crate::llm::error;
use crate::llm::json::{Bool, Int, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(super) struct Chat;

#[derive(Debug)]
pub(super) struct Generate;

#[derive(Debug)]
pub(super) struct Embed;

wire! {
    struct Request<'a> {
        model: Str<'a> = "model" | "name",
        stream: Bool,
        messages: Raw<'a>,
        prompt: Raw<'a> = "prompt" | "input",
        system: Str<'a>,
        tools: Raw<'a>,
        format: Raw<'a>,
        think: Raw<'a>,
        dimensions: Int,
        options: RunOptions<'a>,
    }

    struct RunOptions<'a> {
        max_tokens: Int = "num_predict",
        temperature: Num,
        top_p: Num,
        top_k: Num,
        frequency_penalty: Num,
        presence_penalty: Num,
        seed: Int,
        stop: Raw<'a>,
    }

    struct Response<'a> {
        model: Str<'a>,
        message: Message<'a>,
        response: Str<'a>,
        thinking: Str<'a>,
        embedding: Raw<'a> = "embedding" | "embeddings",
        done: Bool,
        done_reason: Str<'a>,
        prompt_eval_count: Int,
        eval_count: Int,
        error: Raw<'a>,
    }

    struct Message<'a> {
        role: Str<'a>,
        content: Str<'a>,
        thinking: Str<'a>,
        tool_calls: Raw<'a>,
    }
}

impl Request<'_> {
    fn apply(&self, ask: &mut Ask) {
        let request = &mut ask.request;
        request.model = self.model.boxed();
        request.max_tokens = self.options.max_tokens.0;
        request.temperature = self.options.temperature.0;
        request.top_p = self.options.top_p.0;
        request.top_k = self.options.top_k.0;
        request.frequency_penalty = self.options.frequency_penalty.0;
        request.presence_penalty = self.options.presence_penalty.0;
        request.seed = self.options.seed.0;
        request.stop_sequences = strings(self.options.stop);
        request.embedding_dimensions = self.dimensions.0;
        let json = self.format.is_object() || self.format.string().key() == "json";
        request.output_type = json.then_some(Name::Borrowed("json"));
        request.reasoning_level = match self.think.text() {
            "true" => Some("true".into()),
            "false" => Some("none".into()),
            _ => self.think.string().boxed(),
        };
        if ask.content {
            request.system.extend(
                self.system
                    .string()
                    .filter(|t| !t.is_empty())
                    .map(Part::Text),
            );
            request.messages = content::messages(self.messages);
            let prompts = strings(self.prompt).into_iter();
            request
                .messages
                .extend(prompts.map(|text| user_message(Part::Text(text.into()))));
            request.tools = content::tools(self.tools);
        }
    }
}

impl Response<'_> {
    fn apply(&self, reply: &mut Reply) {
        reply.recognised |= self.done.0.is_some() || self.embedding.is_list();
        reply.set_model(self.model);
        reply.role(0, self.message.role);
        reply.reasoning(0, None, self.message.thinking.or(self.thinking));
        reply.text(0, None, self.message.content.or(self.response));
        for call in &self
            .message
            .tool_calls
            .one_or_many::<content::ToolCall<'_>>()
        {
            reply.whole_tool(0, call.fragment());
        }
        reply.finish(0, self.done_reason);
        reply.tokens.update(Tokens {
            input: self.prompt_eval_count.count(),
            output: self.eval_count.count(),
            ..Tokens::default()
        });
        reply.ended |= self.done.0 == Some(true);
        if let Some(failure) = error::member(self.error) {
            reply.fail(failure);
        }
    }
}

/// The three APIs differ in nothing but their names and whether they stream unasked.
macro_rules! dialect {
    ($dialect:ty, $name:literal, $operation:literal, $streams:literal) => {
        impl Dialect for $dialect {
            fn name(&self) -> &'static str {
                $name
            }

            fn operation(&self) -> &'static str {
                $operation
            }

            fn provider(&self) -> &'static str {
                "ollama"
            }

            fn request(&self, body: &str, ask: &mut Ask) {
                let asked: Request<'_> = read(body);
                asked.apply(ask);
                ask.request.stream = asked.stream.0.or(if $streams { Some(true) } else { None });
            }

            fn whole(&self, body: &str, reply: &mut Reply) {
                read::<Response<'_>>(body).apply(reply);
            }

            fn event(&self, event: &Event<'_>, reply: &mut Reply) {
                self.whole(event.data, reply);
            }
        }
    };
}

dialect!(Chat, "ollama.chat", "chat", true);
dialect!(Generate, "ollama.generate", "text_completion", true);
dialect!(Embed, "ollama.embed", "embeddings", false);
