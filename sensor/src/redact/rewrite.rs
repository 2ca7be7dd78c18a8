//! Rewrites the texts of a call: masks, hashes, cuts.
//!
//! In: a call. Out: the same with its texts changed. Every text is masked before it is
//! hashed or cut, so that no half of a secret stays.

use regex::Regex;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::json::{self, Field};
use super::rules;
use crate::llm::Call;
use crate::llm::call::{ChatMessage, JsonText, MediaSource, Name, Part, Value};

/// What is done to each text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rewrite<'a> {
    /// Applies [`rules`].
    pub mask: bool,
    /// Applied beside them.
    pub own: Option<&'a Patterns>,
    /// Leaves of what people and models wrote a sum alone, by which the same text is
    /// known again.
    pub hash: bool,
    /// Characters that are left of what people and models wrote.
    pub max_text: Option<usize>,
}

/// Patterns of the user's.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<Regex>);

/// What replaces a find of the user's patterns.
const MARK: &str = "[masked]";

#[derive(Debug, thiserror::Error)]
#[error("the pattern number {number} is no regular expression that can be used: {source}")]
pub struct InvalidPattern {
    number: usize,
    source: regex::Error,
}

impl Patterns {
    /// Each is looked for in linear time; see the crate `regex` for what it takes.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPattern> {
        let compile = |(at, pattern): (usize, &str)| {
            Regex::new(pattern).map_err(|source| InvalidPattern {
                number: at + 1,
                source,
            })
        };
        let patterns = patterns.into_iter().enumerate().map(compile);
        Ok(Self(patterns.collect::<Result<_, _>>()?))
    }

    fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(text))
    }

    fn mask(&self, text: String) -> String {
        self.0.iter().fold(text, |text, pattern| {
            pattern.replace_all(&text, MARK).into_owned()
        })
    }
}

