//! Body of the fuzz target of this room.
//!
//! In: bytes that a fuzzer made up. Out: nothing, or a panic where a law is broken.

use super::{Content, Policy, rules};

/// Text. What is found is masked, and streamed nothing is lost but what is masked.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let finds = rules::finds(&text);
    let masked = rules::mask(&text);
    assert_eq!(finds.is_empty(), masked.is_none(), "{finds:?}");
    let policy = Policy {
        content: Content::Redacted,
    };
    let mut stream = policy.text_stream();
    let mut shown = String::new();
    for piece in text.split_inclusive(' ') {
        shown.push_str(&stream.push(piece));
    }
    shown.push_str(&stream.finish());
    if masked.is_none() {
        assert_only_masked(&shown, &text);
    }
}

/// In pieces a number may look like another of which it is the end: more may be masked, but
/// nothing else changes.
fn assert_only_masked(shown: &str, text: &str) {
    let (kept, whole) = (between_marks(shown), between_marks(text));
    if kept.len() == whole.len() {
        assert_eq!(shown, text);
    }
    kept.iter().fold(text, |rest, piece| {
        assert!(rest.contains(*piece), "what is kept is as it was");
        rest.split_once(*piece).map_or("", |(_, rest)| rest)
    });
}

fn between_marks(text: &str) -> Vec<&str> {
    rules::marks().fold(vec![text], |pieces, mark| {
        pieces.iter().flat_map(|piece| piece.split(mark)).collect()
    })
}
