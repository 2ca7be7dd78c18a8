//! What a capture holds, byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The SHA-256 in hexadecimal of each body that crossed in HTTP/1.1, in either direction.
pub fn hashes_of_bodies(capture: &Path) -> BTreeSet<String> {
    let mut hashes = BTreeSet::new();
    for stream in streams(capture).values() {
        let mut rest = stream.as_slice();
        while let Some((body, after)) = message(rest) {
            let hash = Sha256::digest(body);
            hashes.insert(hash.iter().map(|byte| format!("{byte:02x}")).collect());
            rest = after;
        }
    }
    hashes
}

/// All data, for each connection and direction in one piece.
fn streams(capture: &Path) -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(capture).expect("a capture was written");
    let mut streams = BTreeMap::<String, Vec<u8>>::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        if let Some(data) = line["data"].as_str() {
            assert!(line["lost"].as_u64().is_none_or(|lost| lost == 0), "whole");
            let bytes = base64::engine::general_purpose::STANDARD.decode(data);
            let stream = format!("{} {}", line["conn"], line["dir"]);
            let stream = streams.entry(stream).or_default();
            stream.extend(bytes.expect("base64"));
        }
    }
    streams
}

/// The body of the first message, and what comes after it; `None` where it is not whole.
fn message(stream: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (head, mut rest) = split(stream, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    if let Some(length) = field("content-length:") {
        let body = rest.split_at_checked(length.trim().parse().ok()?)?;
        return Some((body.0.to_vec(), body.1));
    }
    let mut body = Vec::new();
    if field("transfer-encoding:").is_some() {
        loop {
            let (size, after) = split(rest, b"\r\n")?;
            let size = usize::from_str_radix(str::from_utf8(size).ok()?, 16).ok()?;
            let (chunk, after) = after.split_at_checked(size)?;
            rest = after.strip_prefix(b"\r\n")?;
            body.extend(chunk);
            if size == 0 {
                break;
            }
        }
    }
    Some((body, rest))
}

fn split<'b>(bytes: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let place = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..place], &bytes[place + at.len()..]))
}
