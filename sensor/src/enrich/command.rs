//! Command lines without what must not be known of them.
//!
//! In: the bytes of `/proc/PID/cmdline`, which the process may have rewritten. Out: one
//! line of text, in which arguments that may authenticate somebody are masked, and
//! those that read like prose (a prompt, a script) are left out.

use std::borrow::Cow;

/// Bytes of a command line at most.
const MAX_LINE: usize = 1024;

/// Bytes of one argument at most.
const MAX_ARGUMENT: usize = 256;

const MASK: &str = "[secret]";
const TEXT: &str = "[text]";

/// What ends the name of an option whose value authenticates.
const SECRETS: [&str; 18] = [
    "key",
    "keys",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "cookie",
    "signature",
    "bearer",
    "dsn",
    "header",
];

/// What ends the name of an option whose value somebody wrote.
const TEXTS: [&str; 10] = [
    "prompt",
    "message",
    "messages",
    "instructions",
    "question",
    "input",
    "data",
    "dataraw",
    "json",
    "query",
];

/// Names of options whose value authenticates if there is a colon in it, name and password.
const USERS: [&str; 2] = ["user", "proxyuser"];

/// Names of options that begin as `-p` does with a password at its end.
const AFTER_P: [&str; 12] = [
    "arallel",
    "ath",
    "id",
    "idfile",
    "lugins",
    "ort",
    "refix",
    "rint",
    "rofile",
    "roject",
    "roperties",
    "rovider",
];

/// The command line in one line; `None` where there is none.
pub fn redacted(cmdline: &[u8]) -> Option<Box<str>> {
    let text = String::from_utf8_lossy(cmdline);
    let mut arguments = text.trim_end_matches('\0').split('\0');
    let program = arguments.next().filter(|program| !program.is_empty())?;
    // A title that the process gave itself may say more than its name.
    let program = match program.split_once(char::is_whitespace) {
        Some((title, _)) if !program.starts_with('/') => title,
        _ => program,
    };
    let mut line = shortened(program).into_owned();
    let mut before = "";
    for argument in arguments {
        let is_value = before.starts_with('-') && !argument.starts_with('-');
        let mask = is_value.then(|| mask_of_value(before, argument)).flatten();
        let shown = mask.map_or_else(|| masked(argument), Cow::Borrowed);
        before = argument;
        if line.len().saturating_add(shown.len()) > MAX_LINE {
            line.push_str(" …");
            break;
        }
        line.push(' ');
        line.push_str(&shown);
    }
    Some(line.into())
}

/// What to show for the argument that follows an option, or stands behind its `=`, where that
/// must not be known.
fn mask_of_value(option: &str, value: &str) -> Option<&'static str> {
    let name = option.trim_start_matches('-');
    match option.as_bytes() {
        [b'-', letter] => mask_of_letter(*letter, value),
        _ if name.contains('=') => None,
        _ if value.contains(':') && is_user(name) => Some(MASK),
        _ => mask_of(name),
    }
}

/// Options of one letter mean this here and that there: `-u` (curl: name and password), `-H`
/// (a field), `-b` (a cookie, or an address), `-p` (mysql: password; claude: prompt; a port),
/// `-a` (redis-cli: password), `-d` (curl: text).
fn mask_of_letter(letter: u8, value: &str) -> Option<&'static str> {
    match letter {
        b'p' | b'a' | b'b' if is_number(value) => None,
        b'u' | b'H' | b'b' | b'p' | b'a' => Some(MASK),
        b'd' => Some(TEXT),
        _ => None,
    }
}

/// The same for `-uname:password` and `-pPASSWORD`, which are one argument: the option, and
/// what to show behind it. With a single `-` there may be a long name as well.
fn mask_of_attached(argument: &str) -> Option<(&str, &'static str)> {
    let (option, value) = argument.split_at_checked(2)?;
    let [b'-', letter] = option.as_bytes() else {
        return None;
    };
    let has_value = match letter {
        b'u' | b'H' => value.contains(':'),
        b'b' => value.contains('='),
        b'p' => !value.is_empty() && !AFTER_P.contains(&value.split('=').next().unwrap_or(value)),
        b'd' => value.bytes().any(|b| !b.is_ascii_lowercase() && b != b'-'),
        _ => false,
    };
    let mask = has_value.then(|| mask_of_letter(*letter, value))??;
    Some((option, mask))
}

