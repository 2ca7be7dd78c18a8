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

use memchr::memmem;

use crate::event::{Direction, Missing};
use crate::http::testing::{Dice, Exchange, Log};
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

impl Case {
    /// Whether it would take long to run it many times.
    fn is_long(&self) -> bool {
        let long = |input: &Input| matches!(input, Input::Data(_, b) if b.len() > 50_000);
        self.input.iter().any(long)
    }

    /// Whether a request comes before the exchange before it is over.
    fn pipelines(&self) -> bool {
        let mut open = Vec::new();
        self.expected.iter().any(|line| {
            let (id, step) = line.split_once(' ').unwrap();
            if step.starts_with("request ") {
                open.push(id);
            } else if step == "over" {
                open.retain(|other| *other != id);
            }
            open.len() > 1
        })
    }
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
        for seed in 1..if case.is_long() { 3 } else { 30 } {
            let mut dice = Dice(seed);
            let most = 1 + (seed as usize % 5) * 9;
            let found = run(case, |all| dice.below(all.min(most)) + 1).0;
            let name = format!("{}, cut with seed {seed}", case.name);
            check(&name, &case.expected, &found);
        }
    }
}

/// Cases where bytes that are missing do not show: responses that come unasked, or change
/// what the client sends; requests that are pipelined are others.
const BLIND: [&str; 2] = [
    "a response nobody asked for on an idle connection",
    "a refused expectation: the client asks something else",
];

/// With some bytes lost, what remains says what it said before, or nothing.
#[test]
fn holes_change_nothing_but_take_away() {
    let mut compared = 0;
    let cases = cases();
    assert!(
        BLIND
            .iter()
            .all(|name| cases.iter().any(|case| case.name == *name))
    );
    let blind = |case: &Case| case.pipelines() || BLIND.contains(&case.name.as_str());
    for case in cases.iter().filter(|case| !case.is_long() && !blind(case)) {
        let whole = log(case, |_| false);
        for seed in 1..400 {
            let mut dice = Dice(seed);
            let (hole, length) = (dice.below(200), 1 + dice.below(30));
            let holed = log(case, |place| (hole..hole + length).contains(&place));
            for (id, found) in &holed.0 {
                let context = format!("{}, {length} lost at {hole}, exchange {id}", case.name);
                compared += compare(&context, &whole, found);
            }
        }
    }
    assert!(compared > 10_000, "only {compared} exchanges were compared");
}

/// What comes of a case when the bytes that `lost` picks by their place are missing.
fn log(case: &Case, lost: impl Fn(usize) -> bool) -> Log {
    let mut connection = Connection::new();
    let mut log = Log::default();
    let mut place = 0;
    let at = Timestamp::default();
    let mut out = |event: ExchangeEvent<'_>| log.add(event);
    for input in &case.input {
        match input {
            Input::Close => connection.close(at, &mut out),
            Input::Gap(direction, missing) => {
                connection.feed(*direction, at, Segment::Gap(*missing), &mut out);
            }
            Input::Data(direction, bytes) => {
                let places = (place..place + bytes.len()).map(&lost);
                let lost: Vec<bool> = places.collect();
                place += bytes.len();
                let mut rest = &bytes[..];
                for run in lost.chunk_by(|a, b| a == b) {
                    let (piece, after) = rest.split_at(run.len());
                    rest = after;
                    let missing = Missing {
                        lost: piece.len() as u64,
                        cut: 0,
                    };
                    let segment = match run[0] {
                        false => Segment::Data(piece),
                        true => Segment::Gap(missing),
                    };
                    connection.feed(*direction, at, segment, &mut out);
                }
            }
        }
    }
    connection.close(at, &mut out);
    log
}

/// Compares an exchange with the one of the same request on the whole connection, where
/// there is but one such; gives how many were compared.
fn compare(context: &str, whole: &Log, found: &Exchange) -> usize {
    let Some(request) = found.request.as_ref().filter(|head| !head.partial) else {
        return 0;
    };
    let target = |e: &&Exchange| e.request.as_ref().map(|r| r.target.clone());
    let same = |e: &&Exchange| target(e) == Some(request.target.clone());
    let mut candidates = whole.0.values().filter(same);
    let Some(expected) = candidates.next() else {
        panic!("{context}: a new {request:?}");
    };
    if candidates.next().is_some() {
        return 0;
    }
    assert_eq!(found.request, expected.request, "{context}");
    if let Some((_, response)) = found.response.as_ref().filter(|(_, head)| !head.partial) {
        let expected = expected.response.as_ref().map(|(_, response)| response);
        assert_eq!(Some(response), expected, "{context}");
    }
    assert!(
        found.trailers.is_empty() || found.trailers == expected.trailers,
        "{context}"
    );
    for (found, expected) in [
        (&found.request_body, &expected.request_body),
        (&found.response_body, &expected.response_body),
    ] {
        let expected: Vec<u8> = expected
            .pieces
            .iter()
            .flatten()
            .flatten()
            .copied()
            .collect();
        let mut rest = &expected[..];
        for piece in found.pieces.iter().flatten() {
            let at = memmem::find(rest, piece)
                .unwrap_or_else(|| panic!("{context}: {} is new", piece.escape_ascii()));
            rest = &rest[at + piece.len()..];
        }
    }
    1
}
