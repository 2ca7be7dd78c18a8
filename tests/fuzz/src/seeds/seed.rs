//! The seeds of each target.

use std::io::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::corpus::{Corpus, Exchange};
use super::image::Machine;
use super::script::{self, Piece};
use super::synthetic::Builder;

/// Content without a hole, complete.
const WHOLE: [u8; 4] = [2, 0xff, 0xff, 0];

pub fn of(target: &str, corpus: &Corpus) -> Vec<Vec<u8>> {
    match target {
        "image" => images(),
        "damage" => (0..=255)
            .map(|n| [n & 3, 0, n, n, 9, n & 3, n].to_vec())
            .collect(),
        "maps" => vec![MAPS.into()],
        "records" => records(),
        "reader" => exchanges(corpus, |e| capture(&script::http1(e))),
        "mask" => exchanges(corpus, |e| {
            [&[0xff, 0xff], SECRET, &script::http1(e)[0].1].concat()
        }),
        "http1" => exchanges(corpus, |e| script::short(&script::http1(e))),
        "http2" => exchanges(corpus, |e| script::short(&script::http2(e))),
        "hpack" => corpus
            .blocks
            .iter()
            .flat_map(|blocks| hpack(blocks))
            .collect(),
        "websocket" => corpus
            .sockets
            .iter()
            .flat_map(|s| windows(s, 12, script::short))
            .collect(),
        "connection" => traffic(corpus, &script::short),
        "reframe" | "engine" => {
            let mut seeds = traffic(corpus, &|pieces| script::events(0, 3_000, pieces));
            seeds.extend(exchanges(corpus, |e| {
                script::events(1, 100, &script::http1(e))
            }));
            seeds.extend([40, 3_000].map(|most| script::messages(0, most, &messages())));
            seeds
        }
        "jsonrpc" => [3, 20, 90].map(lines).into(),
        "sse" => content(corpus.bodies("event-stream")),
        "event-stream" => content(corpus.bodies("amazon.eventstream")),
        "ndjson" => content(corpus.bodies("ndjson").chain(corpus.bodies("stream+json"))),
        "json" => content(corpus.bodies("json")),
        "grpc" => content(GRPC.into_iter()),
        "coded" => exchanges(corpus, |e| e.response.clone())
            .iter()
            .flat_map(|body| coded(body))
            .collect(),
        "exchange" => exchanges(corpus, exchange),
        "rpc" => (0..8).map(rpc).collect(),
        "session" => SESSIONS.map(pieces).into(),
        "form" => vec![FORM.into()],
        "prices" => PRICES.iter().map(|text| text.as_bytes().to_vec()).collect(),
        "redact" => REDACT.iter().map(|text| text.as_bytes().to_vec()).collect(),
        _ => Vec::new(),
    }
}

/// Small libraries: with symbols, with pointers alone, with words alone.
fn images() -> Vec<Vec<u8>> {
    let machines = [Machine::X86_64, Machine::Aarch64];
    let named = machines.map(|machine| {
        let mut image = Builder::new(machine);
        let functions = [
            "SSL_read",
            "SSL_write",
            "SSL_read_ex",
            "SSL_write_ex",
            "SSL_free",
            "SSL_set_fd",
            "SSL_ctrl",
            "gnutls_record_send",
            "PR_Write",
        ];
        for name in functions {
            image.function(name, b"\x55\x48\x89\xe5\x41\x57\xc3\x90");
        }
        image.import("malloc");
        let slot = image.place(&[0; 32]);
        image.relocate(slot, image.next_address());
        image.link(slot + 8, "malloc");
        image.constant(b"OpenSSL 3.0.17 1 Jul 2025\0");
        image.build()
    });
    let words = machines.map(|machine| {
        let mut image = Builder::new(machine);
        let text = image.constants_here(
            b"BoringSSL\0tls13 \0SSLKEYLOGFILE\0rustls\0crypto/tls\0Go buildinf:\0ssl/ssl_lib.cc\0",
        );
        let code = image.place(b"\x48\x8d\x05\0\0\0\0\xc3");
        image.relocate(code, text);
        image.build()
    });
    named.into_iter().chain(words).collect()
}

/// What a client of MCP and its server say to each other.
fn messages() -> Vec<Piece> {
    let say = |&(written, text): &(bool, &str)| (written, format!("{text}\n").into_bytes());
    MESSAGES.iter().map(say).collect()
}

/// The same for the dissector of lines, in pieces of that size.
fn lines(size: u8) -> Vec<u8> {
    let mut script = vec![size];
    for (written, mut bytes) in messages() {
        // The first byte of a piece says which way it goes.
        let marks = bytes.chunks_mut(usize::from(size));
        marks.for_each(|piece| piece[0] = piece[0] & !1 | u8::from(!written));
        script.extend(bytes);
    }
    script
}

