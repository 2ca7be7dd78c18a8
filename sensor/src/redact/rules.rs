//! What is masked in content: keys and tokens, mail addresses, numbers of cards,
//! accounts and telephones.
//!
//! In: text. Out: the text with each find replaced by its kind in brackets. Linear
//! in the text's length: the expressions have no backtracking, and where they find too
//! much, what they found is looked at once more: its sum of digits, its length, how
//! random it is, what stands around it.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

mod people;
mod secrets;

use secrets::is_secret_of;

/// What of a find is masked, `None`: it is none. In: the text, and what the expression's
/// first group holds, or all that it matched.
type Confirm = fn(&str, Range<usize>) -> Option<Range<usize>>;

struct Rule {
    mark: &'static str,
    pattern: Regex,
    confirm: Confirm,
    /// A match that is none may hide one that begins inside it; only where matches are
    /// short, so that nothing is read often.
    again: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Find {
    /// All that told, as `password = hunter2`.
    told: Range<usize>,
    /// What is replaced, as `hunter2`.
    masked: Range<usize>,
    rule: usize,
}

/// Where two finds overlap, both are masked as the earlier rule has it.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let secrets = secrets::PATTERNS.into_iter();
    secrets
        .chain(people::PATTERNS)
        .map(|(mark, pattern, confirm, again)| Rule {
            mark,
            pattern: compile(pattern),
            confirm,
            again,
        })
        .collect()
});

/// Mark, expression, confirmation, and whether to look [again](Rule::again).
type Pattern = (&'static str, &'static str, Confirm, bool);

/// What replaces the value of a field whose name says what it is.
pub(super) const SECRET: &str = "[secret]";

/// What stands in place of what was masked.
pub(super) fn marks() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.mark)
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and tested")]
fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("invariant: the pattern is valid")
}

/// The text with every find masked, or `None` where there is none.
pub fn mask(text: &str) -> Option<String> {
    masked(text, RULES.len())
}

/// The same for an id or a name, which is no address and no number of a person's whatever
/// it looks like.
pub fn mask_secrets(text: &str) -> Option<String> {
    masked(text, secrets::PATTERNS.len())
}

fn masked(text: &str, rules: usize) -> Option<String> {
    let finds = merged(all(text, rules));
    if finds.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for Find { masked, rule, .. } in finds {
        out.push_str(text.get(at..masked.start).unwrap_or_default());
        out.push_str(RULES.get(rule).map_or(SECRET, |rule| rule.mark));
        at = masked.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    Some(out)
}

/// The value of a field called `name`, where the name says that it is to be masked.
pub fn mask_of(name: &str, value: &str) -> Option<String> {
    if is_secret_of(name, value) {
        return Some(SECRET.to_owned());
    }
    people::is_phone_of(name, value).then(|| people::PHONE_MARK.to_owned())
}

/// Where the finds are in `text`, with what tells of them; they may overlap.
pub fn finds(text: &str) -> Vec<Range<usize>> {
    let finds = all(text, RULES.len()).into_iter();
    finds.map(|find| find.told).collect()
}

fn all(text: &str, rules: usize) -> Vec<Find> {
    let mut finds = Vec::new();
    for (number, rule) in RULES.iter().enumerate().take(rules) {
        let mut at = 0;
        while let Some(found) = rule.pattern.captures_at(text, at) {
            let Some(whole) = found.get(0).map(|whole| whole.range()) else {
                break;
            };
            let group = found.iter().skip(1).flatten().next();
            let group = group.map_or(whole.clone(), |group| group.range());
            let begin = group.start;
            let confirmed = (rule.confirm)(text, group).filter(|masked| !masked.is_empty());
            at = match confirmed {
                None if rule.again => next_word(text, begin.max(at)),
                _ => whole.end.max(at + 1),
            };
            finds.extend(confirmed.map(|masked| Find {
                told: whole,
                masked,
                rule: number,
            }));
            if at > text.len() {
                break;
            }
        }
    }
    finds
}

/// The end of the word that begins at `at`, or of what is between two.
fn next_word(text: &str, at: usize) -> usize {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    let word = rest.iter().take_while(|b| b.is_ascii_alphanumeric());
    let end = at.saturating_add(word.count()).max(at.saturating_add(1));
    (end..=text.len())
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(text.len().saturating_add(1))
}

/// By place; those that overlap as one.
fn merged(mut finds: Vec<Find>) -> Vec<Find> {
    finds.sort_by_key(|find| (find.masked.start, find.rule));
    let mut merged: Vec<Find> = Vec::with_capacity(finds.len());
    for find in finds {
        match merged.last_mut() {
            Some(last) if find.masked.start < last.masked.end => {
                last.masked.end = last.masked.end.max(find.masked.end);
                last.rule = last.rule.min(find.rule);
            }
            _ => merged.push(find),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
