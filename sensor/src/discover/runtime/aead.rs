//! AWS-LC and BoringSSL, and how their encryption of records is found in a program without
//! symbols.
//!
//! Each error is put down with its reason, the name of the source file and the line. The
//! reasons that a function of `aead.c` can fail with tell which one it is, in every build
//! and for every processor: above the assembly that does the work.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::image::{Image, ImageError};
use super::super::plan::Function;
use super::super::reference::{self, Extents};
use super::Hooks;

/// How the name of the file ends; what is before it varies, or was cut by the build.
pub const AWS_LC: &[u8] = b"/aws-lc/crypto/fipsmodule/cipher/aead.c\0";
pub const BORINGSSL_C: &[u8] = b"/crypto/fipsmodule/cipher/aead.c\0";
pub const BORINGSSL_CC: &[u8] = b"/crypto/fipsmodule/cipher/aead.cc.inc\0";

/// Copies of the library in one image that are looked at.
const MAX_COPIES: usize = 4;
/// Most code of one function that is read.
const MAX_FUNCTION: u64 = 0x1000;
/// Which argument of a report of an error the file's name is.
const FILE_ARGUMENT: usize = 3;

/// Reasons of errors, as `openssl/cipher.h` numbers them.
mod reason {
    pub const BAD_DECRYPT: u32 = 101;
    pub const BUFFER_TOO_SMALL: u32 = 103;
    pub const CTRL_NOT_IMPLEMENTED: u32 = 104;
    pub const INVALID_OPERATION: u32 = 112;
    pub const OUTPUT_ALIASES_INPUT: u32 = 115;
    pub const TOO_LARGE: u32 = 117;
}

/// From the first byte of a function to the first behind it.
type Extent = Range<u64>;

/// Hooks each copy of the library, of which a source file's name ends like one of `files`,
/// if both directions were found in it; whether there is such a copy.
pub fn hook(hooks: &mut Hooks<'_>, files: &[&[u8]]) -> Result<bool, ImageError> {
    let mut places = Vec::new();
    hooks.image.find_constants(files, |_, at| {
        if places.len() < MAX_COPIES {
            places.push(at);
        }
    })?;
    hook_at(hooks, &places)
}

/// The same, where the names' places in the image are known.
pub fn hook_at(hooks: &mut Hooks<'_>, places: &[u64]) -> Result<bool, ImageError> {
    let mut any = false;
    for &tail in places.iter().take(MAX_COPIES) {
        let Some(name) = hooks.image.beginning_of_text(tail)? else {
            continue;
        };
        let functions = failing(hooks.image, name)?;
        let found = identify(&functions);
        let has = |wanted| found.iter().any(|(function, _)| *function == wanted);
        if !has(Function::AeadOpen) || !(has(Function::AeadSeal) || has(Function::AeadSealScatter))
        {
            hooks.note("the functions that encrypt records cannot be told apart".into());
            continue;
        }
        for (function, extent) in found {
            any |= place(hooks, function, extent)?;
        }
    }
    Ok(any)
}

/// Functions that put down errors with this name of a file, and their reasons.
fn failing(
    image: &Image<'_>,
    name: u64,
) -> Result<BTreeMap<(u64, u64), BTreeSet<u32>>, ImageError> {
    let references = reference::references(image, name)?;
    let extents = Extents::near(image, &references)?;
    let mut functions: BTreeMap<(u64, u64), BTreeSet<u32>> = BTreeMap::new();
    for reference in references {
        let Some(extent) = extents.around(reference.address)? else {
            continue;
        };
        let arguments = reference::arguments(image, reference)?;
        let reason = arguments.get(FILE_ARGUMENT.saturating_sub(1)).copied();
        if let Some(reason) = reason.flatten()
            && reference.argument == FILE_ARGUMENT
        {
            let reasons = functions.entry((extent.start, extent.end)).or_default();
            reasons.insert(reason);
        }
    }
    Ok(functions)
}

