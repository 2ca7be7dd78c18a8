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

fn examine(_: &Image<'_>, symbols: &Symbols) -> Result<Option<Finding>, ImageError> {
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
    Ok(None)
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

    #[test]
    fn what_cannot_be_seen_is_named() {
        for (symbol, name) in [(JVM, "java"), (BEAM, "erlang")] {
            let mut builder = Builder::new(Machine::X86_64);
            builder.function(symbol, b"\x55\xc3");
            let found = examine_bytes(&builder.build().as_slice()).unwrap();
            let Some(Finding::Unsupported(unsupported)) = found else {
                panic!("{found:?}")
            };
            assert_eq!(unsupported.library, name);
        }
    }
}