fn is_user(name: &str) -> bool {
    let plain = name.replace(['-', '_'], "");
    USERS.iter().any(|user| plain.eq_ignore_ascii_case(user))
}

/// A port, a count, an address: nobody's secret.
fn is_number(value: &str) -> bool {
    let is_short = |part: &str| part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit());
    value.split(['.', ':']).all(is_short)
}

/// What to show for the value of an option, a variable or a field whose name says that it
/// must not be known.
fn mask_of(name: &str) -> Option<&'static str> {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let ends = |names: &[&str]| names.iter().any(|name| plain.ends_with(name));
    match () {
        () if ends(&SECRETS) => Some(MASK),
        () if ends(&TEXTS) => Some(TEXT),
        () => None,
    }
}

fn masked(argument: &str) -> Cow<'_, str> {
    if argument.contains(char::is_whitespace) || argument.starts_with(['{', '[']) {
        return Cow::Borrowed(TEXT);
    }
    if let Some((option, mask)) = mask_of_attached(argument) {
        return Cow::Owned(format!("{option}{mask}"));
    }
    if let Some((name, value)) = argument.split_once(['=', ':'])
        && !value.is_empty()
        && !value.starts_with("//")
        && let Some(mask) = mask_of_value(name, value).or(is_opaque(value).then_some(MASK))
    {
        let separator = argument
            .get(name.len()..)
            .and_then(|rest| rest.chars().next());
        return Cow::Owned(format!("{name}{}{mask}", separator.unwrap_or('=')));
    }
    if let Some((scheme, rest)) = argument.split_once("://") {
        return without_credentials(scheme, rest);
    }
    if is_opaque(argument) {
        return Cow::Borrowed(MASK);
    }
    shortened(argument)
}

/// A URL without user information, query and fragment.
fn without_credentials<'a>(scheme: &str, rest: &str) -> Cow<'a, str> {
    let place = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let path = if path.split('/').any(is_opaque) {
        "/[secret]"
    } else {
        path
    };
    Cow::Owned(shortened(&format!("{scheme}://{host}{path}")).into_owned())
}

/// Whether some run of letters and digits in the text is so long and mixed as only keys
/// are.
fn is_opaque(text: &str) -> bool {
    const LONG: usize = 16;
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|b| kind(&b));
        run.len() >= LONG && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    })
}

