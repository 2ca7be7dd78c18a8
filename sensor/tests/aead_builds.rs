//! Where the libraries encrypt that rustls uses, in real programs without symbols, of both
//! architectures: each function is found, and nothing else is taken for one.
//!
//! `tests/support/fetch-builds.sh DIR` fetches the builds; `LLMTAP_BUILDS_DIR` names DIR.
//! The offsets were first told by hand, from disassembly and from probes on running programs.

use std::fs::File;
use std::path::{Path, PathBuf};

use llmtap::discover::{self, Exit, Finding, Function, HookPlan, SiteCost};

use Function::{AeadOpen, AeadOpenGather, AeadSeal, AeadSealScatter, RingOpen, RingSeal};

/// What is known of one build.
struct Build {
    /// Directory under `LLMTAP_BUILDS_DIR`, and the end of the file's path in it.
    directory: &'static str,
    file: &'static str,
    /// Offsets in the file.
    functions: &'static [(Function, u64)],
    /// Whether all of them take a probe where it is cheap.
    cheap: bool,
}

const RUSTLS: &[Build] = &[
    Build {
        directory: "wheels/uv-0.13.9-manylinux_2_17_x86_64",
        file: "scripts/uv",
        functions: &[
            (AeadSeal, 0x93_1e10),
            (AeadSealScatter, 0x217_fed0),
            (AeadOpen, 0x92_7230),
            // Behind a comparison.
            (AeadOpenGather, 0x218_0014),
        ],
        cheap: true,
    },
    Build {
        directory: "wheels/hf_xet-1.8.0-manylinux_2_17_x86_64",
        file: "hf_xet.abi3.so",
        functions: &[
            (AeadSeal, 0x74_4015),
            (AeadSealScatter, 0x74_4106),
            (AeadOpen, 0x74_42a7),
            (AeadOpenGather, 0x74_4204),
        ],
        cheap: true,
    },
    Build {
        directory: "wheels/uv-0.13.9-manylinux_2_17_aarch64",
        file: "scripts/uv",
        functions: &[
            (AeadSeal, 0x1a7_3100),
            (AeadSealScatter, 0x1a7_3260),
            (AeadOpen, 0x1a7_34b0),
            (AeadOpenGather, 0x1a7_33d0),
        ],
        cheap: false,
    },
    Build {
        directory: "wheels/hf_xet-1.8.0-manylinux_2_28_aarch64",
        file: "hf_xet.abi3.so",
        functions: &[
            (AeadSeal, 0x4e_2d44),
            (AeadSealScatter, 0x4e_2e68),
            (AeadOpen, 0x4e_3064),
            (AeadOpenGather, 0x4e_2fa4),
        ],
        cheap: false,
    },
];

const AGENTS: &[Build] = &[
    Build {
        directory: "npm/deno/linux-x64-glibc-2.9.6",
        file: "deno",
        functions: &[
            (AeadSeal, 0x584_02b9),
            (AeadSealScatter, 0x584_03bd),
            (AeadOpen, 0x584_04cc),
            (AeadOpenGather, 0x584_061e),
        ],
        cheap: true,
    },
    Build {
        directory: "npm/deno/linux-arm64-glibc-2.9.5",
        file: "deno",
        functions: &[
            (AeadSeal, 0x4e2_44a8),
            (AeadSealScatter, 0x4e2_4594),
            (AeadOpen, 0x4e2_4690),
            (AeadOpenGather, 0x4e2_47b4),
        ],
        cheap: false,
    },
    Build {
        directory: "npm/openai/codex-0.169.0-linux-x64",
        file: "bin/codex",
        functions: &[
            (AeadSeal, 0x1125_ead0),
            (AeadSealScatter, 0x1125_ebf0),
            (AeadOpen, 0x1125_ed10),
            (AeadOpenGather, 0x1125_eed0),
            (RingSeal, 0x100d_b0e0),
            (RingOpen, 0x100d_b0a0),
            (RingSeal, 0x100d_b830),
            (RingOpen, 0x100d_b210),
        ],
        cheap: true,
    },
    Build {
        directory: "npm/openai/codex-0.169.0-linux-arm64",
        file: "bin/codex",
        functions: &[
            (AeadSeal, 0xd63_8d4c),
            (AeadSealScatter, 0xd63_8e88),
            (AeadOpen, 0xd63_8fc4),
            (AeadOpenGather, 0xd63_918c),
            // Behind what saves registers.
            (RingSeal, 0xc69_a514),
            (RingOpen, 0xc69_a4dc),
            (RingSeal, 0xc69_a7ac),
            (RingOpen, 0xc69_a670),
        ],
        cheap: false,
    },
];

fn root() -> PathBuf {
    std::env::var_os("LLMTAP_BUILDS_DIR")
        .map(PathBuf::from)
        .expect("LLMTAP_BUILDS_DIR is not set")
}

/// The file below `directory` whose path ends so.
fn find(directory: &Path, end: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let (folders, files): (Vec<_>, Vec<_>) = entries
        .map(|entry| entry.path())
        .partition(|path| path.is_dir());
    let file = files.into_iter().find(|path| path.ends_with(end));
    file.or_else(|| folders.iter().find_map(|folder| find(folder, end)))
}

fn plan(build: &Build) -> HookPlan {
    let directory = root().join(build.directory);
    let path = find(&directory, build.file)
        .unwrap_or_else(|| panic!("{} holds no {}", directory.display(), build.file));
    match discover::examine(&File::open(&path).unwrap()) {
        Ok(Some(Finding::Hooks(plan))) => plan,
        other => panic!("{}: {other:?}", path.display()),
    }
}

fn check(builds: &[Build]) {
    for build in builds {
        let plan = plan(build);
        let context = format!("{}: {plan:#?}", build.directory);
        assert_eq!(plan.library, "rustls", "{context}");
        let hooks = plan.hooks.iter();
        let found: Vec<_> = hooks.map(|h| (h.function, h.entry.offset)).collect();
        assert_eq!(found, build.functions, "{context}");
        for hook in &plan.hooks {
            let opens = matches!(hook.function, AeadOpen | AeadOpenGather | RingOpen);
            // Nothing but a return probe at the entry sees all that a record needs.
            assert_eq!(hook.exit, opens.then_some(Exit::Return), "{context}");
            let cheap = hook.entry.cost == SiteCost::Emulated;
            assert!(cheap || !build.cheap, "{context}");
        }
    }
}

#[test]
#[ignore = "needs downloaded builds"]
fn rustls() {
    check(RUSTLS);
}

#[test]
#[ignore = "needs downloaded builds"]
fn agents() {
    check(AGENTS);
}

/// gRPC for aarch64 carries BoringSSL without symbols, whose SSL_read is told all the same.
#[test]
#[ignore = "needs downloaded builds"]
fn rustls_is_not_all_that_is_stripped() {
    let plan = plan(&Build {
        directory: "wheels/grpcio-1.85.1-manylinux2014_aarch64",
        file: "cygrpc.cpython-311-aarch64-linux-gnu.so",
        functions: &[],
        cheap: false,
    });
    assert_eq!(plan.library, "boringssl");
    let hooks = plan.hooks.iter();
    let found: Vec<_> = hooks.map(|h| (h.function, h.entry.offset)).collect();
    assert_eq!(
        found,
        [(Function::Read, 0xae_b250), (Function::Write, 0xae_96c0)]
    );
}
