//! Images, audio and documents inside of messages: what they are and where they lie,
//! never their bytes.

use crate::llm::call::{Media, MediaSource, Name, Part};
use crate::llm::json::{Raw, Str};

/// Bytes of JSON kept of a part whose kind is not known here.
const MAX_OTHER: usize = 16 * 1024;

/// Media behind a URL; a `data:` URL counts as inline.
pub(super) fn from_url(modality: &'static str, url: Str<'_>) -> Option<Part> {
    let Some(data) = url.key().strip_prefix("data:") else {
        let uri = url.boxed()?;
        return Some(media(modality, None, MediaSource::Uri(uri)));
    };
    let (kind, payload) = data.split_once(',')?;
    let mime = Str::plain(kind.split(';').next().unwrap_or(kind));
    Some(inline(modality, mime, payload.len()))
}

/// Media by the id or name that the provider gave a file.
pub(super) fn from_file(modality: &'static str, file: Str<'_>) -> Option<Part> {
    Some(media(modality, None, MediaSource::File(file.boxed()?)))
}

/// Media sent inside of the message; `bytes` as encoded.
pub(super) fn inline(modality: &'static str, mime: Str<'_>, bytes: usize) -> Part {
    let source = MediaSource::Inline {
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    };
    media(modality, mime.boxed(), source)
}

pub(super) fn media(
    modality: &'static str,
    mime_type: Option<Box<str>>,
    source: MediaSource,
) -> Part {
    Part::Media(Media {
        modality: Name::Borrowed(modality),
        mime_type,
        source,
    })
}

/// The modality of a MIME type.
pub(super) fn modality(mime: &str) -> &'static str {
    match mime.split('/').next() {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        _ => "document",
    }
}

/// A part of another kind, as it was sent; where it is large, its kind alone.
pub(super) fn other(kind: &str, part: Raw<'_>) -> Option<Part> {
    let mut value = if part.text().len() <= MAX_OTHER {
        part.value()?
    } else {
        serde_json::json!({ "omitted_bytes": part.text().len() })
    };
    let object = value.as_object_mut()?;
    object.entry("type").or_insert_with(|| kind.into());
    Some(Part::Other(value))
}