fn exchanges(corpus: &Corpus, seed: impl Fn(&Exchange) -> Vec<u8>) -> Vec<Vec<u8>> {
    corpus.exchanges.iter().map(seed).collect()
}

/// All protocols.
fn traffic(corpus: &Corpus, form: &dyn Fn(&[Piece]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut seeds = exchanges(corpus, |e| form(&script::http1(e)));
    seeds.extend(exchanges(corpus, |e| form(&script::http2(e))));
    for socket in &corpus.sockets {
        seeds.extend(windows(&script::websocket(socket), 14, form));
    }
    seeds
}

/// The first pieces of it, more and more.
fn windows(pieces: &[Piece], most: usize, form: impl Fn(&[Piece]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let most = most.min(pieces.len());
    (1..=most).map(|count| form(&pieces[..count])).collect()
}

fn content<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    bodies.map(|body| [&WHOLE[..], body].concat()).collect()
}

fn hpack(blocks: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for blocks in blocks.chunks(4) {
        let mut seed = vec![1];
        for block in blocks {
            seed.extend((block.len() as u16).to_be_bytes());
            seed.extend(block);
        }
        seeds.push(seed);
    }
    seeds
}

fn exchange(exchange: &Exchange) -> Vec<u8> {
    let Exchange {
        url,
        request_type,
        status,
        response_type,
        ..
    } = exchange;
    let mut seed = format!(
        "{url} {} {status} {}\n",
        request_type.replace(' ', ""),
        response_type.replace(' ', "")
    )
    .into_bytes();
    seed.extend(&exchange.request);
    let text = String::from_utf8_lossy(&exchange.response);
    if !response_type.contains("event-stream") {
        seed.extend(b"\xffw\n");
        seed.extend(text.bytes());
        return seed;
    }
    let mut name = "";
    for line in text.lines() {
        if let Some(event) = line.strip_prefix("event: ") {
            name = event;
        } else if let Some(data) = line.strip_prefix("data: ") {
            seed.extend(b"\xffe");
            seed.extend(format!("{name}\n{data}").bytes());
            name = "";
        }
    }
    seed
}

fn capture(pieces: &[Piece]) -> Vec<u8> {
    let mut lines = "{\"type\":\"capture\",\"version\":1,\"epoch_ns\":5,\"host\":\"box\"}\n\
        {\"type\":\"open\",\"conn\":1,\"ts\":1,\"pid\":2,\"comm\":\"c\",\"tls\":\"openssl\",\"role\":\"client\",\"peer\":\"127.0.0.1:443\"}\n"
        .to_owned();
    for (written, bytes) in pieces {
        let way = if *written { "write" } else { "read" };
        let data = BASE64_STANDARD.encode(bytes);
        let length = bytes.len();
        lines += &format!(
            "{{\"type\":\"data\",\"conn\":1,\"ts\":2,\"dir\":\"{way}\",\"len\":{length},\"data\":\"{data}\"}}\n"
        );
    }
    lines += "{\"type\":\"close\",\"conn\":1,\"ts\":3}\n";
    lines.into_bytes()
}

/// An opening, data with a hole before it, a server name and a close.
fn records() -> Vec<Vec<u8>> {
    let record = |kind: u8, position: u64, body: &[u8]| {
        let mut record = Vec::new();
        for word in [7, 5, position, 0] {
            record.extend(u64::to_le_bytes(word));
        }
        record.extend((body.len() as u32).to_le_bytes());
        record.extend([kind, 0, 0, 0]);
        record.extend(body);
        [&(record.len() as u16).to_le_bytes()[..], &record].concat()
    };
    let whole = [
        record(1, 0, &[1; 88]),
        record(2, 0, b"GET / HTTP/1.1\r\n\r\n"),
        record(4, 0, b"api.openai.com"),
        record(2, 30, b"more"),
        record(3, 0, &[9; 40]),
    ];
    vec![whole.concat(), whole[1].clone(), whole[0].clone()]
}

/// Behind the choice of its coding: all that the target knows.
fn coded(body: &[u8]) -> Vec<Vec<u8>> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let gzip = gzip
        .write_all(body)
        .and_then(|()| gzip.finish())
        .unwrap_or_default();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let zlib = zlib
        .write_all(body)
        .and_then(|()| zlib.finish())
        .unwrap_or_default();
    let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 3, 18);
    let brotli = brotli
        .write_all(body)
        .map(|()| brotli.into_inner())
        .unwrap_or_default();
    let zstd = zstd::encode_all(body, 1).unwrap_or_default();
    let all = [(0, gzip), (1, zlib), (2, brotli), (3, zstd)];
    all.map(|(choice, bytes)| [&[choice][..], &WHOLE, &bytes].concat())
        .into()
}

