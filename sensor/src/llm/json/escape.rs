//! Escapes of JSON strings (RFC 8259, section 7).

use memchr::memchr;

/// A JSON string without its escapes.
pub(super) fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    unescape(raw, &mut text);
    text
}

/// Undoes the escapes of a JSON string (RFC 8259, section 7). What is no escape, and
/// a surrogate without its other half, becomes U+FFFD.
pub(super) fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    let next = |text: &str| memchr(b'\\', text.as_bytes());
    while let Some((plain, escape)) = next(rest).and_then(|at| rest.split_at_checked(at)) {
        out.push_str(plain);
        let mut chars = escape.chars();
        chars.next();
        let c = match chars.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('u') => {
                let (c, after) = code_point(chars.as_str());
                chars = after.chars();
                c
            }
            _ => char::REPLACEMENT_CHARACTER,
        };
        out.push(c);
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// The character that follows `\u`, and what comes after it.
fn code_point(text: &str) -> (char, &str) {
    let Some((high, rest)) = code_unit(text) else {
        return (char::REPLACEMENT_CHARACTER, text);
    };
    let low = rest.strip_prefix("\\u").and_then(code_unit);
    if let Some((low, after)) = low
        && let Some(Ok(c)) = char::decode_utf16([high, low]).next()
        && c.len_utf16() == 2
    {
        return (c, after);
    }
    let c = char::from_u32(high.into()).unwrap_or(char::REPLACEMENT_CHARACTER);
    (c, rest)
}

fn code_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    Some((unit, rest))
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_are_undone_and_broken_ones_are_marked() {
        for (raw, want) in [
            (r#"plain"#, "plain"),
            (r#"a\n\t\"\\\/b"#, "a\n\t\"\\/b"),
            (r"\u00e9\ud83d\udc4b", "\u{e9}\u{1f44b}"),
            (r"\ud83d!", "\u{fffd}!"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\udc4b\ud83d", "\u{fffd}\u{fffd}"),
            (r"\uZZZZ", "\u{fffd}ZZZZ"),
            (r"\u12", "\u{fffd}12"),
            (r"\x\", "\u{fffd}\u{fffd}"),
        ] {
            let mut text = String::new();
            unescape(raw, &mut text);
            assert_eq!(text, want, "{raw}");
        }
    }
}
