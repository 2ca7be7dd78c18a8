//! Recorded interactions, fed to drafts as an engine would feed them, against their
//! expected answers.
//!
//! The recordings lie beside the repository in `../shared/corpus`; where they are
//! absent this says so and does nothing. Our own cases are in `tests/corpus/llm`.

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use llmtap::llm::Call;
use serde_json::Value;
use support::compare::differences;
use support::describe::describe;
use support::drive::{Interaction, converse, drive, drive_cut, drive_without_path};
use support::framing::Unit;

/// The share of interactions that must come out as expected, in percent.
const FLOOR: f64 = 99.9;

#[test]
fn recorded_interactions_give_the_expected_calls() {
    let Some(records) = recordings(&folder()) else {
        eprintln!("SKIPPED: no recordings at {}", folder().display());
        return;
    };
    let mut families: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut failures = Vec::new();
    for record in &records {
        let expected = &record["expected"];
        let it = match record["kind"].as_str() {
            Some("http") => Interaction::of(record),
            Some("grpc") => Interaction::of_grpc(record),
            _ => continue,
        };
        if expected["ambiguous"] == true {
            continue;
        }
        let call = drive(&it, true);
        let wrong = differences(record, call.as_ref());
        let family = expected["family"].as_str().unwrap_or("(no call)");
        let [good, all] = families.entry(family.to_owned()).or_default();
        *all += 1;
        if wrong.is_empty() {
            *good += 1;
        } else {
            failures.push(format!(
                "{} {}\n    {}",
                record["id"],
                record["url"],
                wrong.join("\n    ")
            ));
        }
    }
    report(&families, &failures);
}

