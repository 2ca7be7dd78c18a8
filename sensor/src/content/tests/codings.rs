//! Every coding, flushed, cut short, with holes, and as a bomb.

use std::io::Write as _;

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::brotli::CompressorWriter::new(&mut bytes, 4096, 5, 22);
    encoder.write_all(text).unwrap();
    drop(encoder);
    bytes
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(text, 3).unwrap()
}

#[test]
fn codings() {
    let text = b"{\"text\": \"some text, some more text, and text again\"}";
    let cases: &[(&str, Vec<u8>)] = &[
        ("gzip", gzip(text)),
        ("X-GZip", gzip(text)),
        ("gzip", [gzip(&text[..9]), gzip(&text[9..])].concat()),
        ("deflate", zlib(text)),
        ("deflate", raw_deflate(text)),
        ("br", brotli(text)),
        ("zstd", zstd(text)),
        ("zstd", [zstd(&text[..9]), zstd(&text[9..])].concat()),
        ("gzip, br", brotli(&gzip(text))),
        (" identity ,deflate,zstd", zstd(&zlib(text))),
        ("identity", text.to_vec()),
        ("", text.to_vec()),
        // Nobody named it, and it shows.
        ("", gzip(text)),
        ("", zstd(text)),
        ("gzip", [gzip(text), b"trailing".to_vec()].concat()),
    ];
    for (coding, bytes) in cases {
        let coding = (!coding.is_empty()).then_some(*coding);
        let seen = every_cut(|| Content::whole(coding, UNITS), bytes);
        assert_eq!(seen.whole.unwrap().0, show(text), "{coding:?}");
        assert_eq!(seen.faults, Faults::default(), "{coding:?}");
    }
}

#[test]
fn what_was_flushed_is_seen() {
    let events: Vec<String> = (0..20).map(|n| format!("data: event {n}\n\n")).collect();
    let expected: Vec<String> = (0..20).map(|n| format!("event {n}")).collect();
    let times: Vec<u64> = (1..=20).collect();
    let streams: [(&str, Vec<Vec<u8>>); 4] = [
        ("gzip", {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            let flushed = |event: &String| {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            };
            events.iter().map(flushed).collect()
        }),
        ("deflate", {
            let mut encoder =
                flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
            let flushed = |event: &String| {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            };
            events.iter().map(flushed).collect()
        }),
        ("br", {
            let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
            let flushed = |event: &String| {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            };
            events.iter().map(flushed).collect()
        }),
        ("zstd", {
            let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
            let flushed = |event: &String| {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            };
            events.iter().map(flushed).collect()
        }),
    ];
    for (coding, pieces) in &streams {
        let segments: Vec<_> = pieces.iter().map(|p| Segment::Data(p)).collect();
        let seen = run(
            Content::stream(Some(SSE), Some(coding), UNITS),
            &segments,
            true,
        );
        assert_eq!(seen.units, expected, "{coding}");
        assert_eq!(seen.times, times, "{coding}");
    }
}

#[test]
fn a_hole_ends_decoding() {
    let events = gzip(b"data: a\n\ndata: b\n\n");
    let seen = run(
        Content::stream(Some(SSE), Some("gzip"), UNITS),
        &[
            Segment::Data(&events[..10]),
            lost(5),
            Segment::Data(&events[15..]),
        ],
        true,
    );
    assert_eq!(seen.units, [""; 0]);
    assert_eq!(seen.missing.lost as usize, events.len() - 10);
}

#[test]
fn garbage_ends_decoding() {
    for coding in [
        "gzip",
        "deflate",
        "br",
        "zstd",
        "compress",
        "gzip, gzip, gzip, gzip, gzip",
    ] {
        let noise: Vec<u8> = (0..2000_u32).map(|n| (n * n % 251) as u8 | 0x90).collect();
        let seen = run(
            Content::whole(Some(coding), UNITS),
            &noise.chunks(100).map(Segment::Data).collect::<Vec<_>>(),
            true,
        );
        assert_eq!(seen.faults.undecodable, 1, "{coding}");
        assert!(seen.missing.lost > 0, "{coding}");
    }
}

#[test]
fn a_bomb_is_cut() {
    let limits = Limits {
        decoded: 2 << 20,
        ..UNITS
    };
    let zeros = vec![0; 3 << 20];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("br", brotli(&zeros)),
        ("zstd", zstd(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ];
    for (coding, bomb) in &bombs {
        let segments: Vec<_> = bomb.chunks(16).map(Segment::Data).collect();
        let seen = run(Content::whole(Some(coding), limits), &segments, true);
        assert_eq!(seen.faults.inflated, 1, "{coding}");
        assert!(seen.missing.cut > 0, "{coding}");
        assert_eq!(
            seen.whole.unwrap().0,
            format!("[{} bytes]", UNITS.whole - UNITS.tail)
        );
    }
}

#[test]
fn a_content_that_grows_too_fast_is_cut() {
    // Far below the absolute limit, but thousands of bytes for one.
    let bomb = zstd(&vec![0; 17 << 20]);
    let segments: Vec<_> = bomb.chunks(16).map(Segment::Data).collect();
    let seen = run(Content::whole(Some("zstd"), UNITS), &segments, true);
    assert_eq!(seen.faults.inflated, 1);
}
