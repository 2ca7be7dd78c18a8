//! One part of a choice, as it grows.

use crate::llm::call::Part;
use crate::llm::json::{Raw, Str};

/// A part under construction.
#[derive(Debug)]
pub(super) struct Slot {
    /// The provider's number for it; `None` where it numbers none.
    pub(super) key: Option<u64>,
    pub(super) part: Part,
    /// Nothing may be added: it is whole, or what came next is lost.
    pub(super) closed: bool,
}

/// A tool call, or a fragment of one.
#[derive(Clone, Copy, Default)]
pub(in crate::llm) struct ToolFragment<'a> {
    /// The provider's number for it; `None` where it numbers none.
    pub(in crate::llm) key: Option<u64>,
    pub(in crate::llm) id: Str<'a>,
    pub(in crate::llm) name: Str<'a>,
    /// JSON, or a string that holds (a piece of) JSON.
    pub(in crate::llm) arguments: Raw<'a>,
}

impl ToolFragment<'_> {
    pub(in crate::llm) fn into_part(self) -> Part {
        Part::ToolCall {
            id: self.id.boxed(),
            name: self.name.boxed().unwrap_or_default(),
            arguments: self.arguments.is_some().then(|| {
                let mut text = String::new();
                append(self.arguments, &mut text);
                text
            }),
        }
    }
}

fn append(arguments: Raw<'_>, text: &mut String) {
    if arguments.is_string() {
        arguments.string().append_to(text);
    } else {
        text.push_str(arguments.text());
    }
}

impl Slot {
    /// Whether `fragment` belongs to this tool call. Some servers number every call 0
    /// and tell them apart by id; some number none.
    pub(super) fn continues(&self, fragment: ToolFragment<'_>) -> bool {
        let Part::ToolCall { id, .. } = &self.part else {
            return false;
        };
        let same_id = match id.as_deref() {
            Some(id) if !fragment.id.is_empty() => fragment.id.key() == id,
            _ => fragment.id.is_empty() || fragment.key.is_some(),
        };
        same_id && self.key == fragment.key
    }

    pub(super) fn extend(&mut self, fragment: ToolFragment<'_>) {
        let Part::ToolCall {
            id,
            name,
            arguments,
        } = &mut self.part
        else {
            return;
        };
        if id.is_none() {
            *id = fragment.id.boxed();
        }
        if name.is_empty() {
            *name = fragment.name.boxed().unwrap_or_default();
        }
        if fragment.arguments.is_some() {
            append(fragment.arguments, arguments.get_or_insert_default());
        }
    }
}
