use super::encoder::Encoder;
use super::*;
use crate::http::head::redact;

type Line = Option<(String, String)>;

/// Decodes; without credentials, unknown fields as `None`.
fn lines(decoder: &mut Decoder, block: &[u8]) -> (Vec<Line>, Result<(), Broken>) {
    let mut lines = Vec::new();
    let result = decoder.decode(block, &mut |field| {
        lines.push(match field {
            Field::Known { name, value, .. } => Some(line(name, value)),
            Field::Unknown => None,
        });
    });
    (lines, result)
}

fn line(name: &str, value: &str) -> (String, String) {
    (name.into(), redact(name, value).into())
}

struct Case {
    capacity: Option<u32>,
    block: Vec<u8>,
    fields: Vec<Line>,
}

/// The blocks of one direction, as another encoder wrote them.
fn stories() -> Vec<(String, Vec<Case>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/hpack");
    let mut stories = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let story: serde_json::Value = serde_json::from_str(&text).unwrap();
        let cases = story["cases"].as_array().unwrap().iter().map(case);
        stories.push((path.display().to_string(), cases.collect()));
    }
    assert!(stories.len() >= 20, "the corpus is incomplete");
    stories
}

fn case(case: &serde_json::Value) -> Case {
    let wire = case["wire"].as_str().unwrap();
    let octet = |at| u8::from_str_radix(&wire[at..at + 2], 16).unwrap();
    let field = |field: &serde_json::Value| {
        let (name, value) = field.as_object().unwrap().iter().next().unwrap();
        Some(line(name, value.as_str().unwrap()))
    };
    Case {
        capacity: case["header_table_size"].as_u64().map(|c| c as u32),
        block: (0..wire.len()).step_by(2).map(octet).collect(),
        fields: case["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(field)
            .collect(),
    }
}

#[test]
fn decodes_what_other_encoders_wrote() {
    for (name, cases) in stories() {
        let mut decoder = Decoder::new();
        for (n, case) in cases.iter().enumerate() {
            if let Some(capacity) = case.capacity {
                decoder.allow(capacity);
            }
            let (fields, result) = lines(&mut decoder, &case.block);
            assert_eq!(result, Ok(()), "{name} {n}");
            assert_eq!(fields, case.fields, "{name} {n}");
        }
    }
}

/// Says whether every field is right or unknown, and how many are known.
fn known(name: &str, fields: &[Line], expected: &[Line]) -> usize {
    assert_eq!(fields.len(), expected.len(), "{name}");
    for (field, expected) in fields.iter().zip(expected) {
        assert!(
            field.is_none() || field == expected,
            "{name}: {field:?} for {expected:?}"
        );
    }
    fields.iter().flatten().count()
}

#[test]
fn joined_late_no_field_is_wrong() {
    let (mut right, mut all) = (0, 0);
    for (name, cases) in stories() {
        for start in 1..cases.len() {
            let mut decoder = Decoder::new();
            decoder.forget();
            for case in &cases[start..] {
                let (fields, result) = lines(&mut decoder, &case.block);
                assert_eq!(result, Ok(()), "{name} from {start}");
                right += known(&name, &fields, &case.fields);
                all += fields.len();
            }
        }
    }
    // Most of the fields are known again soon.
    assert!(right * 10 > all * 7, "{right} of {all}");
}

#[test]
fn after_a_lost_block_no_field_is_wrong() {
    for (name, cases) in stories() {
        for lost in 0..cases.len() {
            let mut decoder = Decoder::new();
            for (n, case) in cases.iter().enumerate() {
                if n == lost {
                    decoder.forget();
                    continue;
                }
                let (fields, result) = lines(&mut decoder, &case.block);
                assert_eq!(result, Ok(()), "{name} without {lost}");
                known(&name, &fields, &case.fields);
            }
        }
    }
}

#[test]
fn an_entry_whose_name_is_unknown_keeps_its_place() {
    let mut decoder = Decoder::new();
    let block = Encoder::default()
        .inserted("a", "1")
        .inserted(70, "secret")
        .inserted("b", "2");
    let (fields, result) = lines(&mut decoder, &block.0);
    assert_eq!(result, Ok(()));
    assert_eq!(fields, [Some(line("a", "1")), None, Some(line("b", "2"))]);
    let block = Encoder::default()
        .indexed(62)
        .indexed(63)
        .indexed(64)
        .indexed(65);
    let (fields, _) = lines(&mut decoder, &block.0);
    assert_eq!(
        fields,
        [Some(line("b", "2")), None, Some(line("a", "1")), None]
    );
}

#[test]
fn a_broken_block_costs_the_table() {
    for broken in [
        &[0x80][..],
        &[0x40, 0x85, 0x01],
        &[0x40, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x40, 0x81, 0xff, 0x00],
    ] {
        let mut decoder = Decoder::new();
        let block = Encoder::default().inserted("a", "1");
        assert_eq!(lines(&mut decoder, &block.0).1, Ok(()));
        assert_eq!(lines(&mut decoder, broken).1, Err(Broken), "{broken:x?}");
        assert_eq!(lines(&mut decoder, &[0x80 | 62]).0, [None]);
    }
}

#[test]
fn memory_has_a_bound() {
    let mut decoder = Decoder::new();
    decoder.allow(u32::MAX);
    let mut block = Encoder::default().resize(100_000_000);
    for n in 0..40_000 {
        block = block.inserted("n", &n.to_string());
    }
    assert_eq!(lines(&mut decoder, &block.0).1, Ok(()));
    assert!(decoder.held_bytes() < 256 << 10, "{}", decoder.held_bytes());
}
