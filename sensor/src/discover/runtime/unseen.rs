//! TLS that is known to be there and that no hook is known for, so that it is said.

use super::super::image::{Image, ImageError};
use super::super::plan::{Finding, Unsupported};
use super::super::symbols::Symbols;
use super::Runtime;

pub const RUNTIME: Runtime = Runtime {
    symbols: &[JVM, BEAM],
    examine,
};

const JVM: &str = "JNI_CreateJavaVM";
/// Of the machine that Erlang and Elixir run on.
const BEAM: &str = "enif_make_atom";

/// Constants that only an image with the library has, in two parts, so that this program
/// itself does not hold them. The first that is found counts.
const MARKS: &[([&[u8]; 2], &str, &str)] = &[(
    [b"/ssl/ssl_lib", b".c\0"],
    "openssl",
    "OpenSSL is linked in without its symbols",
)];

fn examine(image: &Image<'_>, symbols: &Symbols) -> Result<Option<Finding>, ImageError> {
    if symbols.has(JVM) {
        return Ok(Some(unsupported(
            "java",
            "JSSE has no native point to hook, its TLS is Java code: seen are calls by way of \
             netty-tcnative, and those that go in plain to a gateway on this host",
        )));
    }
    if symbols.has(BEAM) {
        return Ok(Some(unsupported(
            "erlang",
            "TLS of Erlang and Elixir is code of theirs, which has no native function to hook",
        )));
    }
    let needles: Vec<Vec<u8>> = MARKS.iter().map(|(mark, ..)| mark.concat()).collect();
    let needles: Vec<&[u8]> = needles.iter().map(Vec::as_slice).collect();
    let mut first = None;
    image.find_constants(&needles, |mark, _| {
        first = Some(first.map_or(mark, |known: usize| known.min(mark)));
    })?;
    let found = first.and_then(|mark| MARKS.get(mark));
    Ok(found.map(|(_, library, reason)| unsupported(library, reason)))
}

fn unsupported(library: &'static str, reason: &'static str) -> Finding {
    Finding::Unsupported(Unsupported {
        library: library.into(),
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::examine_bytes;
    use super::super::super::image::Machine;
    use super::super::super::synthetic::Builder;
    use super::*;

    fn library(builder: Builder) -> Option<String> {
        match examine_bytes(&builder.build().as_slice()).unwrap() {
            Some(Finding::Unsupported(unsupported)) => Some(unsupported.library.into_owned()),
            Some(Finding::Hooks(plan)) => panic!("{plan:?}"),
            None => None,
        }
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        let with = |constant: &[u8]| {
            let mut builder = Builder::new(Machine::Aarch64);
            builder.constant(constant);
            library(builder)
        };
        let rustls = with(b"/index/rustls-0.23.46/src/conn.rs../ssl/ssl_lib.c\0");
        assert_eq!(rustls.as_deref(), Some("rustls"));
        assert_eq!(with(b"../ssl/ssl_lib.c\0").as_deref(), Some("openssl"));
        assert_eq!(with(b"nothing of that kind"), None);

        for (symbol, name) in [(JVM, "java"), (BEAM, "erlang")] {
            let mut builder = Builder::new(Machine::X86_64);
            builder.function(symbol, b"\x55\xc3");
            assert_eq!(library(builder).as_deref(), Some(name));
        }
    }
}
