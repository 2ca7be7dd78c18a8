//! Assistants: runs of a thread.

use super::content;
use super::usage::Usage;
use crate::llm::api::{Ask, Dialect, Event};
use crate::llm::attr;
use crate::llm::call::Part;
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::{Reply, ToolFragment};

#[derive(Debug)]
pub(in crate::llm::api) struct Assistants;

wire! {
    struct Request<'a> {
        assistant: Str<'a> = "assistant_id",
        model: Str<'a>,
        stream: Bool,
        instructions: Str<'a>,
        messages: Raw<'a> = "additional_messages" | "messages",
        thread: Thread<'a>,
        tools: Raw<'a>,
        temperature: Num,
        top_p: Num,
        max_tokens: Int = "max_completion_tokens",
        effort: Str<'a> = "reasoning_effort",
    }

    struct Thread<'a> {
        messages: Raw<'a>,
    }

    /// A run, a message, or the delta of either: events are named after what they hold.
    struct Object<'a> {
        object: Str<'a>,
        id: Str<'a>,
        model: Str<'a>,
        status: Str<'a>,
        assistant: Str<'a> = "assistant_id",
        thread: Str<'a> = "thread_id",
        usage: Usage<'a>,
        last_error: Raw<'a> = "last_error" | "error",
        required_action: Action<'a>,
        delta: Delta<'a>,
    }

    struct Action<'a> {
        submit: Submit<'a> = "submit_tool_outputs",
    }

    struct Submit<'a> {
        calls: List<content::ToolCall<'a>> = "tool_calls",
    }

    struct Delta<'a> {
        content: List<Piece<'a>>,
    }

    struct Piece<'a> {
        index: Int,
        text: Text<'a>,
    }

    struct Text<'a> {
        value: Str<'a>,
    }
}

impl Dialect for Assistants {
    fn name(&self) -> &'static str {
        "openai.assistants"
    }

    fn operation(&self) -> &'static str {
        "invoke_agent"
    }

    fn provider(&self) -> &'static str {
        super::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        request.model = asked.model.boxed();
        request.stream = asked.stream.0;
        request.temperature = asked.temperature.0;
        request.top_p = asked.top_p.0;
        request.max_tokens = asked.max_tokens.0;
        request.reasoning_level = asked.effort.boxed();
        ask.attributes.text(attr::AGENT_ID, asked.assistant);
        if ask.content {
            request
                .system
                .extend(asked.instructions.string().map(Part::Text));
            request.messages = content::messages(asked.messages.or(asked.thread.messages));
            request.tools = content::tools(asked.tools);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        read::<Object<'_>>(body).run(reply);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: Object<'_> = read(event.data);
        match told.object.key() {
            "thread.run" => told.run(reply),
            "thread.message.delta" => {
                for piece in &told.delta.content {
                    reply.text(0, piece.index.count(), piece.text.value);
                }
            }
            _ => {}
        }
    }
}

impl Object<'_> {
    fn run(&self, reply: &mut Reply) {
        reply.recognised |= self.object.key() == "thread.run";
        reply.set_id(self.id);
        reply.set_model(self.model);
        reply.finish(0, self.status);
        reply.tokens.update(self.usage.tokens());
        if let Some(thread) = self.thread.boxed() {
            reply.conversation_id = Some(thread);
        }
        reply.attributes.text(attr::AGENT_ID, self.assistant);
        for call in &self.required_action.submit.calls {
            reply.whole_tool(
                0,
                ToolFragment {
                    key: None,
                    ..call.fragment()
                },
            );
        }
        if let Some(failure) = error::member(self.last_error) {
            reply.fail(failure);
        }
    }
}
