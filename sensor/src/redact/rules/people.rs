//! What leads to somebody: mail addresses, numbers of accounts, cards and telephones.

use std::ops::Range;

use super::Pattern;

pub(super) const PATTERNS: [Pattern; 4] = [
    ("[email]", EMAIL, is_email, false),
    ("[iban]", IBAN, is_iban, true),
    ("[card]", CARD, is_card, true),
    (PHONE_MARK, PHONE, is_phone, true),
];

pub(super) const PHONE_MARK: &str = "[phone]";

/// In a URL the sign is coded.
const EMAIL: &str = r"[A-Za-z0-9._%+-]{1,64}(?:@|%40)(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}";

/// In groups of four, or without any.
const IBAN: &str = r"(?x)
    (?-u:\b)[A-Z]{2}[0-9]{2}(?:\x20[A-Z0-9]{4}){2,7}(?:\x20[A-Z0-9]{1,3})?(?-u:\b)
  | (?-u:\b)[A-Za-z]{2}[0-9]{2}[A-Za-z0-9]{11,30}(?-u:\b)
";

/// Without groups, in those of four, or in those of American Express.
const CARD: &str = r"(?x)
    (?-u:\b)[0-9]{13,19}(?-u:\b)
  | (?-u:\b)[0-9]{4}[\x20-][0-9]{4}[\x20-][0-9]{4}[\x20-][0-9]{4}(?:[\x20-][0-9]{3})?(?-u:\b)
  | (?-u:\b)[0-9]{4}[\x20-][0-9]{6}[\x20-][0-9]{4,5}(?-u:\b)
";

