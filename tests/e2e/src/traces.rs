//! What a sensor leaves in other processes and in the kernel.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;

/// Sends a signal, by its name without `SIG`.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .expect("kill can be started");
    assert!(status.success(), "kill -{name} {pid}: {status}");
}

/// Bytes of the process's code from files named like `library` that differ from the
/// file: breakpoints that somebody has put there.
pub fn patched_bytes(pid: u32, library: &str) -> usize {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("we may read its memory");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let mut mapped = 0;
    let mut patched = 0;
    for line in maps
        .lines()
        .filter(|l| l.contains(library) && l.contains(" r-xp "))
    {
        let mut words = line.split_whitespace();
        let range = words.next().expect("invariant: an address range");
        let (from, to) = range.split_once('-').expect("invariant: a range");
        let hex = |text| u64::from_str_radix(text, 16).expect("invariant: hexadecimal");
        let (from, to) = (hex(from), hex(to));
        let offset = hex(words.nth(1).expect("invariant: an offset"));
        let length = usize::try_from(to - from).expect("invariant: fits");

        let (mut live, mut stored) = (vec![0; length], vec![0; length]);
        memory
            .read_exact_at(&mut live, from)
            .expect("mapped memory");
        let file = File::open(format!("/proc/{pid}/map_files/{from:x}-{to:x}")).expect("its file");
        // The last page may reach beyond the file.
        let got = file.read_at(&mut stored, offset).expect("its file");
        mapped += got;
        patched += (0..got).filter(|&i| live[i] != stored[i]).count();
    }
    assert!(mapped > 0, "process {pid} maps no {library}");
    patched
}

/// Probe events that are registered by name; a sensor needs none.
pub fn named_probe_events() -> BTreeSet<String> {
    let tracing = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let text = tracing
        .iter()
        .find_map(|place| fs::read_to_string(format!("{place}/uprobe_events")).ok());
    text.unwrap_or_default().lines().map(String::from).collect()
}

/// The eBPF programs that the kernel holds now.
pub fn loaded_programs() -> BTreeSet<u32> {
    aya::programs::loaded_programs()
        .filter_map(|program| program.ok())
        .map(|program| program.id())
        .collect()
}
