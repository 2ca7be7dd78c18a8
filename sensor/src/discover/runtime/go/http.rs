//! Clients of Go's HTTP: where a request passes from the goroutine that asks to the one that
//! writes it.
//!
//! In: the table of functions. Out: hooks. What is not there, or not of a known shape, is left
//! out: then it is not known who asked.

use super::{Entry, Function, Hooks, ImageError, Table, hook_entry};

/// HTTP/2 stands in three places: in `net/http` up to Go 1.26, beside it from 1.27 on, and in a
/// module of its own. Up to Go 1.22 `RoundTrip` was all of `roundTrip`; later it calls it.
const PACKAGES: usize = 3;
const ASKS: [[&str; 2]; PACKAGES] = [
    [
        "net/http.(*http2ClientConn).roundTrip",
        "net/http.(*http2ClientConn).RoundTrip",
    ],
    [
        "net/http/internal/http2.(*ClientConn).roundTrip",
        "net/http/internal/http2.(*ClientConn).RoundTrip",
    ],
    [
        "golang.org/x/net/http2.(*ClientConn).roundTrip",
        "golang.org/x/net/http2.(*ClientConn).RoundTrip",
    ],
];
const WRITES: [&str; PACKAGES] = [
    "net/http.(*http2clientStream).writeRequest",
    "net/http/internal/http2.(*clientStream).writeRequest",
    "golang.org/x/net/http2.(*clientStream).writeRequest",
];
const HTTP1: &str = "net/http.(*persistConn).roundTrip";

pub(super) fn hook(hooks: &mut Hooks<'_>, table: &Table<'_>, text: u64) -> Result<(), ImageError> {
    let [http1] = table.find([HTTP1])?;
    let mut add = |function, names: &'static str, entries: &[Entry]| match entries {
        &[entry] => hook_entry(hooks, text, entry, function, names),
        _ => Ok(()),
    };
    add(Function::GoHttp1Asks, HTTP1, &http1)?;
    let writes = table.find(WRITES)?;
    for ((names, write), writes) in ASKS.into_iter().zip(WRITES).zip(&writes) {
        if writes.is_empty() {
            continue;
        }
        let found = table.find(names)?;
        let asks = names.into_iter().zip(&found).find(|(_, f)| !f.is_empty());
        if let Some((name, asks)) = asks {
            add(Function::GoHttp2Asks, name, asks)?;
            add(Function::GoHttp2Writes, write, writes)?;
        }
    }
    Ok(())
}
