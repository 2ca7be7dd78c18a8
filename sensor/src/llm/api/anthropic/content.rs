//! Content blocks of the Messages API.

use crate::llm::api::media;
use crate::llm::api::openai::content::role;
use crate::llm::call::{ChatMessage, Name, Part};
use crate::llm::json::{List, Raw, Str, wire};
use crate::llm::reply::{Reply, ToolFragment};

wire! {
    pub(super) struct Block<'a> {
        kind: Str<'a> = "type",
        text: Str<'a>,
        thinking: Str<'a>,
        id: Str<'a>,
        name: Str<'a>,
        input: Raw<'a>,
        tool_use_id: Str<'a>,
        content: Raw<'a>,
        source: Source<'a>,
    }

    struct Source<'a> {
        kind: Str<'a> = "type",
        media_type: Str<'a>,
        data: Str<'a>,
        url: Str<'a>,
        file_id: Str<'a>,
    }

    struct Message<'a> {
        role: Str<'a>,
        content: Raw<'a>,
    }

    /// What is new of a block, or of the message.
    pub(super) struct Delta<'a> {
        kind: Str<'a> = "type",
        text: Str<'a>,
        thinking: Str<'a>,
        partial_json: Raw<'a>,
        pub(super) stop_reason: Str<'a>,
        pub(super) stop_sequence: Str<'a>,
    }
}

/// The messages of a request. What a user's message says of tools is a message of
/// its own.
pub(super) fn messages(list: Raw<'_>) -> Vec<ChatMessage> {
    let list: List<Message<'_>> = list.one_or_many();
    let mut messages = Vec::new();
    for message in &list {
        let (answers, rest): (Vec<Part>, Vec<Part>) = parts(message.content)
            .into_iter()
            .partition(|part| matches!(part, Part::ToolCallResponse { .. }));
        let none_at_all = answers.is_empty();
        if !none_at_all {
            messages.push(ChatMessage {
                role: Name::Borrowed("tool"),
                parts: answers,
                ..ChatMessage::default()
            });
        }
        if none_at_all || !rest.is_empty() {
            messages.push(ChatMessage {
                role: role(message.role),
                parts: rest,
                ..ChatMessage::default()
            });
        }
    }
    messages
}

/// The parts of a `content` or `system` that is a string or a list of blocks.
pub(super) fn parts(content: Raw<'_>) -> Vec<Part> {
    if content.is_string() {
        return content
            .string()
            .string()
            .map(Part::Text)
            .into_iter()
            .collect();
    }
    let blocks: List<Raw<'_>> = content.one_or_many();
    blocks
        .iter()
        .filter_map(|raw| raw.parse::<Block<'_>>().part(*raw))
        .collect()
}

impl Block<'_> {
    fn part(&self, raw: Raw<'_>) -> Option<Part> {
        match self.kind.key() {
            "text" => self.text.string().map(Part::Text),
            "thinking" => self.thinking.string().map(Part::Reasoning),
            "tool_use" => Some(self.call().into_part()),
            "tool_result" => Some(Part::ToolCallResponse {
                id: self.tool_use_id.boxed(),
                response: answer(self.content),
            }),
            "image" => self.source.part("image"),
            "document" => self.source.part("document"),
            kind => media::other(kind, raw),
        }
    }

    fn call(&self) -> ToolFragment<'_> {
        ToolFragment {
            key: None,
            id: self.id,
            name: self.name,
            arguments: self.input,
        }
    }

    /// Adds a block of a reply that comes whole.
    pub(super) fn add_to(&self, place: u64, raw: Raw<'_>, reply: &mut Reply) {
        let key = Some(place);
        match self.kind.key() {
            "text" => reply.text(0, key, self.text),
            "thinking" => reply.reasoning(0, key, self.thinking),
            "tool_use" => reply.whole_tool(0, ToolFragment { key, ..self.call() }),
            kind => reply.part(0, key, || media::other(kind, raw)),
        }
    }

    /// Adds a block whose content is to follow; what it holds already is empty or a
    /// beginning.
    pub(super) fn begin(&self, place: u64, raw: Raw<'_>, reply: &mut Reply) {
        if self.kind.key() != "tool_use" {
            return self.add_to(place, raw, reply);
        }
        let arguments = if self.input.text().len() > 2 {
            self.input
        } else {
            Raw::default()
        };
        reply.tool(
            0,
            ToolFragment {
                key: Some(place),
                arguments,
                ..self.call()
            },
        );
    }
}

impl Delta<'_> {
    pub(super) fn add_to(&self, place: u64, reply: &mut Reply) {
        let key = Some(place);
        match self.kind.key() {
            "text_delta" => reply.text(0, key, self.text),
            "thinking_delta" => reply.reasoning(0, key, self.thinking),
            "input_json_delta" => {
                let arguments = self.partial_json;
                reply.tool(
                    0,
                    ToolFragment {
                        key,
                        arguments,
                        ..ToolFragment::default()
                    },
                );
            }
            _ => {}
        }
    }
}

impl Source<'_> {
    fn part(&self, modality: &'static str) -> Option<Part> {
        match self.kind.key() {
            "url" => media::from_url(modality, self.url),
            "file" => media::from_file(modality, self.file_id),
            _ => Some(media::inline(
                modality,
                self.media_type,
                self.data.key().len(),
            )),
        }
    }
}

/// What a tool gave: its text where it is nothing else, or its blocks without their
/// bytes.
fn answer(content: Raw<'_>) -> serde_json::Value {
    if content.is_string() {
        return content.value().unwrap_or_default();
    }
    let blocks: List<Raw<'_>> = content.one_or_many();
    let read = |raw: &Raw<'_>| {
        let block: Block<'_> = raw.parse();
        match block.kind.key() {
            "image" | "document" => Some(serde_json::json!({
                "type": block.kind.key(),
                "mime_type": block.source.media_type.text(),
                "bytes": block.source.data.key().len(),
            })),
            _ => raw.value(),
        }
    };
    blocks.iter().filter_map(read).collect()
}
