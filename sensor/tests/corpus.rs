//! Recorded interactions, fed to drafts as an engine would feed them, against their
//! expected answers.
//!
//! The recordings lie beside the repository in `../shared/corpus`; where they are
//! absent this says so and does nothing. Our own cases are in `tests/corpus/llm`.

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::compare::differences;
use support::drive::{Interaction, drive};

/// The share of interactions that must come out as expected, in percent.
const FLOOR: f64 = 50.0;

#[test]
fn recorded_interactions_give_the_expected_calls() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let Some(records) = recordings(&folder) else {
        eprintln!("SKIPPED: no recordings at {}", folder.display());
        return;
    };
    let mut families: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut failures = Vec::new();
    for record in &records {
        let expected = &record["expected"];
        if record["kind"] != "http" || expected["ambiguous"] == true {
            continue;
        }
        let call = drive(&Interaction::of(record), true);
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
