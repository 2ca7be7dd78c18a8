//! Servers that are not ours: where they listen, and when they are ready.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::{Client, Running};

/// Asks again and again, for two minutes: what is large is slow to start.
pub fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(200));
    }
    panic!("waited in vain for {what}");
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Starts `command`, which tells `log` what it would tell its errors.
pub fn logged(mut command: Command, log: &Path) -> Running {
    command.stderr(File::create(log).expect("our own folder"));
    Client::new(command).start()
}
