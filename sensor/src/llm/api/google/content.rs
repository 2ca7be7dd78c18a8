//! Contents and tools of the Gemini API.

use crate::llm::api::media;
use crate::llm::api::openai::content::{Definition, role};
use crate::llm::call::{ChatMessage, JsonText, Media, MediaSource, Name, Part};
use crate::llm::json::{Bool, List, Raw, Str, wire};
use crate::llm::reply::{Reply, ToolFragment};

wire! {
    pub(in crate::llm::api) struct Content<'a> {
        pub(in crate::llm::api) role: Str<'a>,
        pub(in crate::llm::api) parts: List<Raw<'a>>,
    }

    struct GeminiPart<'a> {
        text: Str<'a>,
        thought: Bool,
        function_call: Call<'a> = "functionCall" | "function_call",
        function_response: Answer<'a> = "functionResponse" | "function_response",
        inline_data: Blob<'a> = "inlineData" | "inline_data",
        file_data: Blob<'a> = "fileData" | "file_data",
    }

    pub(in crate::llm::api) struct Call<'a> {
        id: Str<'a>,
        name: Str<'a>,
        args: Raw<'a>,
    }

    struct Answer<'a> {
        id: Str<'a>,
        name: Str<'a>,
        response: Raw<'a>,
    }

    struct Blob<'a> {
        mime: Str<'a> = "mimeType" | "mime_type",
        data: Str<'a>,
        uri: Str<'a> = "fileUri" | "file_uri",
    }

    struct Tool<'a> {
        functions: List<Definition<'a>> = "functionDeclarations" | "function_declarations",
    }
}

impl<'a> Call<'a> {
    pub(in crate::llm::api) fn fragment(&self) -> ToolFragment<'a> {
        ToolFragment {
            key: None,
            id: self.id,
            name: self.name,
            arguments: self.args,
        }
    }
}

impl Content<'_> {
    /// This content as a message of a request.
    pub(in crate::llm::api) fn message(&self) -> ChatMessage {
        let parts: Vec<Part> = self.parts.iter().filter_map(|raw| part(*raw)).collect();
        let answers = parts
            .iter()
            .any(|p| matches!(p, Part::ToolCallResponse { .. }));
        ChatMessage {
            role: if answers {
                Name::Borrowed("tool")
            } else {
                role(self.role)
            },
            parts,
            ..ChatMessage::default()
        }
    }

    /// Adds this content, or a piece of it, to a choice of a reply.
    pub(in crate::llm::api) fn add_to(&self, choice: usize, reply: &mut Reply) {
        reply.role(choice, self.role);
        for raw in &self.parts {
            let piece: GeminiPart<'_> = raw.parse();
            if piece.function_call.name.is_some() {
                reply.whole_tool(choice, piece.function_call.fragment());
            } else if piece.text.is_some() {
                if piece.thought.0 == Some(true) {
                    reply.reasoning(choice, None, piece.text);
                } else {
                    reply.text(choice, None, piece.text);
                }
            } else if piece.inline_data.data.is_some() {
                let blob = &piece.inline_data;
                let modality = media::modality(blob.mime.key());
                reply.media(choice, modality, blob.mime, blob.data.key().len());
            } else {
                reply.part(choice, None, || part(*raw));
            }
        }
    }
}

/// The contents of a request: a list, one, or a mere string.
pub(in crate::llm::api) fn messages(contents: Raw<'_>) -> Vec<ChatMessage> {
    if contents.is_string() {
        let text = contents.string().string().unwrap_or_default();
        return vec![crate::llm::api::user_message(Part::Text(text))];
    }
    let list: List<Content<'_>> = contents.one_or_many();
    list.iter().map(Content::message).collect()
}

/// The parts of a content that has no role to tell.
pub(in crate::llm::api) fn parts(content: Raw<'_>) -> Vec<Part> {
    messages(content)
        .into_iter()
        .flat_map(|m| m.parts)
        .collect()
}

fn part(raw: Raw<'_>) -> Option<Part> {
    let part: GeminiPart<'_> = raw.parse();
    if let Some(text) = part.text.string() {
        let thought = part.thought.0 == Some(true);
        return Some(if thought {
            Part::Reasoning(text)
        } else {
            Part::Text(text)
        });
    }
    if part.function_call.name.is_some() {
        return Some(part.function_call.fragment().into_part());
    }
    if part.function_response.response.is_some() {
        let answer = &part.function_response;
        return Some(Part::ToolCallResponse {
            id: answer.id.or(answer.name).boxed(),
            response: answer.response.value().unwrap_or_default(),
        });
    }
    if part.inline_data.data.is_some() {
        let blob = &part.inline_data;
        let modality = media::modality(blob.mime.key());
        return Some(media::inline(modality, blob.mime, blob.data.key().len()));
    }
    if let Some(uri) = part.file_data.uri.boxed() {
        let mime = part.file_data.mime;
        return Some(Part::Media(Media {
            modality: Name::Borrowed(media::modality(mime.key())),
            mime_type: mime.boxed(),
            source: MediaSource::Uri(uri),
        }));
    }
    let kind = only_key(raw)?;
    // Without a name, it is a piece of the arguments of a call that was begun before.
    let is_piece = matches!(&*kind, "functionCall" | "function_call");
    (!is_piece).then(|| media::other(&kind, raw))?
}

/// The name of the member that an object mainly consists of.
fn only_key(raw: Raw<'_>) -> Option<String> {
    let value = raw.value()?;
    let keys = value.as_object()?.keys();
    keys.into_iter()
        .find(|key| !key.starts_with("thought"))
        .cloned()
}

/// Tool definitions as `gen-ai-tool-definitions.json` has them.
pub(in crate::llm::api) fn tools(list: Raw<'_>) -> Vec<JsonText> {
    let mut found = Vec::new();
    for raw in &list.one_or_many::<Raw<'_>>() {
        let tool: Tool<'_> = raw.parse();
        found.extend(tool.functions.iter().filter_map(|f| f.value("function")));
        if tool.functions.is_empty()
            && let Some(kind) = only_key(*raw)
        {
            found.extend(Definition::named(&kind).value(&kind));
        }
    }
    found
}