/// With the code of its country, by the shapes of North America, France and others, and
/// where a word says what it is.
const PHONE: &str = r#"(?x)
    (\+[1-9](?:[-./()\x20]{0,2}[0-9]){6,14})(?-u:\b)
  | (\([2-9][0-9]{2}\)\x20?[0-9]{3}[-.\x20][0-9]{4})(?-u:\b)
  | (\(0[1-9][0-9]{0,3}\)\x20?[0-9]{2,8}(?:[-.\x20][0-9]{2,5}){0,3})(?-u:\b)
  | (?-u:\b)((?:1[-.\x20])?[2-9][0-9]{2}(?:-[0-9]{3}-|\.[0-9]{3}\.)[0-9]{4})(?-u:\b)
  | (?-u:\b)(0[1-9](?:[\x20.-][0-9]{2}){4})(?-u:\b)
  | (?-u:\b)(0[1-9][0-9]{1,3}[-/\x20][0-9]{3,4}[-\x20]?[0-9]{3,5})(?-u:\b)
  | (?i-u:\b(?:phone|telephone|tel|mobile|cell|fax|whatsapp))(?:\x20?(?:number|no))?\\?["']?[.:=\x20]{1,3}\\?["']?
    (\+?[0-9](?:[-./()\x20]{0,2}[0-9]){6,14})(?-u:\b)
"#;

/// Ends of names that files and units have.
const NO_DOMAINS: [&str; 12] = [
    "service", "socket", "timer", "target", "mount", "slice", "scope", "png", "jpg", "jpeg", "svg",
    "webp",
];

fn is_email(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    let (before, address) = (text.get(..found.start)?, text.get(found.clone())?);
    let (_, top) = address.rsplit_once('.')?;
    if is_password(before) {
        return None;
    }
    let is_host = ["git@github.com", "git@gitlab.com", "git@bitbucket.org"].contains(&address);
    if is_host || NO_DOMAINS.contains(&top) {
        return None;
    }
    // In JSON a line may have ended before.
    let is_escaped = before.ends_with('\\') && address.starts_with(['n', 'r', 't']);
    Some(found.start + usize::from(is_escaped)..found.end)
}

/// Whether what follows `before` ends what a URL has before its host, as `http://user:`.
fn is_password(before: &str) -> bool {
    const LONGEST: usize = 80;
    let bytes = before.as_bytes();
    let near = bytes.get(bytes.len().saturating_sub(LONGEST)..);
    let Some((b':', rest)) = near.and_then(|near| near.split_last()) else {
        return false;
    };
    let is_of_user = |b: &u8| !b.is_ascii_whitespace() && !matches!(b, b'/' | b'@' | b'"');
    let user = rest.iter().rev().take_while(|b| is_of_user(b)).count();
    let scheme = rest
        .get(..rest.len().saturating_sub(user))
        .unwrap_or_default();
    scheme.ends_with(b"://")
}

/// Countries and how long their numbers are (ISO 13616, the registry).
const IBANS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27\
    DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27\
    JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24\
    PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24\
    XK20YE30";

/// ISO 13616: the first four characters moved to the end and letters read as numbers
/// from 10 on, the remainder by 97 is 1. Words may follow that look like groups of it.
fn is_iban(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    let number = text.get(found.clone())?;
    let country = number.get(..2)?.to_ascii_uppercase();
    let mut countries = IBANS.as_bytes().chunks(4);
    let known = countries.find(|known| known.starts_with(country.as_bytes()))?;
    let length: usize = std::str::from_utf8(known.get(2..)?).ok()?.parse().ok()?;
    let mut digits = number.bytes().enumerate().filter(|(_, b)| *b != b' ');
    let (last, _) = digits.nth(length.checked_sub(1)?)?;
    let end = found.start + last + 1;
    let goes_on = text
        .as_bytes()
        .get(end)
        .is_some_and(u8::is_ascii_alphanumeric);
    let compact: Vec<u8> = number.bytes().filter(|b| *b != b' ').take(length).collect();
    let (head, rest) = compact.split_at_checked(4)?;
    let remainder = rest
        .iter()
        .chain(head)
        .fold(0_u32, |remainder, byte| match byte {
            b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
            _ => {
                (remainder * 100 + u32::from(byte.to_ascii_uppercase().saturating_sub(b'A')) + 10)
                    % 97
            }
        });
    (remainder == 1 && !goes_on).then_some(found.start..end)
}

/// ISO 7812: a number that an issuer may have given, whose Luhn sum is a multiple of ten.
/// What follows may look like one more group.
fn is_card(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    if is_amid_number(text, &found, false) {
        return None;
    }
    let number = text.get(found.clone())?;
    let shorter = number
        .rfind([' ', '-'])
        .map(|end| found.start..found.start + end);
    let is_number = |range: &Range<usize>| {
        let digits: Vec<u8> = text
            .as_bytes()
            .get(range.clone())?
            .iter()
            .copied()
            .filter(u8::is_ascii_digit)
            .collect();
        (is_issued(&digits) && is_luhn(&digits)).then_some(())
    };
    [Some(found), shorter]
        .into_iter()
        .flatten()
        .find(|range| is_number(range).is_some())
}

/// Beginnings and lengths of what is given out.
fn is_issued(digits: &[u8]) -> bool {
    let first = |count: usize| {
        let digits = digits.get(..count).unwrap_or_default();
        digits
            .iter()
            .fold(0_u32, |n, b| n * 10 + u32::from(b - b'0'))
    };
    match digits.len() {
        // American Express
        15 => matches!(first(2), 34 | 37),
        // Diners
        14 => matches!(first(3), 300..=305 | 309 | 360..=369 | 380..=399),
        // Visa, Mastercard, Discover, JCB, UnionPay, Maestro, MIR
        16 => {
            matches!(first(1), 4)
                || matches!(first(2), 50..=58 | 60 | 62 | 64 | 65 | 67)
                || matches!(first(4), 2200..=2204 | 2221..=2720 | 3528..=3589)
        }
        13 => matches!(first(1), 4),
        17..=19 => matches!(first(1), 4) || matches!(first(2), 62 | 65 | 67),
        _ => false,
    }
}

fn is_luhn(digits: &[u8]) -> bool {
    let places = digits
        .iter()
        .rev()
        .map(|digit| u32::from(digit - b'0'))
        .enumerate();
    let sum: u32 = places
        .map(|(place, digit)| match place % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    sum > 0 && sum.is_multiple_of(10)
}

/// E.164: no number has more than 15 digits, and none that is worth hiding fewer than 7.
fn is_phone(text: &str, found: Range<usize>) -> Option<Range<usize>> {
    let number = text.get(found.clone())?;
    let digits: Vec<u8> = number.bytes().filter(u8::is_ascii_digit).collect();
    let fits = match number.strip_prefix('+') {
        // A line that was added may begin with a date.
        Some(rest) => {
            let before = text.get(..found.start)?.chars().next_back();
            let is_sum = before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ')');
            let is_date = matches!(rest.get(..2), Some("19" | "20"))
                && matches!(rest.as_bytes().get(4), Some(b'-' | b'.' | b'/'));
            let is_long = match digits.first() {
                Some(b'1' | b'7') => digits.len() == 11,
                _ => (8..=15).contains(&digits.len()),
            };
            is_long && !is_sum && !is_date
        }
        None => {
            (7..=15).contains(&digits.len())
                && !is_amid_number(text, &found, !number.starts_with('('))
        }
    };
    fits.then_some(found)
}

/// Whether `value` is a number that a field called `name` says to be a telephone's.
pub(super) fn is_phone_of(name: &str, value: &str) -> bool {
    const NAMES: [&str; 6] = ["phone", "telephone", "tel", "mobile", "fax", "whatsapp"];
    let lower = name.to_ascii_lowercase();
    let plain = lower
        .trim_end_matches("number")
        .trim_end_matches(['_', '-', ' ']);
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let is_number = |b: u8| b.is_ascii_digit() || b"+-./() ".contains(&b);
    NAMES.iter().any(|known| plain.ends_with(known))
        && (7..=15).contains(&digits)
        && value.bytes().all(is_number)
}

/// Whether a number is a part of a longer one: a decimal, a date, an id, a row of a table
/// (`in_rows`).
fn is_amid_number(text: &str, found: &Range<usize>, in_rows: bool) -> bool {
    let bytes = text.as_bytes();
    let before = bytes.get(..found.start).unwrap_or_default();
    let after = bytes.get(found.end..).unwrap_or_default();
    let joins =
        |b: u8| matches!(b, b'.' | b',' | b'-' | b'/' | b':' | b'_') || (in_rows && b == b' ');
    let goes_on = |side: [Option<&u8>; 2]| match side {
        [Some(next), Some(beyond)] => joins(*next) && beyond.is_ascii_digit(),
        _ => false,
    };
    let back = [before.last(), before.iter().rev().nth(1)];
    goes_on(back) || goes_on([after.first(), after.get(1)])
}
