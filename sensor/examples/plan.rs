//! Shows where llmtap would put its probes in ELF files.
//!
//!     cargo run --example plan -- FILE…

use std::fs::File;
use std::time::Instant;

use llmtap::discover::{self, Finding};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let begun = Instant::now();
        let finding = discover::examine(&File::open(&path)?)?;
        println!("{path} ({:?})", begun.elapsed());
        match finding {
            Some(Finding::Hooks(plan)) => {
                println!("  {}", plan.library);
                plan.evidence.iter().for_each(|fact| println!("  {fact}"));
            }
            Some(Finding::Unsupported(what)) => println!("  {}: {}", what.library, what.reason),
            None => println!("  no TLS"),
        }
    }
    Ok(())
}
