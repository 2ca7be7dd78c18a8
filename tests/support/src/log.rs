//! The truth: which exchanges took place, as the server knows them.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// One request and its reply.
#[derive(Clone, Debug, Serialize)]
pub struct Exchange {
    /// The id in the reply; empty where the reply has none.
    pub id: String,
    pub client: SocketAddr,
    pub encrypted: bool,
    pub http2: bool,
    pub method: String,
    pub path: String,
    pub request_bytes: usize,
    /// In hexadecimal.
    pub request_sha256: String,
    pub status: u16,
    /// What the model "said".
    pub text: String,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Of the reply's body before coding, in hexadecimal.
    pub reply_sha256: String,
    pub reply_bytes: usize,
}

/// All exchanges of one server; also a file of JSON lines where one is wanted.
#[derive(Debug)]
pub struct Log {
    exchanges: Mutex<Vec<Exchange>>,
    file: Option<Mutex<File>>,
}

impl Log {
    pub fn new(file: Option<File>) -> Self {
        Self {
            exchanges: Mutex::default(),
            file: file.map(Mutex::new),
        }
    }

    pub fn add(&self, exchange: Exchange) {
        if let Some(file) = &self.file {
            let mut line = serde_json::to_vec(&exchange).expect("invariant: plain data");
            line.push(b'\n');
            if let Err(error) = lock(file).write_all(&line) {
                eprintln!("the log of exchanges is incomplete: {error}");
            }
        }
        lock(&self.exchanges).push(exchange);
    }

    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.exchanges).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
