//! The cases under `tests/corpus/http1`, and the laws that hold for each of them.
//!
//! A case is a heading (`# name`), traffic and the steps that come of it:
//!
//! ```text
//! # a request
//! >>> GET / HTTP/1.1\r\n\r\n      bytes that the process writes (\r \n \\ \xNN, and
//! <<< \{a*3}                      \{text*count}), bytes that it reads
//! >?> 5                           so many bytes that it wrote are lost
//! <?< 5                           so many bytes that it read are lost
//! <!< 5                           so many bytes that it read were cut
//! ---                             the connection is closed
//! = 0 request GET - /
//! ? Match                         what the connection is taken for before its close
//! ```

use std::fmt::Write as _;
use std::path::Path;

use crate::event::{Direction, Missing};
use crate::http::{Connection, Detection, ExchangeEvent, Step};
use crate::stream::Segment;
use crate::time::Timestamp;

#[derive(Debug)]
enum Input {
    Data(Direction, Vec<u8>),
    Gap(Direction, Missing),
    Close,
}

#[derive(Debug, Default)]
struct Case {
    name: String,
    input: Vec<Input>,
    expected: Vec<String>,
    detection: Option<String>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/http1");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| parse(&std::fs::read_to_string(file).unwrap()))
        .collect()
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            cases.push(Case {
                name: name.into(),
                ..Case::default()
            });
            continue;
        }
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let lost = |n: &str| Missing {
            lost: n.parse().unwrap(),
            cut: 0,
        };
        let input = match mark {
            "" | "//" => continue,
            "=" => {
                cases.last_mut().unwrap().expected.push(rest.into());
                continue;
            }
            "?" => {
                cases.last_mut().unwrap().detection = Some(rest.into());
                continue;
            }
            ">>>" => Input::Data(Direction::Write, unescape(rest)),
            "<<<" => Input::Data(Direction::Read, unescape(rest)),
            ">?>" => Input::Gap(Direction::Write, lost(rest)),
            "<?<" => Input::Gap(Direction::Read, lost(rest)),
            "<!<" => Input::Gap(
                Direction::Read,
                Missing {
                    lost: 0,
                    cut: rest.parse().unwrap(),
                },
            ),
            "---" => Input::Close,
            other => panic!("what is {other:?}?"),
        };
        cases.last_mut().unwrap().input.push(input);
    }
    cases
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let kind = escape.chars().next().unwrap();
        rest = &escape[1..];
        match kind {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            's' => bytes.push(b' '),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            '{' => {
                let (inner, after) = rest.split_once('}').unwrap();
                let (what, count) = inner.rsplit_once('*').unwrap();
                bytes.extend(unescape(what).repeat(count.parse().unwrap()));
                rest = after;
            }
            other => panic!("what is \\{other}?"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Writes down steps, neighbouring pieces of one body as one.
#[derive(Default)]
struct Trace {
    lines: Vec<String>,
    body: Option<(String, Vec<u8>)>,
}

impl Trace {
    fn push(&mut self, event: &ExchangeEvent<'_>) {
        let id = event.exchange.0;
        let line = match &event.step {
            Step::Request {
                requester, head, ..
            } => {
                let mut line = format!(
                    "{id} request {} {} {}",
                    head.method,
                    head.authority.as_deref().unwrap_or("-"),
                    head.target.as_deref().unwrap_or("-"),
                );
                if *requester == Direction::Read {
                    line.push_str(" (served)");
                }
                line
            }
            Step::RequestBody(segment) => return self.body(format!("{id} request-body"), segment),
            Step::RequestEnd(end) => format!("{id} request-end {end:?}"),
            Step::Response(head) => format!("{id} response {}", head.status.unwrap()),
            Step::ResponseBody(segment) => {
                return self.body(format!("{id} response-body"), segment);
            }
            Step::ResponseTrailers(fields) => {
                let fields: Vec<_> = fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
                format!("{id} response-trailers {}", fields.join(" "))
            }
            Step::ResponseEnd(end) => format!("{id} response-end {end:?}"),
            Step::WebSocket { data, .. } => format!("{id} websocket {}", data.escape_ascii()),
            Step::Over => format!("{id} over"),
        };
        self.flush();
        self.lines.push(line);
    }

    fn body(&mut self, label: String, segment: &Segment<'_>) {
        let bytes = match segment {
            Segment::Data(bytes) => bytes,
            Segment::Gap(missing) => {
                self.flush();
                let (lost, cut) = (missing.lost, missing.cut);
                return self.lines.push(format!("{label} ? lost {lost} cut {cut}"));
            }
        };
        match &mut self.body {
            Some((open, all)) if *open == label => all.extend_from_slice(bytes),
            _ => {
                self.flush();
                self.body = Some((label, bytes.to_vec()));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((mut label, bytes)) = self.body.take() {
            match bytes.len() {
                0..200 => write!(label, " {}", bytes.escape_ascii()).unwrap(),
                long => write!(label, " [{long} bytes]").unwrap(),
            }
            self.lines.push(label);
        }
    }
}

/// What comes of a case when `cut` says how long each next piece is.
fn run(case: &Case, mut cut: impl FnMut(usize) -> usize) -> (Vec<String>, Detection) {
    let mut connection = Connection::new();
    let mut trace = Trace::default();
    let mut at = 0;
    let mut tick = || {
        at += 1;
        Timestamp::from_nanos(at)
    };
    let mut closed = false;
    let mut detection = Detection::NeedMore;
    for input in &case.input {
        let mut out = |event: ExchangeEvent<'_>| trace.push(&event);
        match input {
            Input::Data(direction, bytes) => {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(cut(rest.len()).clamp(1, rest.len()));
                    connection.feed(*direction, tick(), Segment::Data(piece), &mut out);
                    rest = after;
                }
            }
            Input::Gap(direction, missing) => {
                connection.feed(*direction, tick(), Segment::Gap(*missing), &mut out);
            }
            Input::Close => {
                detection = connection.detection();
                connection.close(tick(), &mut out);
                closed = true;
            }
        }
    }
    if !closed {
        detection = connection.detection();
        connection.abandon(tick(), &mut |event| trace.push(&event));
    }
    trace.flush();
    (trace.lines, detection)
}

fn check(name: &str, expected: &[String], found: &[String]) {
    assert!(
        expected == found,
        "{name}:\nexpected\n  {}\nfound\n  {}",
        expected.join("\n  "),
        found.join("\n  ")
    );
}

/// Small and good enough to choose where to cut (Marsaglia's xorshift).
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap() % below.max(1)
    }
}

#[test]
fn cases_give_their_steps() {
    let cases = cases();
    assert!(cases.len() > 40, "only {} cases found", cases.len());
    for case in &cases {
        let (found, detection) = run(case, |all| all);
        check(&case.name, &case.expected, &found);
        if let Some(expected) = &case.detection {
            assert_eq!(*expected, format!("{detection:?}"), "{}", case.name);
        }
    }
}

#[test]
fn cuts_change_nothing() {
    for case in &cases() {
        let name = format!("{}, byte by byte", case.name);
        check(&name, &case.expected, &run(case, |_| 1).0);
        let long = case
            .input
            .iter()
            .any(|i| matches!(i, Input::Data(_, b) if b.len() > 100_000));
        for seed in 0..if long { 2 } else { 30 } {
            let mut random = random(seed);
            let found = run(case, |all| random(all.min(1 + (seed as usize % 5) * 9)) + 1).0;
            check(
                &format!("{}, cut with seed {seed}", case.name),
                &case.expected,
                &found,
            );
        }
    }
}
