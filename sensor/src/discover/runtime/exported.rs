//! Libraries that export functions of the same shape as OpenSSL's: (connection, buffer,
//! size) with the count as result.

use super::super::image::{Image, ImageError};
use super::super::plan::{Finding, FoundBy, Function};
use super::super::symbols::{self, Symbols};
use super::{Hooks, Runtime, silent};

pub const RUNTIME: Runtime = Runtime {
    symbols: &[
        "gnutls_record_recv",
        "gnutls_record_send",
        "gnutls_record_send2",
        "gnutls_deinit",
        "PR_Read",
        "PR_Recv",
        "PR_Write",
        "PR_Send",
        "PR_Close",
        "wolfSSL_read",
        "wolfSSL_write",
        "wolfSSL_free",
        "mbedtls_ssl_read",
        "mbedtls_ssl_write",
        "mbedtls_ssl_free",
    ],
    examine,
};

struct Library {
    name: &'static str,
    /// The first is there in every version.
    functions: &'static [(&'static str, Function)],
}

const LIBRARIES: &[Library] = &[
    Library {
        name: "gnutls",
        functions: &[
            ("gnutls_record_send", Function::Write),
            ("gnutls_record_send2", Function::Write),
            ("gnutls_record_recv", Function::Read),
            ("gnutls_deinit", Function::Free),
        ],
    },
    // Users of NSS go through NSPR, which carries plain sockets and files as well.
    Library {
        name: "nss",
        functions: &[
            ("PR_Send", Function::Write),
            ("PR_Write", Function::Write),
            ("PR_Recv", Function::Recv),
            ("PR_Read", Function::Read),
            ("PR_Close", Function::Free),
        ],
    },
    Library {
        name: "wolfssl",
        functions: &[
            ("wolfSSL_write", Function::Write),
            ("wolfSSL_read", Function::Read),
            ("wolfSSL_free", Function::Free),
        ],
    },
    Library {
        name: "mbedtls",
        functions: &[
            ("mbedtls_ssl_write", Function::Write),
            ("mbedtls_ssl_read", Function::Read),
            ("mbedtls_ssl_free", Function::Free),
        ],
    },
];

fn examine(image: &Image<'_>, found: &Symbols) -> Result<Option<Finding>, ImageError> {
    let first = |library: &&Library| library.functions.first().is_some_and(|f| found.has(f.0));
    let Some(library) = LIBRARIES.iter().find(first) else {
        return Ok(None);
    };
    let mut hooks = Hooks::new(image);
    for &(name, function) in library.functions {
        for symbol in found.all(name) {
            let bytes = symbol.code(image)?;
            let code = symbol.as_code(image, &bytes);
            let others = library.functions.iter().filter(|(other, _)| *other != name);
            let others: Vec<u64> = others
                .flat_map(|(other, _)| found.all(other))
                .map(|s| s.address)
                .collect();
            // What leads to another of them is seen there.
            if symbols::leads_to(image, &code, &others)? {
                continue;
            }
            let wanted = function.wanted();
            match code.cheap(wanted).or_else(|| code.at_entry(wanted)) {
                Some(place) => hooks.add(function, &place, name),
                None => hooks.note(silent(name)),
            }
        }
    }
    Ok(Some(Finding::Hooks(hooks.into_plan(
        library.name,
        None,
        FoundBy::Symbol,
    ))))
}

#[cfg(test)]
mod tests {
    use super::super::super::examine_bytes;
    use super::super::super::image::Machine;
    use super::super::super::synthetic::{BASE, Builder};
    use super::*;

    #[test]
    fn a_function_that_leads_to_another_is_not_hooked_twice() {
        let mut builder = Builder::new(Machine::X86_64);
        let send2 = builder.function("gnutls_record_send2", b"\x55\xc3");
        let slot = builder.place(&[0; 8]);
        builder.link(slot, "gnutls_record_send2");
        let mut jump = b"\xff\x25".to_vec();
        jump.extend_from_slice(
            &(slot.wrapping_sub(builder.next_address() + 6) as u32).to_le_bytes(),
        );
        let stub = builder.place(&jump);
        let mut send = b"\x31\xc9\xe9".to_vec();
        send.extend_from_slice(
            &(stub.wrapping_sub(builder.next_address() + 7) as u32).to_le_bytes(),
        );
        builder.function("gnutls_record_send", &send);
        builder.function("gnutls_record_recv", b"\x55\xc3");
        let found = examine_bytes(&builder.build().as_slice()).unwrap();
        let Some(Finding::Hooks(plan)) = found else {
            panic!("{found:?}")
        };
        assert_eq!(plan.library, "gnutls");
        let writes: Vec<_> = plan
            .hooks
            .iter()
            .filter(|h| h.function == Function::Write)
            .collect();
        assert_eq!(writes.len(), 1, "{plan:#?}");
        assert_eq!(writes[0].entry.offset, send2 - BASE);
        assert_eq!(plan.hooks.len(), 2);
    }
}
