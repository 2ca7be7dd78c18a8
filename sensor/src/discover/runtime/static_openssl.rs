//! Programs that carry OpenSSL 3 or newer without its symbols: Pythons that are linked
//! statically, and what has an OpenSSL of its own built in.
//!
//! Each error in OpenSSL is put down with the name of the function that it happened in
//! (`ERR_set_debug`). So the names stand in the image, and the function is the code that
//! refers to its own. In each direction it is the internal function that all spellings
//! call, or these themselves where a compiler made it a part of them. Where functions begin
//! must be told by the table for unwinding: not all of these are called directly.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::image::{Image, ImageError};
use super::super::plan::{Finding, FoundBy, Function, Unsupported};
use super::super::reference::{self, Reference};
use super::super::symbols::Symbols;
use super::super::unwind::Unwind;
use super::{Hooks, Runtime, openssl};

pub const RUNTIME: Runtime = Runtime {
    symbols: &[],
    examine,
};

/// Which argument of a report of an error the function's name is.
const NAME_ARGUMENT: usize = 2;
/// Most code of one function that is read.
const MAX_FUNCTION: u64 = 0x800;

/// How the name of the source file ends, and the functions' names; each in two parts, so
/// that this program itself does not hold them.
const MARKS: [[&[u8]; 2]; 5] = [
    [b"ssl/ssl_", b"lib.c\0"],
    [b"\0ssl_read_", b"internal\0"],
    [b"\0SSL_", b"read\0"],
    [b"\0ssl_write_", b"internal\0"],
    [b"\0SSL_", b"write\0"],
];

/// From the first byte of a function to the first behind it.
type Extent = Range<u64>;

/// The address of each mark's first place, less the zero byte before a function's name.
type Places = [Option<u64>; MARKS.len()];

fn examine(image: &Image<'_>, _: &Symbols) -> Result<Option<Finding>, ImageError> {
    let [file, read_internal, read, write_internal, write] = places(image)?;
    let names = read_internal.zip(write_internal);
    if file.is_none() && names.is_none() {
        return Ok(None);
    }
    let version = openssl::version_of(image)?;
    let Some((read_internal, write_internal)) = names else {
        return Ok(Some(unsupported()));
    };
    let Some(flags) = version.as_deref().and_then(has_flags) else {
        return Ok(Some(unsupported()));
    };
    let reads = failing(image, read_internal, read)?;
    let reads = told(reads, Function::Read, |_| Ok(Function::ReadEx))?;
    let writes = failing(image, write_internal, write)?;
    let writes = told(writes, Function::Write, |extent| {
        writing(image, extent, flags)
    })?;
    let (Some(reads), Some(writes)) = (reads, writes) else {
        return Ok(Some(unsupported()));
    };
    let mut hooks = Hooks::new(image);
    for (function, extent) in reads.into_iter().chain(writes) {
        let what = "by the name in its errors";
        hooks.place(function, &extent, MAX_FUNCTION, what)?;
    }
    let plan = hooks.into_plan("openssl", version, FoundBy::Pattern);
    Ok(Some(Finding::Hooks(plan)))
}

fn places(image: &Image<'_>) -> Result<Places, ImageError> {
    let needles = MARKS.map(|mark| mark.concat());
    let needles = needles.each_ref().map(Vec::as_slice);
    let mut places = Places::default();
    image.find_constants(&needles, |mark, at| {
        if let Some(place) = places.get_mut(mark) {
            let behind_zero = at.saturating_add(u64::from(mark > 0));
            *place = place.or_else(|| image.address_of(behind_zero));
        }
    })?;
    Ok(places)
}

