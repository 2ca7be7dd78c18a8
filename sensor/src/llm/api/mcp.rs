//! Model Context Protocol: JSON-RPC over streamable HTTP, over HTTP with SSE, or over pipes.

use super::{Ask, Dialect, Event};
use crate::llm::attr;
use crate::llm::call::TraceContext;
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Raw, Str, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(in crate::llm) struct Mcp;

wire! {
    pub(in crate::llm) struct Request<'a> {
        jsonrpc: Str<'a>,
        method: Str<'a>,
        id: Raw<'a>,
        params: Params<'a>,
    }

    struct Params<'a> {
        /// Of a task of Agent2Agent, which has methods of the same names.
        id: Str<'a>,
        name: Str<'a>,
        uri: Str<'a>,
        arguments: Raw<'a>,
        client: Software<'a> = "clientInfo",
        meta: Meta<'a> = "_meta",
    }

    struct Meta<'a> {
        version: Str<'a> = "io.modelcontextprotocol/protocolVersion",
        client: Software<'a> = "io.modelcontextprotocol/clientInfo",
        server: Software<'a> = "io.modelcontextprotocol/serverInfo",
        traceparent: Str<'a>,
        tracestate: Str<'a>,
    }

    struct Software<'a> {
        name: Str<'a>,
        version: Str<'a>,
    }

    struct Message<'a> {
        method: Str<'a>,
        result: Raw<'a>,
        error: RpcError<'a>,
    }

    struct RpcError<'a> {
        code: Int,
        message: Str<'a>,
    }

    struct Outcome<'a> {
        is_error: Bool = "isError",
        version: Str<'a> = "protocolVersion",
        content: Raw<'a>,
        structured: Raw<'a> = "structuredContent",
        server: Software<'a> = "serverInfo",
        meta: Meta<'a> = "_meta",
    }
}

/// What methods of the protocol begin with.
const AREAS: [&str; 14] = [
    "initialize",
    "ping",
    "tools/",
    "prompts/",
    "resources/",
    "completion/",
    "logging/",
    "sampling/",
    "elicitation/",
    "roots/",
    "notifications/",
    "tasks/",
    "server/",
    "subscriptions/",
];

impl Meta<'_> {
    fn context(&self) -> Option<TraceContext> {
        let context = TraceContext::parse(self.traceparent.key())?;
        Some(context.with_state(self.tracestate.key()))
    }
}

impl Request<'_> {
    /// Whether this is a request of the protocol, not of another that uses JSON-RPC.
    pub(in crate::llm) fn is_mcp(&self) -> bool {
        let method = self.method.key();
        let of_another = method.starts_with("tasks/") && self.params.id.is_some();
        self.jsonrpc.key() == "2.0"
            && !of_another
            && AREAS.iter().any(|area| match area.strip_suffix('/') {
                Some(_) => method.starts_with(area),
                None => method == *area,
            })
    }
}

impl Dialect for Mcp {
    fn name(&self) -> &'static str {
        "mcp"
    }

    fn operation(&self) -> &'static str {
        "mcp"
    }

    fn provider(&self) -> &'static str {
        "mcp"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let batch: List<Request<'_>> = Raw::of(body.trim_start()).one_or_many();
        let Some(asked) = batch.first() else {
            return;
        };
        let params = &asked.params;
        let method = asked.method.key();
        let attributes = &mut ask.attributes;
        attributes.text(attr::MCP_METHOD, asked.method);
        attributes.text(attr::RPC_REQUEST_ID, asked.id.string());
        // What is proposed in a handshake is not in force before the answer.
        attributes.text(attr::MCP_PROTOCOL, params.meta.version);
        attributes.text(attr::MCP_RESOURCE, params.uri);
        let client = &params.meta.client;
        attributes.text(attr::MCP_CLIENT_NAME, client.name.or(params.client.name));
        let version = client.version.or(params.client.version);
        attributes.text(attr::MCP_CLIENT_VERSION, version);
        ask.context = params.meta.context();
        if method == "tools/call" {
            ask.operation = Some("execute_tool");
            attributes.text(attr::TOOL_NAME, params.name);
            if ask.content {
                attributes.content(attr::TOOL_ARGUMENTS, params.arguments);
            }
        } else if method.starts_with("prompts/") {
            attributes.text(attr::PROMPT_NAME, params.name);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        for message in &Raw::of(body.trim_start()).one_or_many::<Message<'_>>() {
            message.apply(reply);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}

impl Message<'_> {
    fn apply(&self, reply: &mut Reply) {
        // What the server asks or announces before it answers.
        if self.method.is_some() {
            return;
        }
        if self.error.code.0.is_some() {
            let code = self.error.code.0.unwrap_or_default().to_string();
            reply.attributes.text(attr::RPC_STATUS, Str::plain(&code));
            reply.fail(error::failure(Str::plain(&code), self.error.message));
        }
        if !self.result.is_some() {
            return;
        }
        reply.recognised = true;
        reply.ended = true;
        reply.progressed();
        let outcome: Outcome<'_> = self.result.parse();
        let attributes = &mut reply.attributes;
        attributes.text(attr::MCP_PROTOCOL, outcome.version);
        let server = &outcome.meta.server;
        attributes.text(attr::MCP_SERVER_NAME, server.name.or(outcome.server.name));
        let version = server.version.or(outcome.server.version);
        attributes.text(attr::MCP_SERVER_VERSION, version);
        if outcome.is_error.0 == Some(true) {
            reply.fail(error::failure(Str::plain("tool_error"), Str::default()));
        }
        if reply.keeps_content() {
            let result = outcome.structured.or(outcome.content);
            reply.attributes.content(attr::TOOL_RESULT, result);
        }
    }
}