#[test]
fn recorded_sessions_give_a_call_for_each_reply() {
    let Some(records) = recordings(&folder()) else {
        eprintln!("SKIPPED: no recordings at {}", folder().display());
        return;
    };
    let mut failures = Vec::new();
    for record in records.iter().filter(|r| r["kind"] == "websocket") {
        let calls = converse(record);
        let expected = &record["expected"];
        let input = calls.iter().map(|c| c.usage.input).sum::<Option<u64>>();
        let ids: Vec<_> = calls.iter().map(|c| c.response.id.as_deref()).collect();
        let right = match expected["response_id"].as_str() {
            Some(id) => ids.contains(&Some(id)),
            None => input == expected["input_tokens"].as_u64(),
        };
        let model = expected["request_model"].as_str();
        let asked = calls
            .iter()
            .all(|c| model.is_none() || c.request.model.as_deref() == model);
        if !right || !asked || calls.iter().any(|c| c.error.is_some()) {
            failures.push(format!("{}: {calls:#?}", record["id"]));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Fields may vanish with the path; none may change, and no call may appear.
#[test]
fn a_hidden_path_costs_fields_and_changes_none() {
    let Some(records) = recordings(&folder()) else {
        eprintln!("SKIPPED: no recordings at {}", folder().display());
        return;
    };
    let (mut found, mut all, mut wrong) = (0, 0, Vec::new());
    for record in records.iter().filter(|r| r["kind"] == "http") {
        let it = Interaction::of(record);
        let (seen, unseen) = (drive(&it, true), drive_without_path(&it));
        all += usize::from(seen.is_some());
        found += usize::from(seen.is_some() && unseen.is_some());
        let changed = match (&seen, &unseen) {
            (Some(seen), Some(unseen)) => changes(seen, unseen),
            (None, Some(unseen)) if !might_be(record) => {
                vec![format!("a call out of nothing: {}", unseen.dialect)]
            }
            _ => Vec::new(),
        };
        if !changed.is_empty() {
            wrong.push(format!("{} {} {changed:?}", record["id"], record["url"]));
        }
    }
    println!("{found} of {all} calls are found without their paths");
    assert!(
        found * 100 >= all * 98,
        "only {found} of {all} calls were found"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether it is a matter of taste that this is no call, or nothing but the path tells.
fn might_be(record: &Value) -> bool {
    let failed = record["status"]
        .as_u64()
        .is_some_and(|status| status >= 400);
    failed || record["expected"]["ambiguous"] == true
}

/// What the second call says otherwise than the first.
fn changes(full: &Call, less: &Call) -> Vec<String> {
    let mut changed = Vec::new();
    let mut note = |name: &str, a: String, b: String| {
        if a != b {
            changed.push(format!("{name}: {a} became {b}"));
        }
    };
    note("dialect", full.dialect.into(), less.dialect.into());
    note(
        "operation",
        full.operation.to_string(),
        less.operation.to_string(),
    );
    note(
        "provider",
        full.provider.to_string(),
        less.provider.to_string(),
    );
    note(
        "usage",
        format!("{:?}", full.usage),
        format!("{:?}", less.usage),
    );
    note(
        "reply",
        format!("{:?}", full.response),
        format!("{:?}", less.response),
    );
    if let Some(model) = &less.request.model {
        note(
            "model",
            format!("{:?}", full.request.model.as_ref()),
            format!("{:?}", Some(model)),
        );
    }
    changed
}

/// Cases written by hand: each says all of what its call holds.
#[test]
fn our_own_cases_come_out_in_full() {
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(!cases.is_empty(), "no cases");
    for (path, case) in cases {
        let call = drive(&Interaction::of_case(&case), true);
        let got = call.as_ref().map_or(Value::Null, describe);
        if got != case["expected"] {
            let got = serde_json::to_string_pretty(&got).expect("JSON");
            wrong.push(format!("{}: {got}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where content is off, nothing of it is kept, and all the rest is the same.
#[test]
fn without_content_the_numbers_are_the_same() {
    for (_, case) in cases() {
        let it = Interaction::of_case(&case);
        let (Some(full), Some(bare)) = (drive(&it, true), drive(&it, false)) else {
            continue;
        };
        assert!(bare.request.messages.is_empty() && bare.response.messages.is_empty());
        assert!(bare.request.system.is_empty() && bare.request.tools.is_empty());
        assert_eq!(full.usage, bare.usage);
        assert_eq!(full.response.finish_reasons, bare.response.finish_reasons);
        assert_eq!(full.timing.chunks, bare.timing.chunks, "{}", case["about"]);
        assert_eq!(full.timing.first_content, bare.timing.first_content);
    }
}

/// A body cut anywhere loses fields and changes none.
#[test]
fn a_cut_reply_costs_fields_and_changes_none() {
    for (path, case) in cases() {
        let it = Interaction::of_case(&case);
        let [Unit::Whole(body)] = &it.response[..] else {
            continue;
        };
        let Some(full) = drive(&it, true) else {
            continue;
        };
        for cut in 0..body.len() {
            let Some(less) = drive_cut(&it, &body[..cut]) else {
                continue;
            };
            let lost = |a: &Option<Box<str>>, b: &Option<Box<str>>| b.is_none() || a == b;
            let fewer = |a: Option<u64>, b: Option<u64>| b.is_none() || a == b;
            let place = format!(
                "{} cut at {cut}: {:?} {:?}",
                path.display(),
                less.response,
                less.usage
            );
            assert!(lost(&full.response.id, &less.response.id), "{place}");
            assert!(lost(&full.response.model, &less.response.model), "{place}");
            assert!(fewer(full.usage.output, less.usage.output), "{place}");
            assert!(fewer(full.usage.input, less.usage.input), "{place}");
            assert!(
                fewer(full.usage.cache_read, less.usage.cache_read),
                "{place}"
            );
            let parts = |call: &Call| {
                call.response
                    .messages
                    .iter()
                    .map(|m| m.parts.len())
                    .sum::<usize>()
            };
            assert!(parts(&less) <= parts(&full), "{place}");
        }
    }
}

/// Bytes that are no document, in place of any other, make no panic.
#[test]
fn spoiled_bytes_do_no_harm() {
    for (_, case) in cases() {
        let it = Interaction::of_case(&case);
        for step in [1, 7, 13] {
            for spoil in [b'"', b'\\', b'{', b']', 0xff] {
                let mut spoiled = Interaction::of_case(&case);
                let at = spoiled.request.len() * step / 16;
                if let Some(byte) = spoiled.request.get_mut(at) {
                    *byte = spoil;
                }
                for unit in &mut spoiled.response {
                    let (Unit::Whole(data)
                    | Unit::Event { data, .. }
                    | Unit::Exception { data, .. }) = unit;
                    let at = data.len() * step / 16;
                    if let Some(byte) = data.get_mut(at) {
                        *byte = spoil;
                    }
                }
                // Its host and path may still make it a call; a stranger's may not.
                let call = drive(&spoiled, true);
                assert!(call.is_none() || drive(&it, true).is_some() || it.url.contains("example"));
            }
        }
    }
}

/// The cases written by hand.
fn cases() -> Vec<(PathBuf, Value)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let folders = ["llm", "grpc"].map(|name| corpus.join(name));
    let files = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("a folder of cases"))
        .map(|file| file.expect("a file").path());
    files
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a case");
            let case = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            (path, case)
        })
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus")
}

fn report(families: &BTreeMap<String, [usize; 2]>, failures: &[String]) {
    let mut sum = [0, 0];
    for (family, [good, all]) in families {
        println!("{family:24} {good:5}/{all}");
        sum = [sum[0] + good, sum[1] + all];
    }
    for failure in failures {
        println!("{failure}");
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
    let percent = 100.0 * sum[0] as f64 / sum[1] as f64;
    println!("{:24} {:5}/{} {percent:.2} %", "all", sum[0], sum[1]);
    assert!(percent >= FLOOR, "{percent:.2} % is below {FLOOR} %");
}

fn recordings(folder: &Path) -> Option<Vec<Value>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let mut records = Vec::new();
    for path in paths {
        let mut text = String::new();
        let file = std::fs::File::open(&path).expect("a file of the corpus");
        flate2::read::MultiGzDecoder::new(file)
            .read_to_string(&mut text)
            .expect("gzip of UTF-8");
        records.extend(
            text.lines()
                .map(|l| serde_json::from_str::<Value>(l).expect("JSON")),
        );
    }
    Some(records)
}
