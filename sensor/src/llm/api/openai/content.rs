//! Messages and tools as Chat Completions has them.

use std::borrow::Cow;

use serde::Serialize;

use super::super::media;
use crate::llm::call::{ChatMessage, JsonText, Name, Part};
use crate::llm::json::{Int, List, Raw, Str, parse, wire};
use crate::llm::reply::ToolFragment;

wire! {
    /// A message of a request, a message of a choice, or the delta of one.
    pub(in crate::llm::api) struct Message<'a> {
        pub(in crate::llm::api) role: Str<'a>,
        pub(in crate::llm::api) content: Raw<'a>,
        pub(in crate::llm::api) name: Str<'a>,
        pub(in crate::llm::api) tool_calls: List<ToolCall<'a>>,
        pub(in crate::llm::api) function_call: Function<'a>,
        pub(in crate::llm::api) tool_call_id: Str<'a>,
        pub(in crate::llm::api) refusal: Str<'a>,
        /// What the model thought, as vLLM, DeepSeek and many others name it.
        pub(in crate::llm::api) reasoning_content: Str<'a>,
        /// The same, as OpenRouter and Groq name it.
        pub(in crate::llm::api) reasoning: Str<'a>,
        pub(in crate::llm::api) audio: Raw<'a>,
    }

    pub(in crate::llm::api) struct ToolCall<'a> {
        pub(in crate::llm::api) index: Int,
        pub(in crate::llm::api) id: Str<'a>,
        pub(in crate::llm::api) function: Function<'a>,
        pub(in crate::llm::api) custom: Function<'a>,
    }

    pub(in crate::llm::api) struct Function<'a> {
        pub(in crate::llm::api) name: Str<'a>,
        pub(in crate::llm::api) arguments: Raw<'a> = "arguments" | "input",
    }

    /// One part of a message whose content is a list.
    pub(super) struct ContentPart<'a> {
        pub(super) kind: Str<'a> = "type",
        pub(super) text: Str<'a>,
        refusal: Str<'a>,
        pub(super) thinking: Raw<'a>,
        image: Raw<'a> = "image_url",
        audio: Raw<'a> = "input_audio" | "audio_url" | "audio",
        video: Raw<'a> = "video_url",
        document: Raw<'a> = "document_url",
        file: File<'a>,
        file_url: Str<'a>,
        /// Where the file's fields stand in the part itself (Responses).
        file_id: Str<'a>,
        file_data: Str<'a>,
        filename: Str<'a>,
    }

    struct File<'a> {
        id: Str<'a> = "file_id",
        data: Str<'a> = "file_data",
        name: Str<'a> = "filename",
    }

    struct Place<'a> {
        url: Str<'a>,
        data: Str<'a>,
        format: Str<'a>,
    }
}

impl<'a> ToolCall<'a> {
    pub(in crate::llm::api) fn fragment(&self) -> ToolFragment<'a> {
        ToolFragment {
            key: self.index.count(),
            id: self.id,
            ..self.call().fragment()
        }
    }

    fn call(&self) -> &Function<'a> {
        if self.custom.name.is_some() {
            &self.custom
        } else {
            &self.function
        }
    }
}

impl<'a> Function<'a> {
    pub(in crate::llm::api) fn fragment(&self) -> ToolFragment<'a> {
        ToolFragment {
            name: self.name,
            arguments: self.arguments,
            ..ToolFragment::default()
        }
    }
}

/// The messages of a request.
pub(in crate::llm::api) fn messages(list: Raw<'_>) -> Vec<ChatMessage> {
    let list: List<Message<'_>> = list.one_or_many();
    list.iter().map(Message::chat_message).collect()
}

impl Message<'_> {
    fn chat_message(&self) -> ChatMessage {
        let mut found = Vec::new();
        let thought = self.reasoning_content.or(self.reasoning);
        found.extend(
            thought
                .string()
                .filter(|t| !t.is_empty())
                .map(Part::Reasoning),
        );
        if matches!(self.role.key(), "tool" | "function") {
            found.push(Part::ToolCallResponse {
                id: self.tool_call_id.boxed().or(self.name.boxed()),
                response: self.content.value().unwrap_or_default(),
            });
        } else {
            parts(self.content, &mut found);
        }
        found.extend(refusal(self.refusal));
        found.extend(
            self.tool_calls
                .iter()
                .map(|call| call.fragment().into_part()),
        );
        if self.function_call.name.is_some() {
            found.push(self.function_call.fragment().into_part());
        }
        ChatMessage {
            role: role(self.role),
            parts: found,
            name: self.name.boxed().filter(|_| self.role.key() != "function"),
            finish_reason: None,
        }
    }
}

/// A role, as one of our constants where it is a usual one.
pub(in crate::llm::api) fn role(role: Str<'_>) -> Name {
    for known in ["user", "assistant", "system", "tool", "developer"] {
        if role.key() == known {
            return Name::Borrowed(known);
        }
    }
    match role.key() {
        "" => Name::Borrowed("user"),
        "model" | "ai" | "CHATBOT" => Name::Borrowed("assistant"),
        "function" | "TOOL" => Name::Borrowed("tool"),
        "USER" | "human" => Name::Borrowed("user"),
        "SYSTEM" => Name::Borrowed("system"),
        _ => Name::Owned(role.string().unwrap_or_default()),
    }
}

/// The parts of a `content` that is a string or a list of typed parts.
pub(in crate::llm::api) fn parts(content: Raw<'_>, into: &mut Vec<Part>) {
    if content.is_string() {
        into.extend(
            content
                .string()
                .string()
                .filter(|t| !t.is_empty())
                .map(Part::Text),
        );
        return;
    }
    let list: List<Raw<'_>> = content.one_or_many();
    into.extend(list.iter().filter_map(|raw| part(*raw)));
}

