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
        assert_eq!(shown, text);
    }
}
