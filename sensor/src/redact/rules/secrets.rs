//! What authenticates somebody: keys, tokens, passwords.

use std::ops::Range;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use regex::Regex;

use super::{Pattern, SECRET, compile};

pub(super) const PATTERNS: [Pattern; 10] = [
    ("[private key]", PRIVATE_KEY, always, false),
    ("[key]", KEY, is_random, false),
    ("[token]", TOKEN, is_token, false),
    (SECRET, COOKIE, has_pairs, false),
    (SECRET, USER, is_literal, false),
    (SECRET, QUERY, is_random, false),
    (SECRET, WEBHOOK, is_random, false),
    (SECRET, COMMAND, is_option, false),
    (SECRET, ASSIGNED, is_assigned, true),
    (SECRET, HINTED, is_hinted, true),
];

// Classes are spelled out: `\d` and the like need tables that are not built in.

/// The end may be missing: cut text is masked up to where it ends. Lines may be indented,
/// quoted, or ended by `\n`.
const PRIVATE_KEY: &str = r#"(?x)
    -----BEGIN\x20[A-Z0-9\x20]{0,32}PRIVATE\x20KEY(?:\x20BLOCK)?-----
    (?: [^-]*-----END\x20[A-Z0-9\x20]{0,32}PRIVATE\x20KEY(?:\x20BLOCK)?-----
      | (?: [\r\n][\x20\t>|*\#"'+]+
          | \x20[A-Za-z0-9+/=]{16,} | \x20[A-Za-z0-9+/]+=
          | Proc-Type:\x204, | DEK-Info:\x20[A-Z0-9-]+, | (?:Version|Comment):[^\r\n\\]*
          | [A-Za-z0-9+/=\\\r\n] )*
        (?:-----END\x20[A-Z0-9\x20]{0,32}PRIVATE\x20KEY(?:\x20BLOCK)?-----)? )
"#;

/// Keys that say by their beginning whose they are. In JSON a line may have ended before.
const KEY: &str = r"(?x)(?:(?-u:\b)|\\[nrt])(
    (?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}
  | AIza[A-Za-z0-9_-]{30,}
  | (?:gsk|hf|r8|npm|glsa|glc|dop_v1|nvapi|csk|fw|tgp_v1|lsv2_pt|lsv2_sk|pcsk|jina|whsec|sbp
      |shpat|shpca|shppa|shpss|lin_api|ntn|figd|dckr_pat|sntrys|secret)[_-][A-Za-z0-9_-]{16,}
  | (?:xai|pplx|pa|vck|tvly|fc|pypi|GOCSPX|PMAK|NRAK|sq0[a-z]{3})-[A-Za-z0-9_-]{20,}
  | gh[opsur]_[A-Za-z0-9]{20,}
  | github_pat_[A-Za-z0-9_]{20,}
  | gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[A-Za-z0-9_-]{16,}
  | x(?:ox[abeoprs]|app)-[A-Za-z0-9-]{10,}
  | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}
  | SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}
  | ya29\.[A-Za-z0-9_.-]{16,}
  | 1//0[A-Za-z0-9_-]{24,}
  | hv[sb]\.[A-Za-z0-9_-]{20,}
  | (?:dapi|key-|SK)[0-9a-f]{32}
  | AGE-SECRET-KEY-1[0-9A-Z]{50,}
  | [0-9]{8,10}:AA[A-Za-z0-9_-]{32,}
  | eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?
)";

/// Tokens that say what they are by the word before them.
const TOKEN: &str = r"(?i-u:\b(?:bearer|basic|authorization:[ ]?(?:token|apikey|digest))[ ]+([A-Za-z0-9._~+/-]{12,}=*))";

const COOKIE: &str = r#"(?i-u:\b(?:set-)?cookie)\\?["']?[ ]*[:=][ ]*\\?["']?([^\r\n"'\\]+)"#;

/// Between the user's name and the host of a URL.
const USER: &str = r#"(?-u:[a-z])://[^\x20\t\r\n/@:"'<>]{0,64}:([^\x20\t\r\n/@"'<>]{1,256})@"#;

/// Signatures and the like in the query of a URL.
const QUERY: &str = r#"(?i-u:[?&](?:sig|signature|key|token|code|auth|secret|x-(?:amz|goog)-(?:signature|credential|security-token)))=([^&\#\x20\t\r\n"'<>()\\]{8,})"#;

/// Whoever knows the path may post there.
const WEBHOOK: &str =
    r"(?:hooks\.slack\.com/[a-z]+/|discord(?:app)?\.com/api/webhooks/[0-9]+/)([A-Za-z0-9/_-]{8,})";