/// One part of a message.
pub(in crate::llm::api) fn part(raw: Raw<'_>) -> Option<Part> {
    if raw.is_string() {
        return raw.string().string().map(Part::Text);
    }
    let part: ContentPart<'_> = raw.parse();
    match part.kind.key() {
        "text" | "input_text" | "output_text" | "summary_text" | "" if part.text.is_some() => {
            part.text.string().map(Part::Text)
        }
        "reasoning_text" => part.text.string().map(Part::Reasoning),
        "thinking" => Some(Part::Reasoning(thinking(part.thinking))),
        "refusal" => refusal(part.refusal),
        "image_url" | "input_image" | "" if part.image.is_some() => place("image", part.image),
        "input_image" => media::from_file("image", part.file_id),
        "input_audio" if part.audio.is_string() => Some(media::inline(
            "audio",
            Str::default(),
            part.audio.text().len(),
        )),
        "input_audio" | "audio_url" => place("audio", part.audio),
        "video_url" => place("video", part.video),
        "document_url" => place("document", part.document),
        "file" | "input_file" => part.file(),
        // Where types are told by the member alone.
        "" if part.file.is_some() => part.file(),
        kind => media::other(kind, raw),
    }
}

impl File<'_> {
    fn is_some(&self) -> bool {
        [self.id, self.data, self.name].iter().any(|s| s.is_some())
    }
}

impl ContentPart<'_> {
    fn file(&self) -> Option<Part> {
        let id = self.file.id.or(self.file_id);
        let data = self.file.data.or(self.file_data);
        if !id.is_empty() {
            media::from_file("document", id)
        } else if data.key().starts_with("data:") {
            media::from_url("document", data)
        } else if !data.is_empty() {
            Some(media::inline("document", Str::default(), data.key().len()))
        } else {
            let named = self.file.name.or(self.filename);
            media::from_url("document", self.file_url)
                .or_else(|| media::from_file("document", named))
        }
    }
}

/// Media given as a URL, as an object with one, or as data with its format.
fn place(modality: &'static str, raw: Raw<'_>) -> Option<Part> {
    let place: Place<'_> = raw.parse();
    let url = raw.string().or(place.url);
    if !url.is_empty() {
        return media::from_url(modality, url);
    }
    let mime = (!place.format.is_empty()).then(|| format!("{modality}/{}", place.format.key()));
    let mime = Str::plain(mime.as_deref().unwrap_or_default());
    Some(media::inline(modality, mime, place.data.key().len()))
}

/// Mistral's thoughts: a string, or a list of text parts.
fn thinking(raw: Raw<'_>) -> String {
    if raw.is_string() {
        return raw.string().string().unwrap_or_default();
    }
    let mut text = String::new();
    for chunk in &raw.parse::<List<ContentPart<'_>>>() {
        chunk.text.append_to(&mut text);
    }
    text
}

fn refusal(text: Str<'_>) -> Option<Part> {
    let text = text.string().filter(|t| !t.is_empty())?;
    Some(Part::Other(
        serde_json::json!({ "type": "refusal", "content": text }),
    ))
}

wire! {
    struct Tool<'a> {
        kind: Str<'a> = "type",
        name: Str<'a>,
        function: Definition<'a>,
        custom: Definition<'a>,
        server_label: Str<'a>,
        description: Raw<'a>,
        parameters: Raw<'a> = "parameters" | "input_schema",
    }

    pub(in crate::llm::api) struct Definition<'a> {
        pub(in crate::llm::api) name: Str<'a>,
        pub(in crate::llm::api) description: Raw<'a>,
        pub(in crate::llm::api) parameters: Raw<'a> = "parameters" | "parametersJsonSchema" | "inputSchema" | "input_schema",
    }
}

/// Tool definitions as `gen-ai-tool-definitions.json` has them.
pub(in crate::llm::api) fn tools(list: Raw<'_>) -> Vec<JsonText> {
    let list: List<Raw<'_>> = list.one_or_many();
    list.iter().filter_map(|raw| tool(*raw)).collect()
}

fn tool(raw: Raw<'_>) -> Option<JsonText> {
    let tool: Tool<'_> = parse(raw.text())?;
    let flat = Definition {
        name: tool.name,
        description: tool.description,
        parameters: tool.parameters,
    };
    for definition in [&tool.function, &tool.custom] {
        if definition.name.is_some() {
            return definition.value("function");
        }
    }
    match tool.kind.key() {
        "function" | "custom" | "" if flat.name.is_some() => flat.value("function"),
        "" => None,
        kind => {
            let name = tool.name.or(tool.server_label).or(tool.kind);
            Definition { name, ..flat }.value(kind)
        }
    }
}

/// A definition as it is told.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<JsonText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<JsonText>,
}

impl<'a> Definition<'a> {
    /// Of a tool that is known by its name alone.
    pub(in crate::llm::api) fn named(name: &'a str) -> Self {
        Self {
            name: Str::plain(name),
            ..Self::default()
        }
    }

    /// The definition under `kind`; without what was not given.
    pub(in crate::llm::api) fn value(&self, kind: &str) -> Option<JsonText> {
        JsonText::of(&Told {
            kind,
            name: self.name.text().unwrap_or_default(),
            description: JsonText::parse(self.description.text()),
            parameters: JsonText::parse(self.parameters.text()),
        })
    }
}