/// Which function is which; one that two could be is none.
fn identify(functions: &BTreeMap<(u64, u64), BTreeSet<u32>>) -> Vec<(Function, Extent)> {
    use reason::{
        BAD_DECRYPT, BUFFER_TOO_SMALL, CTRL_NOT_IMPLEMENTED, INVALID_OPERATION,
        OUTPUT_ALIASES_INPUT, TOO_LARGE,
    };
    let open = [BAD_DECRYPT, BUFFER_TOO_SMALL, OUTPUT_ALIASES_INPUT];
    // The gathering form may have become a part of it.
    let whole_open = [
        BAD_DECRYPT,
        BUFFER_TOO_SMALL,
        CTRL_NOT_IMPLEMENTED,
        OUTPUT_ALIASES_INPUT,
    ];
    let wanted: [(Function, &[&[u32]]); 4] = [
        (
            Function::AeadSeal,
            &[&[BUFFER_TOO_SMALL, OUTPUT_ALIASES_INPUT, TOO_LARGE]],
        ),
        (
            Function::AeadSealScatter,
            &[&[INVALID_OPERATION, OUTPUT_ALIASES_INPUT]],
        ),
        (Function::AeadOpen, &[&open, &whole_open]),
        (
            Function::AeadOpenGather,
            &[&[CTRL_NOT_IMPLEMENTED, OUTPUT_ALIASES_INPUT]],
        ),
    ];
    let only = |shapes: &[&[u32]]| {
        let fits = |reasons: &BTreeSet<u32>| shapes.iter().any(|s| reasons.iter().eq(s.iter()));
        let mut all = functions.iter().filter(|(_, reasons)| fits(reasons));
        let (&(start, end), _) = all.next()?;
        all.next().is_none().then_some(start..end)
    };
    wanted
        .into_iter()
        .filter_map(|(function, shapes)| Some((function, only(shapes)?)))
        .collect()
}

/// Puts a hook on a function that was found; whether it takes one.
fn place(hooks: &mut Hooks<'_>, function: Function, extent: Extent) -> Result<bool, ImageError> {
    let what = match function {
        Function::AeadSeal => "EVP_AEAD_CTX_seal",
        Function::AeadSealScatter => "EVP_AEAD_CTX_seal_scatter",
        Function::AeadOpen => "EVP_AEAD_CTX_open",
        _ => "EVP_AEAD_CTX_open_gather",
    };
    let what = format!("{what}, by the reasons of its errors");
    hooks.place(function, &extent, MAX_FUNCTION, &what)
}

#[cfg(test)]
mod tests {
    use super::super::super::examine_bytes;
    use super::super::super::image::Machine;
    use super::super::super::plan::{Finding, HookPlan};
    use super::super::super::synthetic::{BASE, Builder};
    use super::*;

    /// How the reason of an error gets into its register.
    #[derive(Clone, Copy)]
    enum Spelling {
        /// `mov edx, reason`
        Plain,
        /// `push reason; pop rdx`
        Short,
    }

    struct Program {
        builder: Builder,
        name: u64,
        spelling: Spelling,
    }

    impl Program {
        fn new(name: &[u8], spelling: Spelling) -> Self {
            let mut builder = Builder::new(Machine::X86_64);
            let name = builder.constants_here(name) + 1;
            builder.place(&[0x55, 0xc3]);
            Self {
                builder,
                name,
                spelling,
            }
        }

        /// A function that fails with these reasons; called from behind it.
        fn function(&mut self, reasons: &[u8]) -> u64 {
            let address = self.builder.next_address();
            let mut code = vec![0x55];
            for &reason in reasons {
                match self.spelling {
                    Spelling::Plain => code.extend([0xba, reason, 0, 0, 0]),
                    Spelling::Short => code.extend([0x6a, reason, 0x5a]),
                }
                code.extend(b"\x48\x8d\x0d");
                let next = address + code.len() as u64 + 4;
                code.extend((self.name.wrapping_sub(next) as u32).to_le_bytes());
                code.push(0xe8);
                code.extend((BASE.wrapping_sub(next + 5) as u32).to_le_bytes());
            }
            code.extend([0x5d, 0xc3]);
            self.builder.place(&code)
        }

