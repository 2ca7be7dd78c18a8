//! xAI's gRPC API, `xai_api.Chat` foremost.
//!
//! Its requests are those of Chat Completions under numbers instead of names; its replies
//! are shaped otherwise.

use super::openai::chat;
use super::openai::content::Definition;
use super::openai::usage::Usage;
use super::{Ask, Dialect, Event, media};
use crate::llm::attr;
use crate::llm::call::JsonText;
use crate::llm::json::{Int, List, Raw, Str, read, wire};
use crate::llm::reply::{Reply, ToolFragment};
use crate::llm::usage::Tokens;

pub(super) mod schema;

#[derive(Debug)]
pub(super) struct Chat;

wire! {
    struct Request<'a> {
        previous: Str<'a> = "previous_response_id",
        tools: List<Raw<'a>>,
    }

    struct Response<'a> {
        id: Str<'a>,
        model: Str<'a>,
        outputs: List<Output<'a>>,
        usage: Usage<'a>,
        service_tier: Str<'a>,
        system_fingerprint: Str<'a>,
    }

    struct Output<'a> {
        index: Int,
        finish_reason: Str<'a>,
        message: Message<'a> = "message" | "delta",
    }

    struct Message<'a> {
        role: Str<'a>,
        content: Str<'a>,
        reasoning: Str<'a> = "reasoning_content",
        tool_calls: List<Raw<'a>>,
    }

    struct ToolCall<'a> {
        id: Str<'a>,
        kind: Str<'a> = "type",
        status: Str<'a>,
        function: Function<'a>,
    }

    struct Function<'a> {
        name: Str<'a>,
        arguments: Raw<'a>,
    }
}

impl Dialect for Chat {
    fn name(&self) -> &'static str {
        "xai.grpc"
    }

    fn operation(&self) -> &'static str {
        "chat"
    }

    fn provider(&self) -> &'static str {
        "x_ai"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        chat::Chat.request(body, ask);
        let asked: Request<'_> = read(body);
        ask.attributes
            .text(attr::PREVIOUS_RESPONSE_ID, asked.previous);
        if ask.content {
            let tools = asked.tools.iter().filter_map(|tool| tool_of_xai(*tool));
            ask.request.tools.extend(tools);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= !response.outputs.is_empty();
        reply.set_id(response.id);
        reply.set_model(response.model);
        reply.tokens.update(Tokens {
            reasoning_is_apart: true,
            ..response.usage.tokens()
        });
        response.usage.extras(&mut reply.attributes);
        let attributes = &mut reply.attributes;
        attributes.text(attr::SERVICE_TIER, response.service_tier);
        attributes.text(attr::SYSTEM_FINGERPRINT, response.system_fingerprint);
        for output in &response.outputs {
            output.add_to(reply);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}

/// A tool that xAI runs itself: `{"web_search": {…}}` and the like.
fn tool_of_xai(tool: Raw<'_>) -> Option<JsonText> {
    let tool = tool.value()?;
    let kind = tool.as_object()?.keys().next()?;
    Definition::named(kind)
        .value(kind)
        .filter(|_| kind != "function")
}

impl Output<'_> {
    fn add_to(&self, reply: &mut Reply) {
        let at = self.index.index().unwrap_or_default();
        reply.role(at, self.message.role);
        reply.finish(at, self.finish_reason);
        reply.reasoning(at, None, self.message.reasoning);
        reply.text(at, None, self.message.content);
        for raw in &self.message.tool_calls {
            let call: ToolCall<'_> = raw.parse();
            match call.kind.key() {
                // Each comes whole, in a stream too.
                "" | "function" => reply.whole_tool(at, call.fragment()),
                // Told when it begins and when it is done.
                _ if call.status.is_empty() => {}
                kind => reply.part(at, None, || media::other(kind, *raw)),
            }
        }
    }
}

impl<'a> ToolCall<'a> {
    fn fragment(&self) -> ToolFragment<'a> {
        ToolFragment {
            id: self.id,
            name: self.function.name,
            arguments: self.function.arguments,
            ..ToolFragment::default()
        }
    }
}
