//! AWS's event stream (`application/vnd.amazon.eventstream`), written.

/// A message: lengths and their checksum, headers, payload, the checksum of all.
pub fn event(name: &str, payload: &[u8]) -> Vec<u8> {
    /// Two lengths and two checksums.
    const FRAME: usize = 16;
    let mut headers = Vec::new();
    for (header, value) in [
        (":event-type", name),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ] {
        /// The type of a value that is text.
        const STRING: u8 = 7;
        headers.push(length(header) as u8);
        headers.extend_from_slice(header.as_bytes());
        headers.push(STRING);
        headers.extend(length(value).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = FRAME + headers.len() + payload.len();
    let mut message = Vec::with_capacity(total);
    for length in [total, headers.len()] {
        let length = u32::try_from(length).expect("invariant: our own short payloads");
        message.extend(length.to_be_bytes());
    }
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend_from_slice(payload);
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}

fn length(text: &str) -> u16 {
    u16::try_from(text.len()).expect("invariant: our own short names")
}
