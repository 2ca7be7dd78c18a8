//! Items of the Responses API: what goes in and what comes out.

use super::content;
use crate::llm::api::media;
use crate::llm::call::{ChatMessage, Name, Part};
use crate::llm::json::{List, Raw, Str, wire};
use crate::llm::reply::{Reply, ToolFragment};

wire! {
    pub(in crate::llm::api) struct Item<'a> {
        pub(in crate::llm::api) kind: Str<'a> = "type",
        role: Str<'a>,
        content: Raw<'a>,
        summary: Raw<'a>,
        id: Str<'a>,
        call_id: Str<'a>,
        name: Str<'a>,
        arguments: Raw<'a> = "arguments" | "input",
        action: Raw<'a>,
        output: Raw<'a>,
        environment: Environment<'a>,
    }

    /// Where a command is to run.
    struct Environment<'a> {
        kind: Str<'a> = "type",
    }

    struct Piece<'a> {
        kind: Str<'a> = "type",
        text: Str<'a>,
        refusal: Str<'a>,
        transcript: Str<'a>,
    }
}

/// What an item is to a call.
enum Kind {
    Message,
    Reasoning,
    /// A tool that the client is to run.
    ToolCall,
    /// What the client's tool gave.
    ToolOutput,
    /// A tool that the provider ran, or another thing that has no place in a schema.
    Other,
}

impl<'a> Item<'a> {
    fn what(&self) -> Kind {
        match self.kind.key() {
            "message" => Kind::Message,
            "" if self.content.is_some() => Kind::Message,
            "reasoning" => Kind::Reasoning,
            "function_call" | "custom_tool_call" | "local_shell_call" | "computer_call"
            | "apply_patch_call" => Kind::ToolCall,
            "shell_call" if !self.environment.kind.key().starts_with("container") => Kind::ToolCall,
            "function_call_output"
            | "custom_tool_call_output"
            | "local_shell_call_output"
            | "computer_call_output"
            | "apply_patch_call_output"
            | "shell_call_output" => Kind::ToolOutput,
            _ => Kind::Other,
        }
    }

    /// The call of a client's tool; one that has no name is named after its kind.
    pub(super) fn tool_call(&self) -> Option<ToolFragment<'a>> {
        matches!(self.what(), Kind::ToolCall).then(|| ToolFragment {
            key: None,
            id: self.call_id.or(self.id),
            name: self
                .name
                .or(Str::plain(self.kind.key().trim_end_matches("_call"))),
            arguments: self.arguments.or(self.action),
        })
    }

    /// This item as a message of a request.
    pub(in crate::llm::api) fn message(&self, raw: Raw<'_>) -> ChatMessage {
        let mut parts = Vec::new();
        let role = match self.what() {
            Kind::Message => {
                content::parts(self.content, &mut parts);
                content::role(self.role)
            }
            Kind::Reasoning => {
                for list in [self.summary, self.content] {
                    let pieces: List<Piece<'_>> = list.one_or_many();
                    parts.extend(
                        pieces
                            .iter()
                            .filter_map(|p| p.text.string().map(Part::Reasoning)),
                    );
                }
                Name::Borrowed("assistant")
            }
            Kind::ToolCall => {
                parts.extend(self.tool_call().map(ToolFragment::into_part));
                Name::Borrowed("assistant")
            }
            Kind::ToolOutput => {
                parts.push(Part::ToolCallResponse {
                    id: self.call_id.boxed(),
                    response: self.output.value().unwrap_or_default(),
                });
                Name::Borrowed("tool")
            }
            Kind::Other => {
                parts.extend(media::other(self.kind.key(), raw));
                Name::Borrowed("assistant")
            }
        };
        ChatMessage {
            role,
            parts,
            ..ChatMessage::default()
        }
    }

    /// Adds this item of a reply, which stands at `place` of its output.
    pub(super) fn add_to(&self, place: u64, raw: Raw<'_>, reply: &mut Reply) {
        match self.what() {
            Kind::Message => {
                reply.role(0, self.role);
                for piece in &self.content.one_or_many::<Piece<'_>>() {
                    match piece.kind.key() {
                        "refusal" => reply.refusal(0, piece.refusal),
                        "audio" | "output_audio" => reply.transcript(0, piece.transcript),
                        _ => reply.text(0, Some(place), piece.text),
                    }
                }
            }
            Kind::Reasoning => {
                for list in [self.summary, self.content] {
                    for piece in &list.one_or_many::<Piece<'_>>() {
                        reply.reasoning(0, Some(place), piece.text);
                    }
                }
            }
            Kind::ToolCall => {
                let call = self.tool_call().unwrap_or_default();
                reply.whole_tool(
                    0,
                    ToolFragment {
                        key: Some(place),
                        ..call
                    },
                );
            }
            Kind::ToolOutput | Kind::Other => {
                reply.part(0, Some(place), || media::other(self.kind.key(), raw));
            }
        }
    }
}

/// The messages of an `input`: a string, or items. Calls that stand side by side are
/// one message.
pub(super) fn messages(input: Raw<'_>) -> Vec<ChatMessage> {
    if input.is_string() {
        let text = input.string().string().unwrap_or_default();
        return vec![crate::llm::api::user_message(Part::Text(text))];
    }
    let list: List<Raw<'_>> = input.one_or_many();
    let mut messages: Vec<ChatMessage> = Vec::new();
    let mut previous_is_call = false;
    for raw in &list {
        let item: Item<'_> = raw.parse();
        let mut message = item.message(*raw);
        let is_call = matches!(item.what(), Kind::ToolCall);
        match messages.last_mut() {
            Some(last) if is_call && previous_is_call => last.parts.append(&mut message.parts),
            _ => messages.push(message),
        }
        previous_is_call = is_call;
    }
    messages
}
