//! What fuzzing has found stays found: each input runs again.

use std::fs;
use std::path::Path;

use llmtap_fuzz::TARGETS;

#[test]
fn findings_break_nothing_any_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    let mut replayed = 0;
    for target in fs::read_dir(&folder).expect("there are findings") {
        let target = target.expect("can be listed").path();
        let name = target
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let run = llmtap_fuzz::find(name)
            .expect("findings lie in a folder of their target")
            .run;
        for input in fs::read_dir(&target).expect("can be listed") {
            let input = input.expect("can be listed").path();
            println!("{}", input.display());
            run(&fs::read(&input).expect("can be read"));
            replayed += 1;
        }
    }
    assert!(replayed > 0, "no input in {}", folder.display());
}

#[test]
fn every_target_takes_nothing_and_little() {
    for target in TARGETS {
        for input in [&b""[..], b"\0", b"\0\0\0\0\0\0\0\0", &[0xff; 64]] {
            (target.run)(input);
        }
    }
}
