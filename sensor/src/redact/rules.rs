//! What is masked in content: keys and tokens, mail addresses, numbers of cards,
//! accounts and telephones.
//!
//! In: text. Out: the text with each find replaced by its kind in brackets. Linear
//! in the text's length: the expressions have no backtracking, and where a sum of
//! digits tells a number from others it is computed.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

struct Rule {
    mark: &'static str,
    pattern: Regex,
    /// Whether a match is what it looks like.
    confirm: fn(&str) -> bool,
}

/// Later rules see what earlier ones left.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let always: fn(&str) -> bool = |_| true;
    [
        ("[private key]", PRIVATE_KEY, always),
        ("[key]", KEY, always),
        ("[token]", TOKEN, always),
        ("[secret]", ASSIGNED, always),
        ("[email]", EMAIL, always),
        ("[iban]", IBAN, is_iban),
        ("[card]", CARD, is_card),
        ("[phone]", PHONE, is_phone),
    ]
    .into_iter()
    .map(|(mark, pattern, confirm)| Rule {
        mark,
        pattern: compile(pattern),
        confirm,
    })
    .collect()
});

/// What stands in place of what was masked.
pub(super) fn marks() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.mark)
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and tested")]
fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("invariant: the pattern is valid")
}

// Classes are spelled out: `\d` and the like need tables that are not built in.

/// The end may be missing: cut text is masked up to where it ends.
const PRIVATE_KEY: &str = r"(?x)
    -----BEGIN\x20[A-Z\x20]{0,32}PRIVATE\x20KEY-----
    (?:[A-Za-z0-9+/=\\\r\n] | Proc-Type:\x204, | DEK-Info:\x20[A-Z0-9-]+,)*
    (?:-----END\x20[A-Z\x20]{0,32}PRIVATE\x20KEY-----)?
";

/// Keys that say by their beginning whose they are.
const KEY: &str = r"(?x)(?-u:\b)(?:
    (?:sk|pk|rk)[-_](?:[a-z]{2,12}[-_]|[a-z]{3,8}[0-9]{2}[-_])*[A-Za-z0-9_-]{16,}
  | AIza[A-Za-z0-9_-]{30,}
  | (?:gsk|hf|r8|npm|glsa|dop_v1|nvapi|csk|fw|tgp_v1|lsv2_pt|lsv2_sk)[_-][A-Za-z0-9_-]{16,}
  | (?:xai|pplx|pa|vck)-[A-Za-z0-9]{20,}
  | gh[opsur]_[A-Za-z0-9]{20,}
  | github_pat_[A-Za-z0-9_]{20,}
  | glpat-[A-Za-z0-9_-]{16,}
  | xox[abeoprs]-[A-Za-z0-9-]{10,}
  | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}
  | SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}
  | ya29\.[A-Za-z0-9_.-]{16,}
  | eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?
)";

/// Tokens that say what they are by the word before them.
const TOKEN: &str = r"(?i-u:\b(?:bearer|basic)[ ]+[A-Za-z0-9._~+/-]{12,}=*)";

/// Values that are given a telling name.
const ASSIGNED: &str = r#"(?i-u:\b(?:api[_ -]?key|access[_ -]?key|secret[_ -]?key|client[_ -]?secret|auth[_ -]?token|access[_ -]?token|refresh[_ -]?token|accountkey|password|passwd|passphrase|pwd)\b\\?["']?[ ]*(?:=|:|[ ]is[ ])[ ]*\\?["']?[A-Za-z0-9._~+/!@#$%^&*-]{4,}=*)"#;

const EMAIL: &str = r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}";

const IBAN: &str =
    r"(?-u:\b)[A-Z]{2}[0-9]{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?(?-u:\b)";

const CARD: &str = r"(?-u:\b)[0-9](?:[ -]?[0-9]){12,18}(?-u:\b)";

const PHONE: &str = r"(?x)
    \+[0-9](?:[-.()\x20]{0,2}[0-9]){6,14}(?-u:\b)
  | \([0-9]{2,5}\)\x20?[0-9]{2,5}(?:[-.\x20][0-9]{2,5}){1,3}(?-u:\b)
  | (?-u:\b)[0-9]{3}[.-][0-9]{3}[.-][0-9]{4}(?-u:\b)
  | (?-u:\b)0[0-9]{2,4}[-/\x20][0-9]{3,4}[-\x20]?[0-9]{3,5}(?-u:\b)
";

