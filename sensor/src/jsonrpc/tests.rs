use super::*;

const NONE: Missing = Missing::NONE;

/// What is said of one direction: lines with their times, and `-n` for n missing bytes.
fn said(limit: usize, pieces: &[(Missing, &[u8])]) -> String {
    let mut connection = Connection::new(limit);
    let mut out = Vec::new();
    for (at, (missing, bytes)) in (1..).zip(pieces) {
        let at = Timestamp::from_nanos(at);
        let mut take = |heard: Heard<'_>| match heard {
            Heard::Line { began, bytes } => {
                out.push(format!("{}:{}", began.as_nanos(), bytes.escape_ascii()));
            }
            Heard::Missing(missing) => out.push(format!("-{}", missing.total())),
        };
        if !missing.is_none() {
            connection.feed(Direction::Read, at, Segment::Gap(*missing), &mut take);
        }
        connection.feed(Direction::Read, at, Segment::Data(bytes), &mut take);
    }
    out.join(" ")
}

#[test]
fn a_line_is_a_message_and_begins_with_its_first_byte() {
    assert_eq!(
        said(
            99,
            &[(NONE, b"{1}\n{2"), (NONE, b"}\r\n\n  \n{3}"), (NONE, b"\n")]
        ),
        "1:{1} 1:{2} 2:{3}"
    );
    let whole = said(99, &[(NONE, b"{1}\n{2}\n")]);
    assert_eq!(whole, "1:{1} 1:{2}");
}

#[test]
fn what_follows_a_hole_counts_from_the_next_line_on() {
    let lost = Missing { lost: 7, cut: 2 };
    assert_eq!(
        said(99, &[(NONE, b"{1}\n{2"), (lost, b"}\n{3}\n"), (lost, b"x")]),
        "1:{1} -9 2:{3} -9"
    );
}

#[test]
fn a_line_too_long_is_missing() {
    assert_eq!(
        said(
            4,
            &[
                (NONE, b"{12}\n{123}\n{4}"),
                (NONE, b"567"),
                (NONE, b"8\n{9}\n")
            ]
        ),
        "1:{12} -5 -6 -1 3:{9}"
    );
}

#[test]
fn both_directions_are_apart() {
    let mut connection = Connection::new(99);
    let mut lines = Vec::new();
    for (direction, bytes) in [
        (Direction::Write, &b"{1"[..]),
        (Direction::Read, b"{2}\n"),
        (Direction::Write, b"}\n"),
    ] {
        let segment = Segment::Data(bytes);
        connection.feed(direction, Timestamp::default(), segment, &mut |heard| {
            if let Heard::Line { bytes, .. } = heard {
                lines.push((direction, bytes.to_vec()));
            }
        });
    }
    assert_eq!(
        lines,
        [
            (Direction::Read, b"{2}".to_vec()),
            (Direction::Write, b"{1}".to_vec())
        ]
    );
}

#[test]
fn streams_of_messages_begin_with_an_object() {
    for (bytes, may) in [
        (&b"{\"jsonrpc\""[..], true),
        (b" [{", true),
        (b"Content-Length: 9", false),
        (b"POST / HTTP/1.1", false),
        (b"", false),
    ] {
        assert_eq!(may_begin(bytes), may, "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_law_holds_for_short_scripts() {
    for size in [0, 1, 2, 3, 5, 80] {
        let mut script = vec![size];
        for n in 0..200_u8 {
            script.extend(format!("{{{n}}}\n{}", "x".repeat(usize::from(n % 5) * 20)).bytes());
        }
        fuzz::lines(&script);
    }
}
