use super::*;

fn assert_masked(cases: &[(&str, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(text, masked)| (mask(text).unwrap_or_else(|| (*text).to_owned()), *masked))
        .filter(|(found, masked)| found != masked)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn assert_left_alone(texts: &[&str]) {
    let wrong: Vec<_> = texts.iter().filter_map(|text| mask(text)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn finds_are_masked_and_the_text_around_them_stays() {
    assert_masked(&[
        ("use sk-proj-abcdefghijklmnop1234 now", "use [key] now"),
        ("sk-ant-api03-AbCdEfGhIjKlMnOpQrSt_uv-w", "[key]"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "[key]"),
        ("id AKIAIOSFODNN7EXAMPLE.", "id [key]."),
        ("ghp_abcdefghijklmnopqrstuvwxyz012345", "[key]"),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl!", "[key]!"),
        (
            "Authorization: Bearer abcdef0123456789",
            "Authorization: Bearer [token]",
        ),
        ("password = hunter2!", "password = [secret]"),
        (r#"{"api_key": "0123456789"}"#, r#"{"api_key": "[secret]"}"#),
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
    ]);
}

#[test]
fn values_of_telling_names_are_masked_and_the_names_stay() {
    assert_masked(&[
        (
            "export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "export AWS_SECRET_ACCESS_KEY=[secret]",
        ),
        (
            "DB_PASSWORD=hunter2\nDB_HOST=a",
            "DB_PASSWORD=[secret]\nDB_HOST=a",
        ),
        (
            "userPassword: 'correct horse battery staple',",
            "userPassword: '[secret]',",
        ),
        (
            r#"os.environ["MISTRAL_API_KEY"] = "Zk3jTq0aB1""#,
            r#"os.environ["MISTRAL_API_KEY"] = "[secret]""#,
        ),
        (
            "<password>hunter2</password>",
            "<password>[secret]</password>",
        ),
        (
            "tool --db-password hunter2 --verbose",
            "tool --db-password [secret] --verbose",
        ),
        (
            "Server=a;User Id=b;Password=c9!x;",
            "Server=a;User Id=b;Password=[secret];",
        ),
        (
            "my password is Tr0ub4dor&3, ok?",
            "my password is [secret], ok?",
        ),
        (
            "if (password === 'letmein')",
            "if (password === '[secret]')",
        ),
        (
            "curl -s -u admin:S3cr3tPw https://x.example/api",
            "curl -s -u admin:[secret] https://x.example/api",
        ),
        (
            "mysql -u root -pS3cr3t! -h db",
            "mysql -u root -p[secret] -h db",
        ),
        ("the passphrase is swordfish", "the passphrase is [secret]"),
        (
            r#"{\"client_secret\": \"a1b2c3\", \"x\": 1}"#,
            r#"{\"client_secret\": \"[secret]\", \"x\": 1}"#,
        ),
        (
            "postgres://shop:s3cr3t@db.example:5432/shop",
            "postgres://shop:[secret]@db.example:5432/shop",
        ),
        (
            "GET /a?access_token=abcd1234&x=1",
            "GET /a?access_token=[secret]&x=1",
        ),
        (
            "redis://:hunter2@cache:6379/0",
            "redis://:[secret]@cache:6379/0",
        ),
        (
            "https://b.example/f?X-Amz-Signature=9f86d081884c7d659a2feaa0c55ad015&x=1",
            "https://b.example/f?X-Amz-Signature=[secret]&x=1",
        ),
        ("Cookie: session=abc123; theme=dark", "Cookie: [secret]"),
        ("token: 9944b09199c62bcf9418ad846dd0e4bb", "token: [secret]"),
        (
            "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXX1234",
            "https://hooks.slack.com/services/[secret]",
        ),
    ]);
}

#[test]
fn keys_of_many_kinds() {
    for key in [
        "sk-123e4567-e89b-12d3-a456-426614174000",
        "gsk_Zk3jTq0aB1cD2eF3gH4iJ5kL6",
        "hf_AbCdEfGhIjKlMnOpQrStUvWxYz",
        "xoxb-2345678901-2345678901234-AbCdEfGhIjKl",
        "pypi-AgEIcHlwaS5vcmcCJDU3NTYxYzM",
        "glpat-Zk3jTq0aB1cD2eF3gH4i",
        "hvs.CAESIJ0aB1cD2eF3gH4iJ5kL6",
        "GOCSPX-Zk3jTq0aB1cD2eF3gH4iJ5kL6",
        "dapi0123456789abcdef0123456789abcdef",
        "123456789:AAE0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0u",
        "1//0gZk3jTq0aB1cD2eF3gH4iJ5kL6",
    ] {
        let text = format!("it is {key}, then");
        assert_eq!(mask(&text).as_deref(), Some("it is [key], then"), "{key}");
    }
    // A line that ended in JSON is no letter of the key's.
    assert_masked(&[(
        r#"{"a": "the key:\nsk-proj-abcdefghijklmnop1234\nand jo:\njo@example.org"}"#,
        r#"{"a": "the key:\n[key]\nand jo:\n[email]"}"#,
    )]);
}

#[test]
fn numbers_with_others_beside_them() {
    assert_masked(&[
        ("4111 1111 1111 1111 12/27 123", "[card] 12/27 123"),
        ("4111 1111 1111 1111 123", "[card] 123"),
        ("no. 1234 4111 1111 1111 1111", "no. 1234 [card]"),
        ("3782 822463 10005 or 378282246310005", "[card] or [card]"),
        ("BE68 5390 0754 7034 BANK", "[iban] BANK"),
        ("to nl91abna0417164300 now", "to [iban] now"),
        ("06 12 34 56 78", "[phone]"),
        ("(030) 901820", "[phone]"),
        ("Tel. 5550100123", "Tel. [phone]"),
        (r#"{"phone": "5550100123"}"#, r#"{"phone": "[phone]"}"#),
        ("1-800-555-0123", "[phone]"),
        ("/users/jo%40example.org/files", "/users/[email]/files"),
    ]);
}

#[test]
fn ordinary_text_is_left_alone() {
    assert_left_alone(&[
        "The year 2026, 3.14159 and 1,000,000 of them.",
        "order 4111111111111112 is no card",
        "GB82WEST12345698765433 is no account",
        "a@b is no address, sk-short no key",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "2026-11-22 06:30:00.123456",
        "fn main() { let basic = 1; }",
        "skills-and-more are fine",
        // Prose
        "a basic understanding of bearer authentication",
        "Basic requirements, basic functionality: a password is required.",
        "The password is incorrect, or the token is expired.",
        "Forgot your password? Passwords must have 12 characters.",
        "The secret: patience. Session: introduction-to-networks",
        // Programs
        "ALTER TABLE a ADD CONSTRAINT pk_users_organizations_roles PRIMARY KEY (id)",
        "<div class=\"sk-folding-cube-container\">",
        "npm_config_registry_url and hf_hub_download_with_retries",
        "client = OpenAI(api_key=os.environ[\"OPENAI_API_KEY\"])",
        "password = getpass.getpass()",
        "docker run -u 1000:1000 a; psql -p 5432; mysql --port=3306 -P3306 -p3306",
        "login(user=user, password=password)",
        "if self.password == settings.password: return",
        "def connect(host: str, password: str = None):",
        r#"{"password": {"type": "string"}, "api_key": "string"}"#,
        "const PRIVATE_KEY: &str = r\"x\"; const COOKIE: &str = \"a=b\";",
        r#"["<input type=password>", "password is ", "password:", "and so on"]"#,
        "PASSWORD=${DB_PASSWORD} PWD=/home/jo",
        "password_file: /run/secrets/db, private_key: /etc/ssl/key.pem",
        "max_tokens: 4096, total_tokens=1234567, next_page_token: CAUQAA",
        "git clone git@github.com:a/b.git",
        "npm i react@18.2.0 icon@2x.png getty@tty1.service",
        "https://localhost:8080/@vite/client https://a.example/@user",
        // Numbers
        "1760000000123 and 1760000000123456789 are times",
        "0.4111111111111111 and 4111111111111111.5",
        "sum: 1,000 200 3000, pi 3.014 1592 6535",
        "00000010: 0012 3456 7890 0123 4567 8901",
        "001 002 003 004\n011 012 013 014",
        "(2020) 2021 2022 and f(10) 20 30",
        "+2026-11-22 06:30:00 a line that was added",
        "@@ -10,7 +1234567,8 @@ x+12345678",
        "1234-5678-1234-5678-1234-5678",
        "3 4 5 3 2 1 5 1 1 2 8 3 0 3 6 6",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "192.168.100.200:8080 10.0.0.1 2001:db8::1",
        "ISBN 978-3-16-148410-0",
    ]);
}

#[test]
fn what_is_masked_is_not_found_again() {
    for text in [
        "password = hunter2! and sk-proj-abcdefghijklmnop1234",
        "jo@example.org, 4111 1111 1111 1111, +49 30 901820",
        "Cookie: a=b\nAuthorization: Bearer abcdef0123456789",
    ] {
        let masked = mask(text).unwrap();
        let again = mask(&masked);
        assert!(again.is_none_or(|again| again == masked), "{masked}");
    }
}

#[test]
fn finds_that_overlap_are_masked_as_one() {
    assert_masked(&[
        ("password=jo@example.org", "password=[secret]"),
        ("api_key: sk-proj-abcdefghijklmnop1234", "api_key: [key]"),
    ]);
}

#[test]
fn private_keys_go_whole_and_when_cut() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB+/=\n-----END RSA PRIVATE KEY-----";
    assert_eq!(mask(&format!("a {key} b")).unwrap(), "a [private key] b");
    assert_eq!(mask(&key[..40]).unwrap(), "[private key]");
    let lines = [
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvAIBADANBgkq",
        "hkiG9w0BAQ==",
    ];
    for between in ["\n    ", "\\n", "\r\n> ", " "] {
        let cut = lines.join(between);
        assert_eq!(mask(&cut).unwrap(), "[private key]", "{cut}");
        let whole = format!("{cut}{between}-----END PRIVATE KEY-----");
        assert_eq!(mask(&whole).unwrap(), "[private key]", "{whole}");
    }
    let pgp = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\nlQOYBF\n=aB1c\n";
    assert_eq!(mask(pgp).unwrap(), "[private key]");
}

#[test]
fn ids_are_no_numbers_of_people() {
    assert_eq!(mask_secrets("4111111111111111"), None);
    let masked = mask_secrets("models/sk-proj-abcdefghijklmnop1234");
    assert_eq!(masked.as_deref(), Some("models/[key]"));
}

#[test]
fn fields_whose_names_tell() {
    assert!(is_secret_of("db_password", "hunter2"));
    assert!(is_secret_of("apiKey", "0123"));
    assert!(is_secret_of("token", "9944b09199c62bcf9418"));
    assert!(!is_secret_of("token", "word"));
    assert!(!is_secret_of("max_tokens", "9944b09199c62bcf9418"));
    assert!(!is_secret_of("password", "string"));
    assert!(!is_secret_of("password_hint", "the dog's name"));
}

/// Twice as much takes about twice as long: what would be read again and again shows.
#[test]
fn long_hostile_text_is_handled() {
    let harmless = "1 ".repeat(50_000) + &"a.".repeat(50_000) + "@";
    assert_eq!(mask(&harmless), None);
    for piece in [
        "sk-a-",
        "password:",
        "password:\"",
        "password:'\"",
        "password is ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY----- ",
        "://a:",
        "x@y.",
        "4111 ",
        "41111111111111112 ",
        "GB82 ",
        "+1 ",
        "01 ",
        "cookie:",
        "curl ",
        "mysql -",
        "eyJaaaaaaaa.",
        "[[\"\\",
        "\u{e9}\u{2028}",
    ] {
        let text = piece.repeat(200_000 / piece.len());
        mask(&text);
    }
}

/// Pieces of what rules look for, in any order: what the fuzzer would take long to find.
#[test]
fn laws_hold_for_pieces_of_finds() {
    const PIECES: [&str; 32] = [
        "password",
        "api_key",
        "token",
        " is ",
        " = ",
        ": ",
        "=",
        "\"",
        "'",
        "\\n",
        "\n",
        " ",
        ",",
        "sk-",
        "Bearer ",
        "Zk3jTq0aB1cD2eF3gH4i",
        "hunter2",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "://a:",
        "@",
        "example.org",
        "4111 1111 1111 1111",
        "12/27",
        "GB82 WEST 1234 5698 7654 32",
        "+49 30 901820",
        "0",
        "{",
        "}",
        "[",
        "]",
        "\u{e9}",
    ];
    let mut state = 1_u64;
    let mut next = || {
        // Knuth's constants for a linear congruence.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for _ in 0..2_000 {
        let count = 1 + next() % 24;
        let text: String = (0..count).map(|_| PIECES[next() % PIECES.len()]).collect();
        crate::redact::fuzz::text(text.as_bytes());
    }
}
