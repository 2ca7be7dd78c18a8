//! Messages, content blocks and tools of the Converse API.

use crate::llm::api::media;
use crate::llm::api::openai::content::{Definition, role};
use crate::llm::call::{ChatMessage, JsonText, Name, Part};
use crate::llm::json::{List, Raw, Str, wire};
use crate::llm::reply::{Reply, ToolFragment};

wire! {
    pub(super) struct Tool<'a> {
        spec: Definition<'a> = "toolSpec",
        system: Definition<'a> = "systemTool",
    }

    pub(super) struct Message<'a> {
        pub(super) role: Str<'a>,
        pub(super) content: List<Raw<'a>>,
    }

    pub(super) struct Block<'a> {
        text: Str<'a>,
        tool_use: ToolUse<'a> = "toolUse",
        tool_result: ToolResult<'a> = "toolResult",
        reasoning: Reasoning<'a> = "reasoningContent",
        image: Raw<'a>,
        document: Raw<'a>,
        video: Raw<'a>,
        audio: Raw<'a>,
    }

    pub(super) struct ToolUse<'a> {
        id: Str<'a> = "toolUseId",
        name: Str<'a>,
        pub(super) input: Raw<'a>,
        kind: Str<'a> = "type",
    }

    struct ToolResult<'a> {
        id: Str<'a> = "toolUseId",
        content: Raw<'a>,
    }

    pub(super) struct Reasoning<'a> {
        /// In a stream, the text; else an object that holds it.
        text: Str<'a>,
        inner: Inner<'a> = "reasoningText",
    }

    struct Inner<'a> {
        text: Str<'a>,
    }

    struct Media<'a> {
        format: Str<'a>,
        source: Source<'a>,
    }

    struct Source<'a> {
        bytes: Str<'a>,
        s3: S3<'a> = "s3Location",
    }

    struct S3<'a> {
        uri: Str<'a>,
    }
}

impl<'a> ToolUse<'a> {
    pub(super) fn is_the_clients(&self) -> bool {
        self.name.is_some() && self.kind.key() != "server_tool_use"
    }

    pub(super) fn fragment(&self) -> ToolFragment<'a> {
        ToolFragment {
            key: None,
            id: self.id,
            name: self.name,
            arguments: self.input,
        }
    }
}

impl<'a> Reasoning<'a> {
    pub(super) fn text(&self) -> Str<'a> {
        self.inner.text.or(self.text)
    }
}

impl Block<'_> {
    pub(super) fn add_to(&self, place: u64, raw: Raw<'_>, reply: &mut Reply) {
        let key = Some(place);
        if self.text.is_some() {
            reply.text(0, key, self.text);
        } else if self.tool_use.is_the_clients() {
            reply.whole_tool(
                0,
                ToolFragment {
                    key,
                    ..self.tool_use.fragment()
                },
            );
        } else if self.reasoning.text().is_some() {
            reply.reasoning(0, key, self.reasoning.text());
        } else {
            reply.part(0, key, || self.part(raw));
        }
    }

    fn part(&self, raw: Raw<'_>) -> Option<Part> {
        if self.text.is_some() {
            return self.text.string().map(Part::Text);
        }
        if self.tool_use.is_the_clients() {
            return Some(self.tool_use.fragment().into_part());
        }
        if self.tool_result.id.is_some() {
            return Some(Part::ToolCallResponse {
                id: self.tool_result.id.boxed(),
                response: answer(self.tool_result.content),
            });
        }
        if self.reasoning.text().is_some() {
            return self.reasoning.text().string().map(Part::Reasoning);
        }
        let media = [
            ("image", self.image),
            ("document", self.document),
            ("video", self.video),
            ("audio", self.audio),
        ];
        match media.into_iter().find(|(_, raw)| raw.is_some()) {
            Some((modality, raw)) => Some(place(modality, raw)),
            None => media::other(&only_key(raw)?, raw),
        }
    }
}

fn place(modality: &'static str, raw: Raw<'_>) -> Part {
    let media: Media<'_> = raw.parse();
    if let Some(part) = media::from_url(modality, media.source.s3.uri) {
        return part;
    }
    let top = if modality == "document" {
        "application"
    } else {
        modality
    };
    let mime = format!("{top}/{}", media.format.key());
    let mime = if media.format.is_empty() { "" } else { &mime };
    media::inline(modality, Str::plain(mime), media.source.bytes.key().len())
}

/// What a tool gave; large pieces by their size alone.
fn answer(content: Raw<'_>) -> serde_json::Value {
    let list: List<Raw<'_>> = content.one_or_many();
    let read = |raw: &Raw<'_>| {
        let block: Block<'_> = raw.parse();
        if block.image.is_some() || block.document.is_some() || block.video.is_some() {
            return Some(serde_json::json!({ "omitted_bytes": raw.text().len() }));
        }
        raw.value()
    };
    list.iter().filter_map(read).collect()
}

fn only_key(raw: Raw<'_>) -> Option<String> {
    raw.value()?.as_object()?.keys().next().cloned()
}

/// The parts of a list of blocks, or of a mere string.
pub(super) fn parts(content: Raw<'_>) -> Vec<Part> {
    if content.is_string() {
        return content
            .string()
            .string()
            .map(Part::Text)
            .into_iter()
            .collect();
    }
    let list: List<Raw<'_>> = content.one_or_many();
    list.iter()
        .filter_map(|raw| raw.parse::<Block<'_>>().part(*raw))
        .collect()
}

impl Message<'_> {
    /// What a user's message says of tools is a message of its own.
    pub(super) fn messages(&self) -> Vec<ChatMessage> {
        let all = self
            .content
            .iter()
            .filter_map(|raw| raw.parse::<Block<'_>>().part(*raw));
        let (answers, rest): (Vec<_>, Vec<_>) =
            all.partition(|part| matches!(part, Part::ToolCallResponse { .. }));
        let message = |role, parts: Vec<Part>| ChatMessage {
            role,
            parts,
            ..ChatMessage::default()
        };
        let mut messages = Vec::new();
        if !answers.is_empty() {
            messages.push(message(Name::Borrowed("tool"), answers));
        }
        if messages.is_empty() || !rest.is_empty() {
            messages.push(message(role(self.role), rest));
        }
        messages
    }
}

impl Tool<'_> {
    pub(super) fn value(&self) -> Option<JsonText> {
        if self.spec.name.is_some() {
            return self.spec.value("function");
        }
        self.system.value("system_tool")
    }
}
