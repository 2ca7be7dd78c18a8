//! What the kernel lists of our links while a sensor runs, and after.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::{fs, iter, process};

use aya::programs::links::LinkType;
use aya::programs::loaded_links;
use llmtap::probe::{Options, Pids, Sensor};

use super::TURN;

/// Of a sensor's links, those that hold no probe.
const TRACEPOINTS: usize = 3;

/// The links that a process holds, as the kernel numbers them.
fn held_by(pid: u32) -> BTreeSet<u32> {
    fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .expect("a process of ours")
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .filter_map(|info| {
            let id = info.lines().find_map(|line| line.strip_prefix("link_id:"));
            id?.trim().parse().ok()
        })
        .collect()
}

fn of_this_process(multi: bool) -> Options {
    Options {
        pids: Pids::Only(vec![process::id()]),
        multi,
        ..Options::default()
    }
}

/// The kind of each of these links that the kernel lists.
fn listed(ids: &BTreeSet<u32>) -> Vec<LinkType> {
    loaded_links()
        .filter_map(Result::ok)
        .filter(|link| ids.contains(&link.id()))
        .filter_map(|link| link.link_type().ok())
        .collect()
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn no_link_is_left_when_a_sensor_stops() {
    let _turn = TURN.lock();
    for (multi, kind) in [(true, LinkType::UProbeMulti), (false, LinkType::PerfEvent)] {
        let before = held_by(process::id());
        let mut sensor = Sensor::start(&of_this_process(multi)).expect("root, and an object");
        // Who asks what is covered has no part in keeping it so.
        let images = sensor.status().images;
        let ids: BTreeSet<u32> = &held_by(process::id()) - &before;
        let kinds = listed(&ids);
        assert_eq!(kinds.len(), ids.len());
        let probes = kinds.iter().filter(|k| **k == kind).count();
        assert_eq!(probes + TRACEPOINTS, kinds.len(), "{kinds:?}");
        let sites: usize = images.iter().map(|image| image.sites()).sum();
        match multi {
            true => assert!(0 < probes && probes <= sites, "{probes} of {sites}"),
            false => assert_eq!(probes, sites),
        }
        sensor.stop();
        assert_eq!(listed(&ids), []);
    }
}

#[test]
#[ignore = "needs root and the eBPF object"]
fn no_link_is_left_when_a_sensor_is_killed() {
    let _turn = TURN.lock();
    let mut sensor = Command::new(env!("CARGO_BIN_EXE_llmtap"))
        .args(["tail", "--pid", &process::id().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is built");
    let messages = BufReader::new(sensor.stderr.take().expect("piped"));
    assert!(
        messages
            .lines()
            .any(|line| line.expect("text").contains("ready")),
        "it ended"
    );
    let ids = held_by(sensor.id());
    assert!(listed(&ids).len() > TRACEPOINTS);
    sensor.kill().expect("our own child");
    sensor.wait().expect("our own child");
    assert_eq!(listed(&ids), []);
}

/// Where there are too few descriptors for all links, a hook gets its own or none.
#[test]
#[ignore = "needs root and the eBPF object"]
fn a_hook_is_attached_wholly_or_not_at_all() {
    let _turn = TURN.lock();
    // Perf events take long to end.
    for (multi, rounds) in [(true, 4), (false, 2)] {
        let options = of_this_process(multi);
        let descriptors = || fs::read_dir("/proc/self/fd").expect("readable").count();
        let before = descriptors();
        let sensor = Sensor::start(&options).expect("root, and an object built before");
        let needs = descriptors() - before;
        drop(sensor);
        let mut failures = 0;
        for fewer in 1..=rounds {
            let null = File::open("/dev/null").expect("readable");
            let mut taken: Vec<File> = iter::from_fn(|| null.try_clone().ok()).collect();
            taken.truncate(taken.len() - (needs - fewer));
            let sensor = Sensor::start(&options).expect("its rings and maps fit");
            drop(taken);
            let images = sensor.status().images;
            failures += images.iter().map(|i| i.failures.len()).sum::<usize>();
            let sites: usize = images.iter().map(|image| image.sites()).sum();
            let links = held_by(process::id()).len() - TRACEPOINTS;
            assert_eq!(links, sites, "each link of these libraries holds one probe");
        }
        assert!(failures > 0, "the links were to be too many");
    }
}
