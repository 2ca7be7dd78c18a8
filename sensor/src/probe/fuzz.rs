//! Body of the fuzz target of this room.
//!
//! In: bytes that a fuzzer made up. Out: nothing, or a panic where a law is broken.

use super::connections::Connections;
use super::record::{self, Record};
use crate::event::{Event, Origin};

/// Records of the ring, each behind its length, as the sensor handles them.
pub fn records(mut script: &[u8]) {
    let mut connections = Connections::default();
    let mut events = 0_usize;
    let mut delivered = 0_usize;
    while let Some((&[low, high], rest)) = script.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (bytes, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        script = rest;
        assert!(record::valid(bytes).len() <= bytes.len());
        let _ = std::hint::black_box(record::parse_process(bytes));
        let Some((header, record)) = record::parse(bytes) else {
            continue;
        };
        let sink = &mut |event: Event<'_>| {
            std::hint::black_box(event);
            events += 1;
        };
        match record {
            Record::Data(payload) => {
                delivered += payload.len();
                connections.data(&header, payload, sink);
            }
            Record::Open(opening) => {
                let _ = std::hint::black_box(record::addresses(&opening.socket));
                let owner = (opening.pid, opening.key);
                connections.open(&header, owner, Origin::default(), sink);
            }
            Record::Close(end) => connections.close(header.connection, &end, header.at, sink),
            Record::ServerName(name) => {
                let name = String::from_utf8_lossy(name).into();
                let origin = Origin {
                    sni: Some(name),
                    ..Origin::default()
                };
                connections.update(&header, origin, sink);
            }
        }
    }
    assert!(connections.len() <= events, "{delivered} bytes");
}
