//! Gemini's Live API: `BidiGenerateContent`.

use super::{Conversation, Effect, Setup};
use crate::llm::api::google::UNKNOWN;
use crate::llm::api::google::content::{self, Call, Content};
use crate::llm::api::google::generate::{Config, Usage};
use crate::llm::api::{Ask, Dialect, Event, user_message};
use crate::llm::call::{ChatMessage, Name, Part};
use crate::llm::json::{Bool, List, Raw, Str, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(super) struct Live;

wire! {
    struct ClientMessage<'a> {
        setup: Raw<'a>,
        content: ClientContent<'a> = "clientContent" | "client_content",
        realtime: RealtimeInput<'a> = "realtimeInput" | "realtime_input",
        tools: ToolResponse<'a> = "toolResponse" | "tool_response",
    }

    struct LiveSetup<'a> {
        model: Str<'a>,
        config: Config<'a> = "generationConfig" | "generation_config",
        system: Raw<'a> = "systemInstruction" | "system_instruction",
        tools: Raw<'a>,
    }

    struct ClientContent<'a> {
        turns: Raw<'a>,
        complete: Bool = "turnComplete" | "turn_complete",
    }

    struct RealtimeInput<'a> {
        text: Str<'a>,
        ended: Raw<'a> = "activityEnd" | "activity_end" | "audioStreamEnd" | "audio_stream_end",
    }

    struct ToolResponse<'a> {
        responses: List<FunctionResponse<'a>> = "functionResponses" | "function_responses",
    }

    struct FunctionResponse<'a> {
        id: Str<'a>,
        name: Str<'a>,
        response: Raw<'a>,
    }

    struct ServerMessage<'a> {
        content: ServerContent<'a> = "serverContent" | "server_content",
        tool_call: ToolCall<'a> = "toolCall" | "tool_call",
        usage: Usage<'a> = "usageMetadata" | "usage_metadata",
    }

    struct ServerContent<'a> {
        turn: Content<'a> = "modelTurn" | "model_turn",
        complete: Bool = "turnComplete" | "turn_complete",
        generated: Bool = "generationComplete" | "generation_complete",
        interrupted: Bool,
        heard: Transcript<'a> = "inputTranscription" | "input_transcription",
        spoken: Transcript<'a> = "outputTranscription" | "output_transcription",
        reason: Str<'a> = "turnCompleteReason" | "turn_complete_reason",
    }

    struct Transcript<'a> {
        text: Str<'a>,
    }

    struct ToolCall<'a> {
        calls: List<Call<'a>> = "functionCalls" | "function_calls",
    }
}

impl Conversation for Live {
    fn dialect(&self) -> &'static dyn Dialect {
        &Self
    }

    fn client(&self, text: &str, setup: &mut Setup) -> Effect {
        let message: ClientMessage<'_> = read(text);
        if message.setup.is_some() {
            self.request(message.setup.text(), &mut setup.ask);
            return Effect::None;
        }
        if message.content.turns.is_some() && setup.ask.content {
            for turn in content::messages(message.content.turns) {
                setup.say(turn);
            }
        }
        if let Some(text) = message.realtime.text.string() {
            setup.say(user_message(Part::Text(text)));
        }
        for answer in &message.tools.responses {
            setup.say(answer.message());
        }
        if message.content.complete.0 == Some(true) || !message.tools.responses.is_empty() {
            Effect::Ask
        } else if message.realtime.ended.is_some() || message.realtime.text.is_some() {
            Effect::Spoken
        } else {
            Effect::None
        }
    }

    fn server(&self, text: &str, setup: &mut Setup) -> Effect {
        let message: ServerMessage<'_> = read(text);
        let content = &message.content;
        if let Some(heard) = content.heard.text.string() {
            setup.say(user_message(Part::Text(heard)));
        }
        let replies = !content.turn.parts.is_empty()
            || content.spoken.text.is_some()
            || content.generated.0.is_some()
            || !message.tool_call.calls.is_empty();
        if content.complete.0 == Some(true) {
            Effect::End
        } else if replies {
            Effect::Reply
        } else {
            Effect::None
        }
    }
}

impl FunctionResponse<'_> {
    fn message(&self) -> ChatMessage {
        ChatMessage {
            role: Name::Borrowed("tool"),
            parts: vec![Part::ToolCallResponse {
                id: self.id.or(self.name).boxed(),
                response: self.response.value().unwrap_or_default(),
            }],
            ..ChatMessage::default()
        }
    }
}

impl Dialect for Live {
    fn name(&self) -> &'static str {
        "realtime.websocket"
    }

    fn operation(&self) -> &'static str {
        "realtime"
    }

    fn provider(&self) -> &'static str {
        UNKNOWN
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: LiveSetup<'_> = read(body);
        asked.config.apply(ask);
        ask.request.model = asked.model.boxed();
        if ask.content {
            ask.request.system = content::parts(asked.system);
            ask.request.tools = content::tools(asked.tools);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let message: ServerMessage<'_> = read(body);
        let content = &message.content;
        reply.recognised = true;
        content.turn.add_to(0, reply);
        reply.transcript(0, content.spoken.text);
        for call in &message.tool_call.calls {
            reply.whole_tool(0, call.fragment());
        }
        reply.tokens.update(message.usage.tokens());
        message.usage.extras(&mut reply.attributes);
        reply.finish(0, content.reason);
        if content.interrupted.0 == Some(true) {
            reply.finish(0, Str::plain("interrupted"));
        }
        reply.ended |= content.complete.0 == Some(true);
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}
