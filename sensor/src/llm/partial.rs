//! What can still be read of a JSON object with a hole: the members before it and
//! the members after it.
//!
//! In: the text before the first hole, the text after it. Out: an object that parses,
//! with nothing in it that was not sent whole. Both scans are linear.

/// The object that is left of a document of which `head` begins it and `tail`, where
/// not empty, ends it. `None` where neither has a member to offer.
pub(super) fn mend(head: &str, tail: &str) -> Option<String> {
    let mut object = before_hole(head);
    let after = members_after_hole(tail);
    match (&mut object, after) {
        (Some(text), Some(members)) => {
            text.pop();
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(members);
        }
        (None, Some(members)) => object = Some(format!("{{{members}")),
        (_, None) => {}
    }
    object
}

/// Nesting that is followed; deeper documents are given up.
const MAX_DEPTH: usize = 128;

/// The longest prefix of `head` that ends with a whole member or element, closed. If
/// the document is whole, that is all of it.
fn before_hole(head: &str) -> Option<String> {
    let head = head.trim_start();
    if !head.starts_with('{') {
        return None;
    }
    let mut scan = Prefix::default();
    for (at, byte) in head.bytes().enumerate() {
        scan.byte(at, byte)?;
        if scan.closed {
            break;
        }
    }
    // Counts make sense together or not at all.
    let last = head
        .get(scan.member..)?
        .trim_start_matches([',', '{', ' ', '\n']);
    if !scan.closed && COUNTS.iter().any(|key| last.starts_with(key)) {
        return Some(format!("{}}}", head.get(..scan.member.max(1))?));
    }
    let mut text = head.get(..scan.whole)?.to_owned();
    text.extend(scan.open_at_whole.iter().rev());
    Some(text)
}

/// How outer members that hold counts, or whose elements are counted, begin.
const COUNTS: [&str; 10] = [
    "\"usage",
    "\"meta\"",
    "\"metadata\"",
    "\"predictions\"",
    "\"results\"",
    "\"completions\"",
    "\"prompt\"",
    "\"data\"",
    "\"images\"",
    "\"artifacts\"",
];

/// Where a scan from the beginning stands.
#[derive(Default)]
struct Prefix {
    /// Closing brackets still due.
    open: Vec<char>,
    in_string: bool,
    escaped: bool,
    /// The outermost object is closed.
    closed: bool,
    /// Bytes up to the end of the last whole member or element.
    whole: usize,
    /// `open` at that place.
    open_at_whole: Vec<char>,
    /// Where the last member of the outermost object begins.
    member: usize,
}

impl Prefix {
    /// `None`: too deep, or brackets that do not match.
    fn byte(&mut self, at: usize, byte: u8) -> Option<()> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Some(());
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                if self.open.len() >= MAX_DEPTH {
                    return None;
                }
                self.open.push(if byte == b'{' { '}' } else { ']' });
                self.mark(at.saturating_add(1));
            }
            b'}' | b']' => {
                if self.open.pop() != Some(char::from(byte)) {
                    return None;
                }
                self.closed = self.open.is_empty();
                self.mark(at.saturating_add(1));
            }
            b',' => {
                if self.open.len() == 1 {
                    self.member = at;
                }
                self.mark(at);
            }
            _ => {}
        }
        Some(())
    }

    fn mark(&mut self, at: usize) {
        self.whole = at;
        self.open_at_whole.clone_from(&self.open);
    }
}

/// The members of the outermost object that lie whole in `tail`, with its closing
/// bracket. Outside of strings at its end, a document can be read backwards.
fn members_after_hole(tail: &str) -> Option<&str> {
    let tail = tail.trim_end();
    let bytes = tail.as_bytes();
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut first = None;
    let mut at = bytes.len();
    while let Some(before) = at.checked_sub(1) {
        at = before;
        let byte = *bytes.get(at)?;
        if in_string {
            if byte == b'"' {
                let slashes = backslashes_before(bytes, at);
                in_string = slashes % 2 == 1;
                at = at.saturating_sub(slashes);
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'}' | b']' => depth = depth.saturating_add(1),
            b'{' | b'[' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            b',' if depth == 1 => first = Some(at.saturating_add(1)),
            _ => {}
        }
    }
    tail.get(first?..)
}

fn backslashes_before(bytes: &[u8], at: usize) -> usize {
    let before = bytes.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|b| **b == b'\\').count()
}

#[cfg(test)]
mod tests {
    use super::mend;

    #[test]
    fn a_whole_document_stays_as_it_is() {
        let text = r#"{"a":[1,{"b":"x\"}"}],"c":null}"#;
        assert_eq!(mend(text, "").as_deref(), Some(text));
    }

    #[test]
    fn a_cut_document_keeps_what_is_whole() {
        let text = r#"{"model":"gpt-4","n":12,"messages":[{"role":"user","content":"hel"#;
        assert_eq!(
            mend(text, "").as_deref(),
            Some(r#"{"model":"gpt-4","n":12,"messages":[{"role":"user"}]}"#)
        );
        assert_eq!(mend(r#"{"n":12"#, "").as_deref(), Some("{}"));
        assert_eq!(mend("plain", ""), None);
    }

    #[test]
    fn counts_that_are_cut_are_left_out() {
        let text = r#"{"id":"x","usage":{"input":1,"cached":2"#;
        assert_eq!(mend(text, "").as_deref(), Some(r#"{"id":"x"}"#));
        let first = r#"{"usage":{"input":1,"cached":2"#;
        assert_eq!(
            mend(first, r#""a":1},"id":"x"}"#).as_deref(),
            Some(r#"{"id":"x"}"#)
        );
    }

    #[test]
    fn members_after_a_hole_join_those_before_it() {
        let head = r#"{"id":"x","choices":[{"text":"abc"#;
        let tail = r#"def \\\" , [ ","index":0}],"usage":{"a":[1,2],"b":"}\\"},"tier":"default"} "#;
        assert_eq!(
            mend(head, tail).as_deref(),
            Some(r#"{"id":"x","choices":[{}],"usage":{"a":[1,2],"b":"}\\"},"tier":"default"}"#)
        );
    }

    #[test]
    fn a_tail_alone_is_an_object() {
        let tail = r#"ext"}],"usage":{"a":1}}"#;
        assert_eq!(mend("", tail).as_deref(), Some(r#"{"usage":{"a":1}}"#));
    }
}
