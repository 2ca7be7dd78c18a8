//! Shows where llmtap would put its probes in ELF files, how long it takes to tell, and the
//! most memory that this process has had until then.
//!
//!     cargo run --release --example plan -- FILE…

use std::fs::{self, File};
use std::time::Instant;

use llmtap::discover::{self, Finding};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let begun = Instant::now();
        let finding = discover::examine(&File::open(&path)?)?;
        let seconds = begun.elapsed().as_secs_f64();
        println!("{path}: {seconds:.2} s, {} MiB", memory_mib()?);
        match finding {
            Some(Finding::Hooks(plan)) => {
                let version = plan.version.as_deref().unwrap_or_default();
                println!("  {} {version}", plan.library);
                plan.evidence.iter().for_each(|fact| println!("  {fact}"));
            }
            Some(Finding::Unsupported(what)) => println!("  {}: {}", what.library, what.reason),
            None => println!("  no TLS"),
        }
    }
    Ok(())
}

fn memory_mib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("no VmHWM")?.parse::<u64>()? >> 10)
}