/// The text with every find masked, or `None` where there is none.
pub fn mask(text: &str) -> Option<String> {
    let mut masked = Cow::Borrowed(text);
    for rule in RULES.iter() {
        let replaced = rule
            .pattern
            .replace_all(&masked, |found: &regex::Captures<'_>| {
                let found = found.get(0).map_or("", |m| m.as_str());
                if (rule.confirm)(found) {
                    rule.mark.to_owned()
                } else {
                    found.to_owned()
                }
            });
        if let Cow::Owned(replaced) = replaced {
            masked = Cow::Owned(replaced);
        }
    }
    match masked {
        Cow::Owned(masked) if masked != text => Some(masked),
        _ => None,
    }
}

/// Where the finds are in `text`; they may overlap.
pub fn finds(text: &str) -> Vec<Range<usize>> {
    RULES
        .iter()
        .flat_map(|rule| {
            rule.pattern
                .find_iter(text)
                .filter(|found| (rule.confirm)(found.as_str()))
        })
        .map(|found| found.range())
        .collect()
}

/// ISO 7812: the Luhn sum is a multiple of ten.
fn is_card(text: &str) -> bool {
    let sum: u32 = text
        .bytes()
        .rev()
        .filter(u8::is_ascii_digit)
        .map(|digit| u32::from(digit - b'0'))
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    sum > 0 && sum.is_multiple_of(10)
}

/// ISO 13616: the first four characters moved to the end and letters read as numbers
/// from 10 on, the remainder by 97 is 1.
fn is_iban(text: &str) -> bool {
    let compact: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    let (Some(head), Some(rest)) = (compact.get(..4), compact.get(4..)) else {
        return false;
    };
    let remainder = rest
        .iter()
        .chain(head)
        .fold(0_u32, |remainder, byte| match byte {
            b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
            _ => (remainder * 100 + u32::from(byte.to_ascii_uppercase() - b'A') + 10) % 97,
        });
    remainder == 1
}

/// E.164: no number has more than 15 digits, and none that is worth hiding fewer than 7.
fn is_phone(text: &str) -> bool {
    (7..=15).contains(&text.bytes().filter(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_are_masked_and_the_text_around_them_stays() {
        for (text, masked) in [
            ("use sk-proj-abcdefghijklmnop1234 now", "use [key] now"),
            ("sk-ant-api03-AbCdEfGhIjKlMnOpQrSt_uv-w", "[key]"),
            ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "[key]"),
            ("id AKIAIOSFODNN7EXAMPLE.", "id [key]."),
            ("ghp_abcdefghijklmnopqrstuvwxyz012345", "[key]"),
            ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl!", "[key]!"),
            (
                "Authorization: Bearer abcdef0123456789",
                "Authorization: [token]",
            ),
            ("password = hunter2!", "[secret]"),
            (r#"{"api_key": "0123456789"}"#, r#"{"[secret]"}"#),
            (
                "mail jo.doe+x@mail.example.org, please",
                "mail [email], please",
            ),
            ("card 4111 1111 1111 1111.", "card [card]."),
            ("pay GB82 WEST 1234 5698 7654 32 today", "pay [iban] today"),
            ("DE89370400440532013000", "[iban]"),
            (
                "call +1 (555) 010-0123 or 555-010-0123",
                "call [phone] or [phone]",
            ),
            ("ring +49 30 901820", "ring [phone]"),
        ] {
            assert_eq!(mask(text).as_deref(), Some(masked), "{text}");
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "The year 2026, 3.14159 and 1,000,000 of them.",
            "order 4111111111111112 is no card",
            "GB82WEST12345698765433 is no account",
            "a@b is no address, sk-short no key",
            "uuid 123e4567-e89b-12d3-a456-426614174000",
            "2026-11-22 06:30:00.123456",
            "fn main() { let basic = 1; }",
            "skills-and-more are fine",
        ] {
            assert_eq!(mask(text), None, "{text}");
        }
    }

    #[test]
    fn private_keys_go_whole_and_when_cut() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB+/=\n-----END RSA PRIVATE KEY-----";
        assert_eq!(mask(&format!("a {key} b")).unwrap(), "a [private key] b");
        assert_eq!(mask(&key[..40]).unwrap(), "[private key]");
    }

    #[test]
    fn long_hostile_text_is_handled() {
        let text = "1 ".repeat(200_000) + &"a.".repeat(200_000) + "@";
        assert_eq!(mask(&text), None);
    }
}
