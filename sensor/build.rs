//! Puts the kernel half, built before by `cargo xtask build`, into the binary.
//!
//! Without one the user half still builds, and says at start what to do.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=LLMTAP_EBPF_OBJECT");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let object = env::var_os("LLMTAP_EBPF_OBJECT").map_or_else(built_object, PathBuf::from);
    println!("cargo::rerun-if-changed={}", object.display());

    let bytes = fs::read(&object).unwrap_or_default();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    fs::write(out.join("llmtap-ebpf"), bytes).expect("OUT_DIR is writable");
}

/// Where `cargo xtask build` leaves it.
fn built_object() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../target"),
        PathBuf::from,
    );
    // An object knows the registers and the system calls of one architecture.
    let arch = env::var_os("CARGO_CFG_TARGET_ARCH").expect("set by cargo");
    target
        .join("llmtap-ebpf")
        .join(arch)
        .join("bpfel-unknown-none/ebpf/llmtap-ebpf")
}
