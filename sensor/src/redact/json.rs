//! Text that is JSON, rewritten in place.
//!
//! In: text. Out: the same with some of its strings and numbers replaced, and JSON as
//! before: names, order and what is between stay as they were sent.

use serde::de::IgnoredAny;

/// A string or a number, under the name that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// That of the innermost member it belongs to; in `{"name": …, "value": …}` what the
    /// first one says.
    pub name: Option<&'a str>,
    pub value: &'a str,
}

/// What [`rewritten`] looks through.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    out: String,
    /// Up to where `out` has everything.
    done: usize,
    name: Option<String>,
    pair: Option<String>,
}

/// Whether it is worth to be read as JSON.
fn is_json(text: &str) -> bool {
    text.trim_ascii_start().starts_with(['{', '['])
        && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// `text` with every field replaced that `each` gives something else for, which becomes a
/// string. `None`: it is no object and no array. `Some(None)`: nothing is replaced.
pub(super) fn rewritten(
    text: &str,
    each: &dyn Fn(Field<'_>) -> Option<String>,
) -> Option<Option<String>> {
    if !is_json(text) {
        return None;
    }
    let mut walk = Walk {
        text,
        at: 0,
        out: String::new(),
        done: 0,
        name: None,
        pair: None,
    };
    walk.run(each);
    let Walk { mut out, done, .. } = walk;
    Some((done > 0).then(|| {
        out.push_str(text.get(done..).unwrap_or_default());
        out
    }))
}

/// Whether the other member of the same object says what this one is called.
pub(super) fn names_pair(name: &str) -> bool {
    ["name", "key", "header", "variable", "field"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

impl Walk<'_> {
    fn run(&mut self, each: &dyn Fn(Field<'_>) -> Option<String>) {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            let begin = self.at;
            match byte {
                b'"' => {
                    self.at = end_of_string(bytes, begin);
                    self.string(begin, each);
                }
                b'-' | b'0'..=b'9' => {
                    let rest = bytes.get(begin..).unwrap_or_default();
                    let is_part =
                        |b: &&u8| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                    self.at = begin + rest.iter().take_while(is_part).count();
                    let value = self.text.get(begin..self.at).unwrap_or_default();
                    self.field(begin, value, each);
                }
                b'{' | b'}' => {
                    self.pair = None;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    fn string(&mut self, begin: usize, each: &dyn Fn(Field<'_>) -> Option<String>) {
        let literal = self.text.get(begin..self.at).unwrap_or_default();
        let Ok(value) = serde_json::from_str::<String>(literal) else {
            return;
        };
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.trim_ascii_start().starts_with(':') {
            self.name = Some(value);
            return;
        }
        self.field(begin, &value, each);
        if self.name.as_deref().is_some_and(names_pair) {
            self.pair = Some(value);
        }
    }

    fn field(&mut self, begin: usize, value: &str, each: &dyn Fn(Field<'_>) -> Option<String>) {
        let is_value = self.name.as_deref() == Some("value");
        let pair = self.pair.as_deref().filter(|_| is_value);
        let name = pair.or(self.name.as_deref());
        if let Some(other) = each(Field { name, value }) {
            let before = self.text.get(self.done..begin).unwrap_or_default();
            self.out.push_str(before);
            self.out
                .push_str(&serde_json::Value::from(other).to_string());
            self.done = self.at;
        }
    }
}

/// Behind the quote that ends the string which begins at `begin`.
fn end_of_string(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<Vec<String>> {
        let told = std::cell::RefCell::new(Vec::new());
        rewritten(text, &|Field { name, value }| {
            let name = name.unwrap_or("-");
            told.borrow_mut().push(format!("{name}={value}"));
            None
        })?;
        Some(told.into_inner())
    }

    #[test]
    fn fields_have_the_name_that_is_next() {
        let text = r#"{"a": "x", "b": {"c": [1, "y\n"], "d": true}, "e\"": -2.5e3}"#;
        let all = ["a=x", "c=1", "c=y\n", "e\"=-2.5e3"];
        assert_eq!(told(text).unwrap(), all);
        let pairs = r#"[{"name": "KEY", "value": "x"}, {"value": "y"}, "z"]"#;
        let all = ["name=KEY", "KEY=x", "value=y", "value=z"];
        assert_eq!(told(pairs).unwrap(), all);
    }

    #[test]
    fn what_is_replaced_leaves_the_rest_as_it_was() {
        let text = "{ \"b\": 12345678901234567890, \"a\":\"x\\u00e9\" , \"c\": 1.10 }";
        let replaced = rewritten(text, &|field| {
            (field.name == Some("a")).then(|| "\"é".into())
        });
        let expected = "{ \"b\": 12345678901234567890, \"a\":\"\\\"é\" , \"c\": 1.10 }";
        assert_eq!(replaced.unwrap().as_deref(), Some(expected));
        assert_eq!(rewritten(text, &|_| None), Some(None));
    }

    #[test]
    fn what_is_no_json_is_left_to_others() {
        for text in [
            "",
            "plain",
            "[not json]",
            "{\"cut\": \"of",
            "\"text\"",
            "12",
        ] {
            assert_eq!(rewritten(text, &|_| Some(String::new())), None, "{text}");
        }
    }
}