const MAPS: &str = "55d0c0a00000-55d0c0a02000 r--p 00000000 fe:01 1311 /usr/bin/cat
55d0c0a02000-55d0c0a07000 r-xp 00002000 fe:01 1311   /usr/bin/cat
7f1c1c000000-7f1c1c021000 r-xp 00000000 00:2e 99 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)
7ffd2c5f4000-7ffd2c5f6000 r-xp 00000000 00:00 0 [vdso]
";

const SECRET: &[u8] =
    b"GET /v1?key=abc&b=c HTTP/1.1\r\nAuthorization: Bearer abc\r\nX-Api-Key:\r\n abc\r\n\r\n";

const GRPC: [&[u8]; 2] = [
    b"\0\0\0\0\x07\x0a\x05model\0\0\0\0\x02{}",
    b"\x01\0\0\0\x03abc\0\xff\xff\xff\xff",
];

/// `|` stands between the pieces.
const SESSIONS: [&str; 2] = [
    r#"https://api.openai.com/v1/realtime?model=m|s{"type":"session.created","session":{"model":"m-1"}}|c{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}}|c{"type":"response.create"}|s{"type":"response.created","response":{"id":"r1"}}|s{"type":"response.output_text.delta","output_index":0,"delta":"Yo"}|s{"type":"response.done","response":{"id":"r1","status":"completed","usage":{"input_tokens":3,"output_tokens":1}}}"#,
    r#"https://g.example/ws/x.GenerativeService.BidiGenerateContent|c{"setup":{"model":"models/g"}}|s{"setupComplete":{}}|c{"clientContent":{"turns":[{"role":"user","parts":[{"text":"Hi"}]}],"turnComplete":true}}|s{"serverContent":{"modelTurn":{"parts":[{"text":"Yo"}]}}}|s{"toolCall":{"functionCalls":[{"id":"c","name":"f","args":{}}]}}|s{"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":2,"responseTokenCount":1}}"#,
];

/// A request with a message of a user and a model, and a reply with text and counts.
fn rpc(method: u8) -> Vec<u8> {
    const ASK: &[u8] = b"\x0a\x08\x0a\x04\x0a\x02Hi\x10\x01\x12\x06grok-4\x38\x40";
    const REPLY: &[u8] = b"\x0a\x02id\x12\x0c\x10\x00\x1a\x06\x0a\x02Yo\x18\x02\x20\x01\x2a\x04grok\x4a\x04\x08\x03\x10\x05";
    let mut seed = vec![method];
    for message in [ASK, REPLY, REPLY] {
        seed.extend((message.len() as u16).to_be_bytes());
        seed.extend(message);
    }
    seed
}

/// Ends each piece as the target wants it.
fn pieces(text: &str) -> Vec<u8> {
    let end = |byte| if byte == b'|' { 0xff } else { byte };
    text.bytes().map(end).collect()
}

const FORM: &str = "multipart/form-data; boundary=\"B\"\n--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--B--\r\n";

const PRICES: [&str; 2] = [
    r#"openai
gpt-5
{"source": "s", "retrieved": "2026-01-31", "replace": false, "providers": [{"names": ["openai", "*"], "fallback": ["anthropic"], "models": [{"match": ["gpt-5", "gpt-5-####-##-##", "my-gpt-*"], "except": ["*-tts"], "prices": [{"usd": {"input": 1.25, "output": 10, "cache_read": 0.125}}, {"above": 272000, "usd": {"input": 2.5}}, {"tier": "flex", "from": "2026-02-01", "hours": "16:30-00:30", "usd": {"input": null, "output": 5}}]}]}]}"#,
    r#"openai
gpt-4o
{"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "input_cost_per_token_above_200k_tokens_priority": 1e-6}}"#,
];

const REDACT: [&str; 4] = [
    "use sk-proj-abcdefghijklmnop1234 or AKIAIOSFODNN7EXAMPLE, mail jo@mail.example.org",
    "pay GB82 WEST 1234 5698 7654 32 or 4111 1111 1111 1111, call +1 (555) 010-0123 or 555-010-0123",
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----",
    "Authorization: Bearer abcdef0123456789 password = hunter2! {\"api_key\": \"0123456789\"} eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2ln",
];

/// Whether the client wrote it, and what it is.
const MESSAGES: [(bool, &str); 10] = [
    (
        true,
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","clientInfo":{"name":"c","version":"1"}}}"#,
    ),
    (
        false,
        r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"s","version":"2"}}}"#,
    ),
    (
        true,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    ),
    (
        true,
        r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"f","arguments":{"q":1}}}"#,
    ),
    (
        false,
        r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"messages":[]}}"#,
    ),
    (
        true,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#,
    ),
    (
        false,
        r#"{"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"x"}],"isError":true}}"#,
    ),
    (
        true,
        r#"[{"jsonrpc":"2.0","id":2,"method":"ping"},{"jsonrpc":"2.0","id":3,"method":"tools/list"}]"#,
    ),
    (
        true,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#,
    ),
    (false, r#"{"jsonrpc":"2.0","id":2,"result":{}}"#),
];