impl Rewrite<'_> {
    pub(super) fn call(&self, call: &mut Call) {
        self.parts(&mut call.request.system);
        self.messages(&mut call.request.messages);
        self.messages(&mut call.response.messages);
        for tool in &mut call.request.tools {
            self.definition(tool);
        }
        for text in &mut call.request.stop_sequences {
            self.boxed(text);
        }
        if let Some(message) = call.error.as_mut().and_then(|e| e.message.as_mut()) {
            self.boxed(message);
        }
        for (name, value) in &mut call.extra {
            match value {
                Value::String(text) if super::is_content(name) => self.boxed(text),
                // Ids and names are of use as they are, or masked.
                Value::String(text) => self.masked(text),
                Value::Strings(texts) => texts.iter_mut().for_each(|text| self.masked(text)),
                Value::Bool(_) | Value::Int(_) | Value::Double(_) => {}
            }
        }
    }

    /// Ids and names, in which nothing is looked for but what authenticates: that is no use
    /// of theirs, whatever becomes of content.
    pub(super) fn ids(call: &mut Call) {
        let (request, response) = (&mut call.request, &mut call.response);
        let single = [
            &mut request.model,
            &mut request.conversation_id,
            &mut request.reasoning_level,
            &mut response.id,
            &mut response.model,
            &mut call.server.request_id,
        ];
        let lists = [&mut request.encoding_formats, &mut response.finish_reasons];
        let lists = lists.into_iter().flatten();
        single.into_iter().flatten().chain(lists).for_each(id);
        if let Some(error) = &mut call.error {
            name(&mut error.kind);
        }
        let extra = call.extra.iter_mut();
        for (_, value) in extra.filter(|(name, _)| !super::is_content(name)) {
            match value {
                Value::String(text) => id(text),
                Value::Strings(texts) => texts.iter_mut().for_each(id),
                Value::Bool(_) | Value::Int(_) | Value::Double(_) => {}
            }
        }
        let said = request.messages.iter_mut().chain(&mut response.messages);
        for message in said {
            name(&mut message.role);
            let ids = [&mut message.name, &mut message.finish_reason];
            ids.into_iter().flatten().for_each(id);
            message.parts.iter_mut().for_each(ids_of_part);
        }
    }

    fn messages(&self, messages: &mut [ChatMessage]) {
        for message in messages {
            self.parts(&mut message.parts);
            if let Some(name) = &mut message.name {
                self.masked(name);
            }
        }
    }

    fn parts(&self, parts: &mut [Part]) {
        for part in parts {
            match part {
                Part::Text(text) | Part::Reasoning(text) => self.string(text),
                Part::ToolCall { arguments, .. } => {
                    if let Some(arguments) = arguments {
                        self.string(arguments);
                    }
                }
                Part::ToolCallResponse { response, .. } => self.json(response),
                Part::Media(media) => match &mut media.source {
                    MediaSource::Uri(uri) => self.uri(uri),
                    MediaSource::File(_) | MediaSource::Inline { .. } => {}
                },
                Part::Other(value) => self.json(value),
            }
        }
    }

    /// A query may hold a signature that opens the file.
    fn uri(&self, uri: &mut Box<str>) {
        if self.mask
            && let Some((place, _)) = uri.split_once(['?', '#'])
        {
            *uri = format!("{place}?[query]").into();
        }
        self.boxed(uri);
    }

    fn json(&self, value: &mut Json) {
        self.member(None, value);
    }

    /// `name`: of the member that it is, or belongs to.
    fn member(&self, name: Option<&str>, value: &mut Json) {
        match value {
            Json::String(text) => {
                let masked = name.filter(|_| self.mask);
                if let Some(masked) = masked.and_then(|name| rules::mask_of(name, text)) {
                    *text = masked;
                }
                self.string(text);
            }
            Json::Number(number) => {
                if let Some(masked) = self.field(name, &number.to_string()) {
                    *value = masked.into();
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.member(name, item)),
            Json::Object(fields) => self.object(fields),
            Json::Null | Json::Bool(_) => {}
        }
    }

    fn object(&self, fields: &mut serde_json::Map<String, Json>) {
        let named = fields.iter().find(|(name, _)| json::names_pair(name));
        let pair = named.and_then(|(_, name)| Some(name.as_str()?.to_owned()));
        for (name, value) in fields.iter_mut() {
            let named = match &pair {
                Some(pair) if name == "value" => pair,
                _ => name,
            };
            // The type of a part says how it is read.
            if name != "type" || !value.is_string() {
                self.member(Some(named), value);
            }
        }
    }

    /// Definitions of tools are schemas: cut, they would be none.
    fn definition(&self, tool: &mut JsonText) {
        if !self.mask && self.own.is_none() {
            return;
        }
        let masks_alone = Self {
            hash: false,
            max_text: None,
            ..*self
        };
        // What is nested too deep to be masked does not stay.
        let mut value = tool.value().unwrap_or_default();
        masks_alone.json(&mut value);
        if let Some(masked) = JsonText::of(&value) {
            *tool = masked;
        }
    }

    fn string(&self, text: &mut String) {
        if let Some(masked) = self.mask(text) {
            *text = masked;
        }
        if self.hash {
            *text = sum(text);
        }
        if let Some(most) = self.max_text {
            cut(text, most);
        }
    }

    fn boxed(&self, text: &mut Box<str>) {
        let mut string = String::from(std::mem::take(text));
        self.string(&mut string);
        *text = string.into();
    }

    fn masked(&self, text: &mut Box<str>) {
        if let Some(masked) = self.mask(text) {
            *text = masked.into();
        }
    }

    /// What is no content, with every find masked whatever becomes of content; `None` where
    /// there is none.
    pub(super) fn fact(&self, text: &str) -> Option<String> {
        let always = Self {
            mask: true,
            ..*self
        };
        always.mask(text).filter(|masked| masked != text)
    }

    /// The text with every find masked, or `None` where nothing is to be masked. JSON stays
    /// JSON, unless a pattern of the user's takes more than what its strings say.
    fn mask(&self, text: &str) -> Option<String> {
        let each = |Field { name, value }: Field<'_>| self.field(name, value);
        let masked = match json::rewritten(text, &each) {
            Some(masked) => masked,
            None => self.plain(text),
        };
        match self
            .own
            .filter(|own| own.is_in(masked.as_deref().unwrap_or(text)))
        {
            Some(own) => Some(own.mask(masked.unwrap_or_else(|| text.to_owned()))),
            None => masked,
        }
    }

    /// A string or number in JSON.
    fn field(&self, name: Option<&str>, value: &str) -> Option<String> {
        let masked = name
            .filter(|_| self.mask)
            .and_then(|name| rules::mask_of(name, value));
        masked.or_else(|| self.mask(value))
    }

    fn plain(&self, text: &str) -> Option<String> {
        let masked = self.mask.then(|| rules::mask(text)).flatten();
        match self
            .own
            .filter(|own| own.is_in(masked.as_deref().unwrap_or(text)))
        {
            Some(own) => Some(own.mask(masked.unwrap_or_else(|| text.to_owned()))),
            None => masked,
        }
    }
}

