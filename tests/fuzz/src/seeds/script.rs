//! Traffic in the forms that the bodies of fuzz targets read.

use super::corpus::Exchange;

/// Bytes of one direction: whether the process wrote them, and what they are.
pub type Piece = (bool, Vec<u8>);

/// An exchange over HTTP/1.1, its response in chunks.
pub fn http1(exchange: &Exchange) -> Vec<Piece> {
    let (host, target) = place(&exchange.url);
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        exchange.request_type,
        exchange.request.len()
    )
    .into_bytes();
    request.extend(&exchange.request);
    let mut response = format!(
        "HTTP/1.1 {} OK\r\nContent-Type: {}\r\n{}Transfer-Encoding: chunked\r\n\r\n",
        exchange.status,
        exchange.response_type,
        match &exchange.coding {
            Some(coding) => format!("Content-Encoding: {coding}\r\n"),
            None => String::new(),
        }
    )
    .into_bytes();
    for chunk in exchange.response.chunks(700) {
        response.extend(format!("{:x}\r\n", chunk.len()).bytes());
        response.extend(chunk);
        response.extend(b"\r\n");
    }
    response.extend(b"0\r\n\r\n");
    vec![(true, request), (false, response)]
}

/// The same over HTTP/2, on stream 1 (RFC 9113).
pub fn http2(exchange: &Exchange) -> Vec<Piece> {
    let (host, target) = place(&exchange.url);
    let status = exchange.status.to_string();
    let ask = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", host),
        (":path", target),
        ("content-type", &exchange.request_type),
    ];
    let mut answer = vec![
        (":status", &*status),
        ("content-type", &exchange.response_type),
    ];
    answer.extend(
        exchange
            .coding
            .as_deref()
            .map(|coding| ("content-encoding", coding)),
    );
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    request.extend(frame(4, 0, 0, &[]));
    request.extend(frame(1, 4, 1, &block(&ask)));
    request.extend(data(&exchange.request));
    let mut response = frame(4, 0, 0, &[]);
    response.extend(frame(1, 4, 1, &block(&answer)));
    response.extend(data(&exchange.response));
    vec![(true, request), (false, response)]
}

/// A handshake, then these frames.
pub fn websocket(frames: &[Piece]) -> Vec<Piece> {
    let ask = b"GET /v1/realtime HTTP/1.1\r\nHost: api.openai.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let mut pieces = vec![(true, ask.to_vec()), (false, answer.to_vec())];
    pieces.extend(frames.iter().cloned());
    pieces
}

/// For the dissectors: an order and a size of one byte each; long sizes are in sixteens.
pub fn short(pieces: &[Piece]) -> Vec<u8> {
    let mut script = Vec::new();
    for (written, bytes) in pieces {
        let way = u8::from(!written);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let sixteens = (rest.len() / 16).min(255);
            let (order, size, length) = match sixteens {
                0..16 => (way, rest.len().min(255), rest.len().min(255)),
                _ => (way | 2, sixteens, sixteens * 16),
            };
            let (chunk, after) = rest.split_at(length);
            script.extend([order, size as u8]);
            script.extend(chunk);
            rest = after;
        }
    }
    script
}

/// For the engine: an order, a size of two bytes. In pieces of at most `most` bytes, on a
/// connection that is opened and closed.
pub fn events(connection: u8, most: usize, pieces: &[Piece]) -> Vec<u8> {
    opened(connection << 6 | 1 << 4 | 5, most, pieces)
}

/// The same, over pipes.
pub fn messages(connection: u8, most: usize, pieces: &[Piece]) -> Vec<u8> {
    opened(connection << 6 | 1 << 3 | 5, most, pieces)
}

fn opened(order: u8, most: usize, pieces: &[Piece]) -> Vec<u8> {
    let connection = order & 3 << 6;
    let mut script = vec![order, 80, 0];
    for (written, bytes) in pieces {
        let way = u8::from(!written) << 3;
        for chunk in bytes.chunks(most) {
            script.push(connection | way);
            script.extend((chunk.len() as u16).to_le_bytes());
            script.extend(chunk);
        }
    }
    script.extend([connection | 6, 0, 0]);
    script
}

/// Host, and path with query.
fn place(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Frames of a content that ends its stream.
fn data(content: &[u8]) -> Vec<u8> {
    let mut frames: Vec<u8> = content
        .chunks(900)
        .flat_map(|part| frame(0, 0, 1, part))
        .collect();
    frames.extend(frame(0, 1, 1, &[]));
    frames
}

/// Fields as literals that enter the table (RFC 7541, section 6.2.1).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x40);
        for text in [name, value] {
            match text.len() {
                length @ 0..127 => block.push(length as u8),
                length => {
                    block.push(127);
                    let mut rest = length - 127;
                    while rest >= 128 {
                        block.push(rest as u8 | 128);
                        rest /= 128;
                    }
                    block.push(rest as u8);
                }
            }
            block.extend(text.bytes());
        }
    }
    block
}