/// The functions that put down errors under the internal name, and whether they do so
/// under the public one, too.
fn failing(
    image: &Image<'_>,
    internal: u64,
    public: Option<u64>,
) -> Result<BTreeMap<(u64, u64), bool>, ImageError> {
    let named = |name| -> Result<Vec<Reference>, ImageError> {
        let all = reference::references(image, name)?.into_iter();
        Ok(all.filter(|r| r.argument == NAME_ARGUMENT).collect())
    };
    let of_internal = named(internal)?;
    let of_public = public.map(named).transpose()?.unwrap_or_default();
    let mut functions = BTreeMap::new();
    let Some(unwind) = Unwind::open(image)? else {
        return Ok(functions);
    };
    for reference in of_internal {
        if let Some(extent) = unwind.around(reference.address)? {
            functions.insert((extent.start, extent.end), false);
        }
    }
    for reference in of_public {
        let extent = unwind.around(reference.address)?;
        let known = extent.and_then(|e| functions.get_mut(&(e.start, e.end)));
        if let Some(is_public) = known {
            *is_public = true;
        }
    }
    Ok(functions)
}

/// What the functions are that put down errors, if there are no more than such spellings and
/// an internal one. `other`: what one is that is not the public one.
fn told(
    functions: BTreeMap<(u64, u64), bool>,
    public: Function,
    other: impl Fn(Extent) -> Result<Function, ImageError>,
) -> Result<Option<Vec<(Function, Extent)>>, ImageError> {
    const MOST_OTHERS: usize = 3;
    let publics = functions.values().filter(|is_public| **is_public).count();
    let others = functions.len().saturating_sub(publics);
    if functions.is_empty() || publics > 1 || others > MOST_OTHERS {
        return Ok(None);
    }
    let all = functions.into_iter().map(|((start, end), is_public)| {
        let function = if is_public {
            public
        } else {
            other(start..end)?
        };
        Ok((function, start..end))
    });
    all.collect::<Result<_, _>>().map(Some)
}

/// `flags`: whether this version has functions that take them before the count.
fn writing(image: &Image<'_>, extent: Extent, flags: bool) -> Result<Function, ImageError> {
    const COUNT_BEHIND_FLAGS: usize = 4;
    Ok(
        match flags && reference::takes(image, extent, COUNT_BEHIND_FLAGS)? {
            true => Function::WriteEx2,
            false => Function::WriteEx,
        },
    )
}

/// Since 3.3. `None`: not of the versions whose functions are known.
fn has_flags(version: &str) -> Option<bool> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (major >= 3).then_some((major, minor) >= (3, 3))
}

