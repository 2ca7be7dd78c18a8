//! Calls one after another over one connection, each when its input says so: `update` is
//! a call after the keys of TLS 1.3 were changed in both directions, any other line a call.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Result, body, whole};

type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// Makes a call at once, and then one for each line of the input.
pub fn run(config: ClientConfig) -> Result<()> {
    let base = std::env::var("OPENAI_BASE_URL")?;
    let address = base.trim_start_matches("https://").trim_end_matches("/v1");
    let socket = TcpStream::connect(address)?;
    let name = ServerName::try_from(socket.peer_addr()?.ip().to_string())?;
    let connection = ClientConnection::new(Arc::new(config), name)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    println!("{}", call(&mut stream, address)?);
    for line in std::io::stdin().lines() {
        if line? == "update" {
            stream.get_mut().conn.refresh_traffic_keys()?;
        }
        println!("{}", call(&mut stream, address)?);
    }
    Ok(())
}

fn call(stream: &mut Stream, host: &str) -> Result<serde_json::Value> {
    let (key, body) = (std::env::var("CANARY")?, body(false).to_string());
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all((head + &body).as_bytes())?;
    stream.get_mut().flush()?;
    let mut length = None;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut reply = vec![0; length.ok_or("a reply of unknown length")?];
    stream.read_exact(&mut reply)?;
    whole(std::str::from_utf8(&reply)?)
}