fn shortened(argument: &str) -> Cow<'_, str> {
    if argument.len() <= MAX_ARGUMENT {
        return Cow::Borrowed(argument);
    }
    let fits = |(at, c): &(usize, char)| at.saturating_add(c.len_utf8()) <= MAX_ARGUMENT;
    let start: String = argument
        .char_indices()
        .take_while(fits)
        .map(|(_, c)| c)
        .collect();
    Cow::Owned(start + "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> String {
        let text = arguments.join("\0") + "\0";
        redacted(text.as_bytes()).unwrap().into()
    }

    #[test]
    fn ordinary_arguments_stay() {
        for arguments in [
            &[
                "/usr/bin/python3",
                "-m",
                "uvicorn",
                "app:main",
                "--port",
                "8000",
            ][..],
            &[
                "vllm",
                "serve",
                "meta-llama/Llama-3.1-8B-Instruct",
                "--tp=2",
            ],
            &["node", "--max-old-space-size=4096", "/srv/app/server.js"],
            &["curl", "https://api.example.com/v1/models"],
            &["java", "-Dfile.encoding=UTF-8", "-jar", "/opt/app-2024.jar"],
            &["gunicorn", "-b", "0.0.0.0:8000", "--user", "www-data"],
            &["docker", "run", "-p", "8080:80", "-d", "--name", "web"],
            &["consul", "agent", "-dev", "-port", "8500"],
            &["server", "-path=/srv", "-debug", "-p8080"],
        ] {
            assert_eq!(line(arguments), arguments.join(" "));
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        const SECRET: &str = "hunter2";
        const KEY: &str = "sk-proj-abcdefghijklmnop1234";
        for arguments in [
            &["a", "--api-key", SECRET][..],
            &["a", "--api-key=hunter2"],
            &["a", "--API_KEY=hunter2"],
            &["a", "OPENAI_API_KEY=hunter2"],
            &["a", "--db-password", SECRET],
            &["a", "-Dspring.datasource.password=hunter2"],
            &["curl", "-u", "user:hunter2"],
            &["curl", "--header", "x-api-key:hunter2"],
            &["curl", "-H", "Authorization: Bearer hunter2"],
            &["curl", "x-api-key:hunter2"],
            &["curl", "https://user:hunter2@host/path"],
            &["curl", "https://host/path?key=hunter2"],
            &["psql", "postgres://user:hunter2@db/shop#hunter2"],
            &["sh", "-c", "curl -H 'api-key: hunter2' x"],
            &["claude", "-p", "my password is hunter2"],
            &["claude", "-p", SECRET],
            &["curl", "--user", "user:hunter2"],
            &["curl", "--user=user:hunter2"],
            &["curl", "--proxy-user", "user:hunter2"],
            &["curl", "-uuser:hunter2"],
            &["curl", "-Hx-api:hunter2"],
            &["curl", "-bsession=hunter2"],
            &["curl", "-b", "session=hunter2"],
            &["mysql", "-phunter2"],
            &["mysql", "-p", SECRET],
            &["redis-cli", "-a", SECRET],
            &["redis-cli", "-a", "123456"],
        ] {
            let line = line(arguments);
            assert!(!line.contains(SECRET), "{line}");
        }
        for arguments in [
            &["a", KEY][..],
            &["a", "--x", KEY],
            &["a", "--x=sk-proj-abcdefghijklmnop1234"],
            &["a", "https://host/sk-proj-abcdefghijklmnop1234/x"],
            &["a", "0123456789abcdef0123456789abcdef"],
        ] {
            let line = line(arguments);
            assert!(!line.contains("abcdef"), "{line}");
            assert!(line.contains("[secret]"), "{line}");
        }
    }

    #[test]
    fn an_option_after_a_secret_one_stays() {
        assert_eq!(line(&["a", "--auth", "--port", "1"]), "a --auth --port 1");
        assert_eq!(line(&["a", "--token=", "b"]), "a --token= b");
    }

    #[test]
    fn prose_is_left_out_and_titles_are_cut() {
        let prompt = line(&["ollama", "run", "llama3", "why is the sky blue?"]);
        assert_eq!(prompt, "ollama run llama3 [text]");
        for arguments in [
            &["a", "--prompt", "hello"][..],
            &["a", "--prompt=hello"],
            &["curl", "-d", "hello"],
            &["curl", "-dname=hello"],
            &["curl", "--data-raw", "hello"],
            &["a", r#"{"content":"hello"}"#],
        ] {
            let line = line(arguments);
            assert!(line.contains("[text]") && !line.contains("hello"), "{line}");
        }
        assert_eq!(line(&["postgres: shop db 10.0.0.1 idle"]), "postgres:");
        assert_eq!(line(&["/opt/my app/bin", "x"]), "/opt/my app/bin x");
    }

    #[test]
    fn hostile_lines_are_bounded() {
        assert_eq!(redacted(b""), None);
        assert_eq!(redacted(b"\0\0"), None);
        let long = "é,".repeat(100_000);
        assert!(line(&["a", &long, &long, &long]).len() < 3 * MAX_ARGUMENT + 32);
        let many = vec!["x"; 100_000];
        assert!(line(&many).len() <= MAX_LINE + 8);
        assert_eq!(
            redacted(b"\xff\xfe\0\xff=\xff").as_deref(),
            Some("\u{fffd}\u{fffd} \u{fffd}=\u{fffd}")
        );
    }
}
