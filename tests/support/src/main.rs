//! The test server as a program of its own, for demonstrations and hand-made tests.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use llmtap_test_server::{Options, Server};

#[derive(Parser)]
#[command(about = "Answers as LLM providers do, for tests of llmtap")]
struct Arguments {
    /// Where to put the certificates
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Write each exchange to this file
    #[arg(long)]
    log: Option<PathBuf>,
    /// Port for TLS; 0 is any
    #[arg(long, default_value_t = 0)]
    https_port: u16,
    /// Port without TLS; 0 is any
    #[arg(long, default_value_t = 0)]
    http_port: u16,
    /// Speak no TLS newer than 1.2
    #[arg(long)]
    tls12: bool,
    /// Offer no HTTP/2
    #[arg(long)]
    http1: bool,
}

fn main() -> Result<()> {
    let Arguments {
        folder,
        log,
        https_port,
        http_port,
        tls12,
        http1,
    } = Arguments::parse();
    let options = Options {
        log,
        https_port,
        http_port,
        tls12,
        http1,
    };
    let server = Server::start(&folder, &options).context("cannot start the server")?;
    println!("OPENAI_BASE_URL=https://{}/v1", server.https());
    println!("ANTHROPIC_BASE_URL=https://{}", server.https());
    println!("OLLAMA_HOST=http://{}", server.http());
    println!("SSL_CERT_FILE={}", server.authority().display());
    println!("NODE_EXTRA_CA_CERTS={}", server.authority().display());
    loop {
        std::thread::park();
    }
}
