//! Names of models with wildcards.

/// Whether `name` has the form of `pattern`, in which `*` stands for any run of
/// characters and `#` for one digit. Takes at most the product of the lengths.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_bytes());
    // Where to go on if it fails: behind the last star, with one byte more under it.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (Some((b'*', rest)), _) => {
                retry = Some((rest, name));
                pattern = rest;
                continue;
            }
            (Some((p, pattern_rest)), Some((n, name_rest))) if fits(*p, *n) => {
                (pattern, name) = (pattern_rest, name_rest);
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((behind_star, under_star)) = retry else {
            return false;
        };
        let Some((_, rest)) = under_star.split_first() else {
            return false;
        };
        (pattern, name) = (behind_star, rest);
        retry = Some((behind_star, rest));
    }
}

pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '#'])
}

const fn fits(pattern: u8, byte: u8) -> bool {
    match pattern {
        b'#' => byte.is_ascii_digit(),
        _ => pattern == byte,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o-mini", true),
            ("*haiku", "us.claude-haiku", true),
            ("*haiku", "haiku-2", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xbxa", false),
            ("m-####-##", "m-2025-08", true),
            ("m-####-##", "m-2025-8", false),
            ("m-#*", "m-1x", true),
            ("m-#*", "m-", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("ü*", "über", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_end() {
        let name = "a".repeat(5000);
        assert!(!matches("*a*a*a*a*a*a*a*a*a*b", &name));
    }
}