/// Options of a few programs: `curl -u jo:hunter2`, `mysql -phunter2`.
const COMMAND: &str = r#"(?x)(?-u:\b)(?:
    curl(?-u:\b)[^\r\n]{0,120}?\x20(?:-u|--user)[\x20=]?\\?["']?[^\x20\t\r\n:"']{1,64}:
  | (?:mysql|mysqldump|mariadb|sshpass)(?-u:\b)[^\r\n]{0,120}?\x20-p
  | redis-cli(?-u:\b)[^\r\n]{0,120}?\x20-a\x20
)([^\x20\t\r\n"'`;)\\]{4,256})"#;

/// Names of what authenticates. What stands before them in one word, as in
/// `AWS_SECRET_ACCESS_KEY`, is not looked at.
macro_rules! names {
    () => {
        "(?:pass(?:word|wd|phrase|code)|passwort|pwd\
        |(?:api|access|secret|private|signing|encryption|master|account|shared|auth)[ _-]?key\
        |(?:client|app|api|shared|webhook|jwt|session|consumer|signing)[ _-]?secret\
        |(?:auth|access|refresh|id|api|bearer|session|bot|security)[ _-]?token)s?[0-9]{0,2}"
    };
}

/// Names that often mean something else.
macro_rules! hints {
    () => {
        "(?:secret|token|credentials?|signature|authorization|x-api-key|session)"
    };
}

/// Values of such names: in quotes up to where these end, else to the end of the word.
macro_rules! value {
    () => {
        concat!(
            r#"(?:\\?"([^"\\\r\n]+)|\\?'([^'\\\r\n]+)"#,
            r#"|([^\x20\t\r\n"'`,;)}\]<>\\][^\x20\t\r\n"'`,;)}\]<>\\]{3,255}))"#
        )
    };
}

/// `password = hunter2`, `"password": "hunter2"`, `password is hunter2`,
/// `<password>hunter2<`, `--password hunter2`, `env["PASSWORD"] = …`.
const ASSIGNED: &str = concat!(
    "(?:(?i-u:",
    names!(),
    r#")(?:\\?["'`]?\]?[ \t]{0,8}(?:=>|:=|={1,3}|:)[ \t]{0,8}|>|[ ]is[ ])"#,
    "|--(?:[a-z]{1,12}-){0,3}(?:password|token|secret|api-key)[ ])",
    value!()
);

/// The same for names that often mean something else, where the value is of no other use.
const HINTED: &str = concat!(
    r"(?i-u:\b",
    hints!(),
    r#")\\?["'`]?\]?[ \t]{0,8}(?:=>|:=|={1,3}|:)[ \t]{0,8}"#,
    value!()
);

/// A whole name.
static NAME: LazyLock<Regex> = LazyLock::new(|| compile(concat!("(?i-u:", names!(), ")$")));
static HINT: LazyLock<Regex> = LazyLock::new(|| compile(concat!("^(?i-u:", hints!(), ")$")));

/// What stands where a value is meant, and is none: words of programs and of people.
const NO_VALUES: [&str; 49] = [
    "string",
    "str",
    "bytes",
    "bool",
    "boolean",
    "int",
    "integer",
    "number",
    "object",
    "text",
    "varchar",
    "char",
    "any",
    "optional",
    "none",
    "null",
    "nil",
    "undefined",
    "true",
    "false",
    "void",
    "unknown",
    "required",
    "incorrect",
    "invalid",
    "wrong",
    "missing",
    "empty",
    "expired",
    "valid",
    "correct",
    "weak",
    "strong",
    "stored",
    "hashed",
    "encrypted",
    "protected",
    "needed",
    "hidden",
    "changed",
    "reset",
    "sent",
    "used",
    "also",
    "only",
    "redacted",
    "return",
    "raise",
    "pass",
];

/// Whether `value` is to be masked where it is that of a field called `name`.
pub fn is_secret_of(name: &str, value: &str) -> bool {
    let whole = || 0..value.len();
    (NAME.is_match(name) && is_value(value, true))
        || (HINT.is_match(name) && is_random(value, whole()).is_some())
}

fn always(_: &str, found: Range<usize>) -> Option<Range<usize>> {
    Some(found)
}

fn is_random(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    looks_random(text.get(found.clone())?).then_some(found)
}

/// As `a=b; c=d` is.
fn has_pairs(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    let (name, _) = text.get(found.clone())?.split_once('=')?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (!name.is_empty() && name.bytes().all(is_name)).then_some(found)
}

/// No name of a variable or a place for a value.
fn is_literal(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    let begins = text.get(found.clone())?.starts_with(['$', '{', '[', '%']);
    (!begins).then_some(found)
}

/// Prose goes on after `basic`, too.
fn is_token(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    let token = text.get(found.clone())?;
    let pair = BASE64_STANDARD
        .decode(token)
        .or_else(|_| BASE64_STANDARD_NO_PAD.decode(token));
    let is_pair = pair.is_ok_and(|pair| pair.is_ascii() && pair.contains(&b':'));
    (is_pair || looks_random(token)).then_some(found)
}

/// No port.
fn is_option(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    let value = text.get(found.clone())?;
    let is_number = value.bytes().all(|b| b.is_ascii_digit());
    (!is_number && is_value(value, false)).then_some(found)
}

fn is_assigned(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    let found = up_to_next_pair(text, found)?;
    let (before, value) = (text.get(..found.start)?, text.get(found.clone())?);
    let is_quoted = before.ends_with(['"', '\'']);
    // A tag ends, and then something is quoted.
    let tag = before.strip_suffix(['"', '\'']).unwrap_or_default();
    if tag.ends_with('>') && !tag.ends_with("=>") {
        return None;
    }
    // Of a sentence the end is no part of what it tells.
    let value = value.trim_end_matches(['.', '!', '?', ':']);
    let is_prose = before.ends_with(" is ") && value.len() < 6;
    let is_kept = is_value(value, is_quoted) && !(is_prose && is_lower(value));
    is_kept.then_some(found)
}

fn is_hinted(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    is_random(text, up_to_next_pair(text, found)?)
}

/// In the query of a URL another pair may follow.
fn up_to_next_pair(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    const LONGEST_NAME: usize = 64;
    let before = text.as_bytes().get(..found.start)?;
    let mut name = before.iter().rev().skip(1).take(LONGEST_NAME);
    let is_name = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_query = matches!(name.find(|b| !is_name(b)), Some(b'?' | b'&'));
    let length = text.get(found.clone())?.find('&').filter(|_| is_query);
    Some(found.start..length.map_or(found.end, |length| found.start + length))
}

fn is_lower(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase())
}

/// Whether what is given a telling name is a value: no place for one, no word for none,
/// no path to it, and outside of quotes no expression.
fn is_value(value: &str, is_quoted: bool) -> bool {
    let plain = value.trim().trim_start_matches(['&', '*']);
    let says_something = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii();
    if !plain.contains(says_something) {
        return false;
    }
    let fillers = |b| matches!(b, b'*' | b'.' | b'-' | b'_' | b'x' | b'X');
    let is_place = plain.starts_with(['$', '<', '{', '[', '%']) || plain.bytes().all(fillers);
    let is_word = NO_VALUES
        .iter()
        .any(|word| plain.eq_ignore_ascii_case(word));
    let is_path = plain.starts_with(['/', '~']) && !looks_random(plain);
    let is_name = NAME.find(plain).is_some_and(|name| name.start() == 0);
    let is_code = !is_quoted && (is_name || is_expression(plain));
    !(is_place || is_word || is_path || is_code)
}

/// `settings.key`, `getpass(`, `os.environ[`.
fn is_expression(value: &str) -> bool {
    let (path, is_called) = match value.split_once(['(', '[']) {
        Some((path, _)) => (path, true),
        None => (value, false),
    };
    let is_path = !path.is_empty()
        && path
            .bytes()
            .all(|b| b.is_ascii_alphabetic() || matches!(b, b'.' | b'_'));
    is_path && (is_called || path.contains('.'))
}

/// Whether letters and digits are mixed as in nothing that anybody would say.
pub(super) fn looks_random(text: &str) -> bool {
    const LONG: usize = 16;
    let run_is_mixed = text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|b| kind(&b));
        run.len() >= LONG && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    });
    if run_is_mixed {
        return true;
    }
    let kind = |b: u8| match b {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        _ => 2,
    };
    let mut kinds = text.bytes().filter(u8::is_ascii_alphanumeric).map(kind);
    let Some(mut last) = kinds.next() else {
        return false;
    };
    let (mut count, mut changes, mut digits) = (1_usize, 0_usize, usize::from(last == 0));
    for kind in kinds {
        count += 1;
        changes += usize::from(kind != last);
        digits += usize::from(kind == 0);
        last = kind;
    }
    // Humps of a name in a program change twice in a word of five letters or more.
    match digits {
        0 => count >= LONG && changes * 5 >= count * 2,
        _ => count >= LONG / 2 && changes * 5 >= count && digits < count,
    }
}