        /// Code that calls these functions and one more behind them.
        fn call(&mut self, targets: &[u64]) {
            let end = self.builder.place(&[0x55, 0xc3]);
            let mut at = self.builder.next_address();
            let mut code = vec![];
            for target in targets.iter().chain([&end]) {
                at += 5;
                code.push(0xe8);
                code.extend((target.wrapping_sub(at) as u32).to_le_bytes());
            }
            self.builder.place(&code);
        }

        fn plan(self) -> Option<HookPlan> {
            match examine_bytes(&self.builder.build().as_slice()).unwrap() {
                Some(Finding::Hooks(plan)) => Some(plan),
                _ => None,
            }
        }
    }

    const SEAL: &[u8] = &[117, 103, 115];
    const SCATTER: &[u8] = &[115, 112];
    const OPEN: &[u8] = &[115, 101, 103];
    const GATHER: &[u8] = &[115, 104];
    const AWS_LC: &[u8] = b"\0/aws-lc/crypto/fipsmodule/cipher/aead.c\0";

    fn found(plan: &HookPlan) -> Vec<(Function, u64)> {
        let hooks = plan.hooks.iter();
        hooks.map(|h| (h.function, h.entry.offset + BASE)).collect()
    }

    #[test]
    fn the_reasons_of_their_errors_tell_the_functions() {
        for spelling in [Spelling::Plain, Spelling::Short] {
            let mut program = Program::new(AWS_LC, spelling);
            let init = program.function(&[124]);
            let open = program.function(OPEN);
            let seal = program.function(SEAL);
            let gather = program.function(GATHER);
            let scatter = program.function(SCATTER);
            program.call(&[init, open, seal, gather, scatter]);
            let plan = program.plan().expect("hooks");
            assert_eq!(plan.library, "rustls");
            assert_eq!(
                found(&plan),
                [
                    (Function::AeadSeal, seal),
                    (Function::AeadSealScatter, scatter),
                    (Function::AeadOpen, open),
                    (Function::AeadOpenGather, gather),
                ]
            );
        }
    }

    #[test]
    fn a_form_may_be_part_of_another_or_missing() {
        let mut program = Program::new(AWS_LC, Spelling::Plain);
        let open = program.function(&[115, 101, 103, 115, 104]);
        let seal = program.function(SEAL);
        program.call(&[open, seal]);
        let plan = program.plan().expect("hooks");
        assert_eq!(
            found(&plan),
            [(Function::AeadSeal, seal), (Function::AeadOpen, open)]
        );
    }

    #[test]
    fn what_could_be_two_functions_is_not_hooked() {
        let mut program = Program::new(AWS_LC, Spelling::Plain);
        let all = [OPEN, OPEN, SEAL].map(|reasons| program.function(reasons));
        program.call(&all);
        assert_eq!(program.plan(), None);
    }

    #[test]
    fn boringssl_is_hooked_there_where_ssl_read_cannot_be_told() {
        let names = b"\0/boringssl/crypto/fipsmodule/cipher/aead.cc.inc\0/ssl/ssl_lib.cc\0";
        let mut program = Program::new(names, Spelling::Plain);
        let open = program.function(OPEN);
        let seal = program.function(SEAL);
        // Errors of the other file, which tell nothing.
        program.name += names.len() as u64 - b"/ssl/ssl_lib.cc\0".len() as u64 - 1;
        let others = [1_u8, 2, 3, 4, 5, 6, 7, 8].map(|reason| program.function(&[reason]));
        program.call(&others);
        program.call(&[open, seal]);
        let plan = program.plan().expect("hooks");
        assert_eq!(plan.library, "boringssl");
        assert_eq!(
            found(&plan),
            [(Function::AeadSeal, seal), (Function::AeadOpen, open)]
        );
    }
}
