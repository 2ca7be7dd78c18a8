//! Body of the fuzz target of this room.
//!
//! In: bytes that a fuzzer made up. Out: nothing, or a panic where a law is broken: what
//! comes in as payload goes out as data, all of it.

use super::connections::Connections;
use super::record::{self, Record};
use crate::event::{Event, EventKind, Origin};

/// Records of the ring, each behind its length, as the sensor handles them.
pub fn records(mut script: &[u8]) {
    let mut connections = Connections::default();
    let (mut came, mut went) = (0_usize, 0_usize);
    while let Some((&[low, high], rest)) = script.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (bytes, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        script = rest;
        assert!(record::valid(bytes).len() <= bytes.len());
        std::hint::black_box(record::parse_process(bytes));
        let sink = &mut |event: Event<'_>| {
            if let EventKind::Data { bytes, .. } = event.kind {
                went = went.saturating_add(bytes.len());
            }
        };
        let Some((header, record)) = record::parse(bytes) else {
            continue;
        };
        match record {
            Record::Data(payload) => {
                came = came.saturating_add(payload.len());
                connections.data(&header, payload, sink);
            }
            Record::Open(opening) => {
                std::hint::black_box(record::addresses(&opening.socket));
                let owner = (opening.pid, opening.key);
                connections.open(&header, owner, Origin::default(), sink);
            }
            Record::Close(end) => connections.close(header.connection, &end, header.at, sink),
            Record::ServerName(name) => {
                let origin = Origin {
                    sni: Some(String::from_utf8_lossy(name).into()),
                    ..Origin::default()
                };
                connections.update(&header, origin, sink);
            }
            Record::Join(_) => connections.absorb(header.connection, header.at, sink),
        }
    }
    assert_eq!(came, went);
}
