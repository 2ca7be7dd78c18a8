//! The fuzzer: libFuzzer calls the target that `LLMTAP_FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use llmtap_fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("LLMTAP_FUZZ_TARGET").unwrap_or_default();
    llmtap_fuzz::find(&name).expect("LLMTAP_FUZZ_TARGET names a target")
});

fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