fn unsupported() -> Finding {
    Finding::Unsupported(Unsupported {
        library: "openssl".into(),
        reason: "OpenSSL is linked in without its symbols, and the functions that move its \
                 plaintext cannot be told from others"
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::examine_bytes;
    use super::super::super::image::Machine;
    use super::super::super::synthetic::{BASE, Builder};
    use super::*;

    const FILE: &str = "ssl/ssl_lib.c";
    const READ: &str = "ssl_read_internal";
    const WRITE: &str = "ssl_write_internal";

    /// `mov r15, r8`, of a function with five arguments; `mov r8, rcx`
    const FIVE: &[u8] = b"\x4d\x89\xc7";
    const FOUR: &[u8] = b"\x49\x89\xc8";

    /// How a function begins, and under which names it puts down errors.
    type Sample = (&'static [u8], &'static [&'static str]);

    /// A program of OpenSSL `version` with these functions, and where they begin.
    fn program(version: &str, functions: &[Sample]) -> (Vec<u8>, Vec<u64>) {
        let mut builder = Builder::new(Machine::X86_64);
        let mut text = String::new();
        for name in [FILE, READ, WRITE, "SSL_read", "SSL_write", version] {
            text += &format!("\0{name}");
        }
        text += "\0";
        let names = builder.constants_here(text.as_bytes());
        let name = |wanted: &str| names + text.find(&format!("\0{wanted}\0")).unwrap() as u64 + 1;
        let mut all = Vec::new();
        for (begins, errors) in functions {
            let address = builder.next_address();
            let mut code = [b"\x55", *begins].concat();
            let mut relative = |opcode: &[u8], target: u64| {
                code.extend_from_slice(opcode);
                let next = address + code.len() as u64 + 4;
                code.extend_from_slice(&(target.wrapping_sub(next) as u32).to_le_bytes());
            };
            for error in *errors {
                // mov esi, 1900; lea rdx, [rip+name]; lea rdi, [rip+file]; call …
                relative(b"\xbe\x6c\x07\0\0\x48\x8d\x15", name(error));
                relative(b"\x48\x8d\x3d", name(FILE));
                relative(b"\xe8", names);
            }
            code.push(0xc3);
            all.push((builder.place(&code), code.len() as u32));
        }
        let table = builder.unwinding(&all, false);
        builder.unwind_table(&table);
        let starts = all.iter().map(|(start, _)| *start).collect();
        (builder.build(), starts)
    }

    /// The version, and the hooked functions.
    type Told = (Option<Box<str>>, Vec<(Function, u64)>);

    /// `None`: it was said that it is not seen.
    fn found(bytes: &[u8]) -> Option<Told> {
        match examine_bytes(&bytes) {
            Ok(Some(Finding::Hooks(plan))) => {
                assert_eq!(plan.library, "openssl");
                let hooks = plan.hooks.iter();
                let places = hooks.map(|h| (h.function, h.entry.offset + BASE));
                Some((plan.version.clone(), places.collect()))
            }
            Ok(Some(Finding::Unsupported(unsupported))) => {
                assert_eq!(unsupported.library, "openssl");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    fn usual(version: &str) -> (Vec<u8>, Vec<u64>) {
        program(
            version,
            &[
                (FOUR, &["SSL_read"]),
                (FOUR, &[READ]),
                (FOUR, &["SSL_write"]),
                (FIVE, &[WRITE, WRITE]),
            ],
        )
    }

    #[test]
    fn the_names_in_their_errors_tell_the_functions() {
        for (version, write) in [
            ("3.0.19", Function::WriteEx),
            ("3.2.6", Function::WriteEx),
            ("3.3.0", Function::WriteEx2),
            ("4.0.3", Function::WriteEx2),
        ] {
            let (bytes, starts) = usual(&format!("OpenSSL {version} 1 Jan 2026"));
            let (told, hooks) = found(&bytes).unwrap();
            assert_eq!(told.as_deref(), Some(version));
            assert_eq!(hooks, [(Function::ReadEx, starts[1]), (write, starts[3])]);
        }
    }

    /// As GCC does it: a copy in each of the public ones, and one for itself.
    #[test]
    fn a_function_that_became_part_of_the_public_ones() {
        let functions: &[Sample] = &[
            (FOUR, &[READ]),
            (FOUR, &["SSL_read", READ]),
            (FOUR, &[READ]),
            (FIVE, &[WRITE]),
            (FOUR, &["SSL_write", WRITE]),
            (FOUR, &[WRITE]),
            (FIVE, &[WRITE]),
        ];
        for (version, newest) in [("3.0.19", Function::WriteEx), ("3.5.1", Function::WriteEx2)] {
            let (bytes, starts) = program(&format!("OpenSSL {version} 1 Jan 2026"), functions);
            let expected = [
                Function::ReadEx,
                Function::Read,
                Function::ReadEx,
                newest,
                Function::Write,
                Function::WriteEx,
                newest,
            ];
            let expected: Vec<_> = expected.into_iter().zip(starts).collect();
            assert_eq!(found(&bytes).unwrap().1, expected);
        }
    }

    #[test]
    fn what_is_not_sure_is_not_hooked() {
        for version in ["OpenSSL 1.1.1w 1 Jan 2026", "of nobody"] {
            assert_eq!(found(&usual(version).0), None);
        }
        const VERSION: &str = "OpenSSL 3.0.19 x";
        let twice: &[Sample] = &[
            (FOUR, &["SSL_read", READ]),
            (FOUR, &["SSL_read", READ]),
            (FOUR, &[WRITE]),
        ];
        assert_eq!(found(&program(VERSION, twice).0), None);
        let half: &[Sample] = &[(FOUR, &[READ]), (FOUR, &["SSL_write"])];
        assert_eq!(found(&program(VERSION, half).0), None);
        // Without the table for unwinding nobody knows where functions begin.
        let (mut bytes, _) = usual(VERSION);
        let table = memchr::memmem::find(&bytes, b".eh_frame_hdr").unwrap();
        bytes[table] = b'-';
        assert_eq!(found(&bytes), None);
    }
}
