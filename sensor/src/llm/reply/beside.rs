//! What a model says beside its text: refusals, transcripts of its speech, media.

use super::Reply;
use crate::llm::attr;
use crate::llm::call::{Media, MediaSource, Name, Part, Value};
use crate::llm::json::Str;

impl Reply {
    /// Adds to the words with which the model refuses.
    pub(in crate::llm) fn refusal(&mut self, choice: usize, text: Str<'_>) {
        if !text.is_empty() {
            self.attributes.set(attr::REFUSED, Value::Bool(true));
            self.words(choice, "refusal", text);
        }
    }

    /// Adds to the words of what the model speaks.
    pub(in crate::llm) fn transcript(&mut self, choice: usize, text: Str<'_>) {
        if !text.is_empty() {
            self.words(choice, "transcript", text);
        }
    }

    /// Counts bytes (as encoded) of media that the model makes; they are not kept.
    pub(in crate::llm) fn media(
        &mut self,
        choice: usize,
        modality: &'static str,
        mime: Str<'_>,
        bytes: usize,
    ) {
        self.progress = true;
        let more = u64::try_from(bytes).unwrap_or(u64::MAX);
        let fits = |part: &Part| matches!(part, Part::Media(m) if m.modality == modality);
        let slot = self.slot(choice, None, fits, || {
            Part::Media(Media {
                modality: Name::Borrowed(modality),
                mime_type: mime.boxed(),
                source: MediaSource::Inline { bytes: 0 },
            })
        });
        if let Some(Part::Media(Media {
            source: MediaSource::Inline { bytes },
            ..
        })) = slot
        {
            *bytes = bytes.saturating_add(more);
        }
    }

    /// Adds to words that are not the model's text.
    fn words(&mut self, choice: usize, kind: &'static str, text: Str<'_>) {
        self.progress = true;
        let fits = |part: &Part| matches!(part, Part::Other(p) if p.get("type").is_some_and(|t| t == kind));
        let slot = self.slot(choice, None, fits, || {
            Part::Other(serde_json::json!({ "type": kind, "content": "" }))
        });
        if let Some(Part::Other(part)) = slot
            && let Some(serde_json::Value::String(words)) = part.get_mut("content")
        {
            text.append_to(words);
        }
    }
}
