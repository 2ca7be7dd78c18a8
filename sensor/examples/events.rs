//! Prints what the probes deliver, as sums a connection: `events [SECONDS]`, as root.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use llmtap::event::{Direction, EventKind};
use llmtap::probe::{Options, Sensor};

#[derive(Default)]
struct Sum {
    written: u64,
    read: u64,
    lost: u64,
    cut: u64,
    records: u64,
}

fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(10), |s| s.parse())?;
    let began = Instant::now();
    let mut sensor = Sensor::start(&Options::default())?;
    eprintln!("ready after {:?}", began.elapsed());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
    while Instant::now() < end {
        sensor.wait(Duration::from_millis(10))?;
        sensor.drain(&mut |event| {
            let sum = sums.entry(event.connection).or_default();
            match event.kind {
                EventKind::Open(origin) => println!("{:?} {origin:?}", event.connection),
                EventKind::Close => println!("{:?} closed", event.connection),
                EventKind::Data {
                    direction,
                    missing,
                    bytes,
                } => {
                    sum.records += 1;
                    sum.lost += missing.lost;
                    sum.cut += missing.cut;
                    match direction {
                        Direction::Write => sum.written += bytes.len() as u64,
                        Direction::Read => sum.read += bytes.len() as u64,
                    }
                }
            }
        });
    }
    for (connection, sum) in sums {
        println!(
            "{connection:?}: {} written, {} read, {} lost, {} cut, {} records",
            sum.written, sum.read, sum.lost, sum.cut, sum.records
        );
    }
    Ok(())
}
