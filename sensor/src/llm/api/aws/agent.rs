//! Agents: `POST /agents/{id}/agentAliases/{alias}/sessions/{session}/text`,
//! InvokeInlineAgent, and RetrieveAndGenerate.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::llm::api::{Ask, Dialect, Event, user_message};
use crate::llm::attr;
use crate::llm::call::Part;
use crate::llm::json::{Raw, Str, read, wire};
use crate::llm::reply::{Reply, ToolFragment};
use crate::llm::text::text;

#[derive(Debug)]
pub(in crate::llm::api) struct Agent;

wire! {
    struct Request<'a> {
        text: Str<'a> = "inputText",
        input: Input<'a>,
        model: Str<'a> = "foundationModel",
        name: Str<'a> = "agentName",
        session: Str<'a> = "sessionId",
        retrieve: Retrieve<'a> = "retrieveAndGenerateConfiguration",
    }

    struct Input<'a> {
        text: Str<'a>,
    }

    struct Retrieve<'a> {
        knowledge_base: KnowledgeBase<'a> = "knowledgeBaseConfiguration",
    }

    struct KnowledgeBase<'a> {
        id: Str<'a> = "knowledgeBaseId",
        model: Str<'a> = "modelArn",
    }

    struct Response<'a> {
        output: Input<'a>,
        session: Str<'a> = "sessionId",
        guardrail: Str<'a> = "guardrailAction",
    }

    /// Every type of event: a chunk of text, a call of a tool, a trace, a file.
    struct StreamEvent<'a> {
        bytes: Str<'a>,
        invocation: Str<'a> = "invocationId",
        inputs: Raw<'a> = "invocationInputs",
        session: Str<'a> = "sessionId",
    }

    struct Invocation<'a> {
        function: Function<'a> = "functionInvocationInput",
        api: Api<'a> = "apiInvocationInput",
    }

    struct Function<'a> {
        name: Str<'a> = "function",
        parameters: Raw<'a>,
    }

    struct Api<'a> {
        path: Str<'a> = "apiPath",
        parameters: Raw<'a>,
    }
}

impl Dialect for Agent {
    fn name(&self) -> &'static str {
        "bedrock.agent"
    }

    fn operation(&self) -> &'static str {
        "invoke_agent"
    }

    fn provider(&self) -> &'static str {
        super::BEDROCK
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let base = &asked.retrieve.knowledge_base;
        ask.request.model = asked.model.or(base.model).boxed();
        if let Some(session) = asked.session.boxed() {
            ask.request.conversation_id = Some(session);
        }
        ask.attributes.text(attr::AGENT_NAME, asked.name);
        ask.attributes.text(attr::KNOWLEDGE_BASE_ID, base.id);
        if ask.content {
            let text = asked.text.or(asked.input.text).string();
            ask.request
                .messages
                .extend(text.map(|text| user_message(Part::Text(text))));
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.text(0, None, response.output.text);
        reply.conversation_id = response.session.boxed();
        reply
            .attributes
            .text(attr::GUARDRAIL_ACTION, response.guardrail);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: StreamEvent<'_> = read(event.data);
        reply.recognised = true;
        if let Some(session) = told.session.boxed() {
            reply.conversation_id = Some(session);
        }
        match event.name {
            Some("chunk") | None => {
                let bytes = BASE64_STANDARD.decode(told.bytes.key()).unwrap_or_default();
                reply.plain_text(0, &text(&bytes));
            }
            Some("returnControl") => {
                for call in &told.inputs.one_or_many::<Invocation<'_>>() {
                    reply.whole_tool(
                        0,
                        ToolFragment {
                            key: None,
                            id: told.invocation,
                            name: call.function.name.or(call.api.path),
                            arguments: call.function.parameters.or(call.api.parameters),
                        },
                    );
                }
            }
            Some(_) => {}
        }
    }
}