fn id(text: &mut Box<str>) {
    if let Some(masked) = rules::mask_secrets(text) {
        *text = masked.into();
    }
}

fn name(text: &mut Name) {
    if let Some(masked) = rules::mask_secrets(text) {
        *text = masked.into();
    }
}

fn ids_of_part(part: &mut Part) {
    match part {
        Part::ToolCall { id: of, name, .. } => of.iter_mut().chain([name]).for_each(id),
        Part::ToolCallResponse { id: of, .. } => of.iter_mut().for_each(id),
        Part::Media(media) => {
            media.mime_type.iter_mut().for_each(id);
            if let MediaSource::File(file) = &mut media.source {
                id(file);
            }
        }
        Part::Text(_) | Part::Reasoning(_) | Part::Other(_) => {}
    }
}

fn sum(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("sha256:");
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Leaves `most` characters and a sign that there were more.
fn cut(text: &mut String, most: usize) {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
}

pub(super) fn part_weight(part: &Part) -> usize {
    size_of::<Part>()
        + match part {
            Part::Text(text) | Part::Reasoning(text) => text.len(),
            Part::ToolCall { arguments, .. } => arguments.as_ref().map_or(0, String::len),
            Part::ToolCallResponse { response, .. } => json_weight(response),
            Part::Media(media) => match &media.source {
                MediaSource::Uri(text) | MediaSource::File(text) => text.len(),
                MediaSource::Inline { .. } => 0,
            },
            Part::Other(value) => json_weight(value),
        }
}

fn json_weight(value: &Json) -> usize {
    size_of::<Json>()
        + match value {
            Json::String(text) => text.len(),
            Json::Array(items) => items.iter().map(json_weight).sum(),
            Json::Object(fields) => fields.iter().map(|(k, v)| k.len() + json_weight(v)).sum(),
            Json::Null | Json::Bool(_) | Json::Number(_) => 0,
        }
}

pub(super) fn value_weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Strings(texts) => texts.iter().map(|text| text.len()).sum(),
        Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(rewrite: Rewrite<'_>, text: &str) -> String {
        let mut text = text.to_owned();
        rewrite.string(&mut text);
        text
    }

    #[test]
    fn masks_come_before_the_cut() {
        let rewrite = Rewrite {
            mask: true,
            max_text: Some(8),
            ..Rewrite::default()
        };
        assert_eq!(rewritten(rewrite, "to jo@example.org now"), "to [emai…");
        assert_eq!(rewritten(rewrite, "fünf ßäö"), "fünf ßäö");
    }

    #[test]
    fn definitions_of_tools_are_masked_at_any_depth() {
        let rewrite = Rewrite {
            mask: true,
            max_text: Some(8),
            ..Rewrite::default()
        };
        let masked = |text: &str| {
            let mut tool = JsonText::parse(text).unwrap();
            rewrite.definition(&mut tool);
            tool.text().to_owned()
        };
        let mail = r#""to jo@example.org now""#;
        assert_eq!(masked(&format!("[{mail}]")), r#"["to [email] now"]"#);
        let deep = format!("{}{mail}{}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(masked(&deep), "null");
    }

    #[test]
    fn the_same_text_has_the_same_sum() {
        let rewrite = Rewrite {
            hash: true,
            ..Rewrite::default()
        };
        let sum = rewritten(rewrite, "abc");
        // FIPS 180-2, B.1.
        assert!(sum.starts_with("sha256:ba7816bf8f01cfea"), "{sum}");
        assert_eq!(sum, rewritten(rewrite, "abc"));
        assert_ne!(sum, rewritten(rewrite, "abd"));
    }

    #[test]
    fn patterns_of_the_user_join_the_others() {
        let own = Patterns::parse(["EMP-[0-9]+", "(?i)project x"]).unwrap();
        let rewrite = Rewrite {
            mask: true,
            own: Some(&own),
            ..Rewrite::default()
        };
        assert_eq!(
            rewritten(rewrite, "EMP-77 of Project X: jo@example.org"),
            "[masked] of [masked]: [email]"
        );
        let wrong = Patterns::parse(["a", "("]).unwrap_err();
        assert!(wrong.to_string().contains("number 2"), "{wrong}");
    }
}
