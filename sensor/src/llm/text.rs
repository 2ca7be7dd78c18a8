//! Bytes of bodies and paths as text.

use std::borrow::Cow;

use super::partial;
use crate::content::Body;

/// Bytes as text; what is no UTF-8 becomes U+FFFD.
///
/// The library's lossy reading goes byte by byte; nearly all that comes is sound, and
/// checking that alone is far cheaper.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// A body as text; one with a hole, or cut short, as the members that are whole.
pub(super) fn readable(body: Body<'_>) -> Cow<'_, str> {
    let head = text(body.head);
    if body.tail.is_empty() && body.missing.is_none() && is_document(&head) {
        return head;
    }
    let tail = text(body.tail);
    partial::mend(&head, &tail).map_or(head, Cow::Owned)
}

fn is_document(text: &str) -> bool {
    let text = text.trim_ascii_end();
    text.ends_with('}') || text.ends_with(']')
}

/// Undoes percent-encoding (RFC 3986, section 2.1).
pub(super) fn percent_decoded(text: &str) -> Box<str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = match code {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    String::from_utf8_lossy(&bytes)
        .into_owned()
        .into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn percent_codes_are_undone_and_others_stay() {
        let arn = percent_decoded("arn%3Aaws%3abedrock%2Fx-v1:0");
        assert_eq!(&*arn, "arn:aws:bedrock/x-v1:0");
        assert_eq!(&*percent_decoded("50%"), "50%");
        assert_eq!(&*percent_decoded("%zz%4"), "%zz%4");
        assert_eq!(&*percent_decoded("%ff"), "\u{fffd}");
    }
}
