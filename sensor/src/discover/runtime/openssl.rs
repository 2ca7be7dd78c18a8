//! Any image with OpenSSL's interface: libssl from 1.0.2 on under whatever file name,
//! programs and modules that carry it themselves, BoringSSL and aws-lc with symbols.
//!
//! The public functions often begin with an instruction that is slow to probe. From
//! 1.1.1 on all spellings of a direction call one internal function, and that calls
//! one entry of the method table; each sees the same arguments, so the cheapest of the
//! three is taken, for the whole direction.

use super::super::image::{Image, ImageError};
use super::super::plan::{Finding, FoundBy, Function, SiteCost};
use super::super::site::{Code, Placement};
use super::super::symbols::{self, Symbols};
use super::{Hooks, Runtime, silent};

pub const RUNTIME: Runtime = Runtime {
    symbols: SYMBOLS,
    examine,
};

const SYMBOLS: &[&str] = &[
    "SSL_read",
    "SSL_read_ex",
    "SSL_write",
    "SSL_write_ex",
    NEWEST,
    "SSL_free",
    "SSL_set_fd",
    "SSL_set_rfd",
    "SSL_set_wfd",
    "SSL_set_bio",
    "SSL_ctrl",
    "SSL_sendfile",
    "TLS_client_method",
    "TLS_method",
    SINCE_3_2,
];
/// Exported since 3.3.
const NEWEST: &str = "SSL_write_ex2";
/// Exported since 3.2, which also moved the entries of the method table.
const SINCE_3_2: &str = "SSL_handle_events";
/// As much is read of the internal functions, whose size is seldom known.
const INTERNAL: usize = 0x400;

/// One direction of the plaintext.
struct Direction {
    spellings: &'static [(&'static str, Function)],
    /// What the internal function is; the method's is `in_method`.
    internal: Function,
    in_method: Function,
    /// Offset of the entry in the method table: before 3.2, and since.
    slots: [u64; 2],
}

const READ: Direction = Direction {
    spellings: &[
        ("SSL_read", Function::Read),
        ("SSL_read_ex", Function::ReadEx),
    ],
    internal: Function::ReadEx,
    in_method: Function::ReadEx,
    slots: [0x38, 0x50],
};

const WRITE: Direction = Direction {
    spellings: &[
        ("SSL_write", Function::Write),
        ("SSL_write_ex", Function::WriteEx),
    ],
    internal: Function::WriteEx,
    in_method: Function::WriteEx,
    slots: [0x48, 0x60],
};

/// With `SSL_write_ex2`, from 3.3 on, the flags come before the count.
const WRITE_WITH_FLAGS: Direction = Direction {
    spellings: &[
        ("SSL_write", Function::Write),
        ("SSL_write_ex", Function::WriteEx),
        ("SSL_write_ex2", Function::WriteEx2),
    ],
    internal: Function::WriteEx2,
    ..WRITE
};

/// What tells connections apart and names their peer, and what leaves past the memory of
/// the process; none of it is called often.
const FACTS: &[(&str, Function)] = &[
    ("SSL_free", Function::Free),
    ("SSL_set_fd", Function::SetFd),
    ("SSL_set_rfd", Function::SetFd),
    ("SSL_set_wfd", Function::SetFd),
    ("SSL_set_bio", Function::SetBio),
    ("SSL_ctrl", Function::Ctrl),
    ("SSL_sendfile", Function::SendFile),
];

fn examine(image: &Image<'_>, symbols: &Symbols) -> Result<Option<Finding>, ImageError> {
    if !symbols.has("SSL_read") || !symbols.has("SSL_write") {
        return Ok(None);
    }
    let write = if symbols.has(NEWEST) {
        &WRITE_WITH_FLAGS
    } else {
        &WRITE
    };
    let mut search = Search {
        image,
        symbols,
        hooks: Hooks::new(image),
        found_by: FoundBy::Symbol,
    };
    search.direction(&READ)?;
    search.direction(write)?;
    search.facts()?;
    let (library, version) = name(image)?;
    let plan = search.hooks.into_plan(library, version, search.found_by);
    Ok(Some(Finding::Hooks(plan)))
}

/// What the library calls itself. (libssl 3 leaves its version to libcrypto.)
fn name(image: &Image<'_>) -> Result<(&'static str, Option<Box<str>>), ImageError> {
    let mut library = "openssl";
    let mentions = mentions(image, |mark| match mark {
        1 if library == "openssl" => library = "boringssl",
        2 => library = "aws-lc",
        _ => {}
    })?;
    if library != "openssl" {
        return Ok((library, None));
    }
    Ok((library, version_at(image, mentions)?))
}

/// The version of the OpenSSL that an image holds.
pub fn version_of(image: &Image<'_>) -> Result<Option<Box<str>>, ImageError> {
    let mentions = mentions(image, |_| ())?;
    version_at(image, mentions)
}

/// Where OpenSSL is named; `other` hears of the marks of other libraries.
fn mentions(image: &Image<'_>, mut other: impl FnMut(usize)) -> Result<Vec<u64>, ImageError> {
    const MARKS: [&[u8]; 3] = [
        b"OpenSSL ",
        b"/ssl/ssl_lib.cc\0",
        b"/aws-lc/ssl/ssl_lib.cc\0",
    ];
    const MAX_PLACES: usize = 1024;
    let mut mentions = Vec::new();
    image.find_constants(&MARKS, |mark, at| match mark {
        0 if mentions.len() < MAX_PLACES => mentions.push(at),
        _ => other(mark),
    })?;
    Ok(mentions)
}

fn version_at(image: &Image<'_>, mentions: Vec<u64>) -> Result<Option<Box<str>>, ImageError> {
    for at in mentions {
        let text = image.bytes(at, 32)?;
        if let Some(version) = text.get(8..).and_then(version) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// `3.0.22` of `3.0.22 1 Jan 2026`: three numbers, the last maybe with a letter.
fn version(text: &[u8]) -> Option<Box<str>> {
    let end = memchr::memchr(b' ', text)?;
    let text = std::str::from_utf8(text.get(..end)?).ok()?;
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [major, minor, patch]
            if number(major)
                && number(minor)
                && number(&patch.trim_end_matches(|c: char| c.is_ascii_lowercase())) =>
        {
            Some(text.into())
        }
        _ => None,
    }
}

/// A spelling and the best place on it.
type Public = (&'static str, Function, Option<Placement>);

struct Search<'s> {
    image: &'s Image<'s>,
    symbols: &'s Symbols,
    hooks: Hooks<'s>,
    found_by: FoundBy,
}

impl Search<'_> {
    /// The cheapest way to see all that crosses in one direction.
    fn direction(&mut self, direction: &Direction) -> Result<(), ImageError> {
        let public = self.public(direction)?;
        if public
            .iter()
            .all(|(.., p)| p.as_ref().is_some_and(|p| p.cost == SiteCost::Emulated))
        {
            self.hook_public(public);
            return Ok(());
        }
        if let Some(found) = self.internal(direction)? {
            self.found_by = FoundBy::Pair;
            self.hooks.add(direction.internal, &found.0, &found.1);
            return Ok(());
        }
        if let Some(found) = self.in_method(direction)? {
            self.found_by = FoundBy::Pair;
            self.hooks.add(direction.in_method, &found.0, &found.1);
            return Ok(());
        }
        self.hook_public(public);
        Ok(())
    }

    /// Each public spelling with the best place on it.
    fn public(&self, direction: &Direction) -> Result<Vec<Public>, ImageError> {
        let mut public = Vec::new();
        for &(name, function) in direction.spellings {
            for symbol in self.symbols.all(name) {
                let bytes = symbol.code(self.image)?;
                let code = symbol.as_code(self.image, &bytes);
                if self.leads_to_newest(name, &code)? {
                    continue;
                }
                let wanted = function.wanted();
                let place = code.cheap(wanted).or_else(|| code.at_entry(wanted));
                public.push((name, function, place));
            }
        }
        Ok(public)
    }

    fn hook_public(&mut self, public: Vec<Public>) {
        for (name, function, place) in public {
            match place {
                Some(place) => self.hooks.add(function, &place, name),
                None => self.hooks.note(silent(name)),
            }
        }
    }

    /// The internal function that every spelling of the direction calls first.
    fn internal(&self, direction: &Direction) -> Result<Option<(Placement, String)>, ImageError> {
        let mut target = None;
        for &(name, _) in direction.spellings {
            let Some(symbol) = self.symbols.only(name) else {
                return Ok(None);
            };
            let bytes = symbol.code(self.image)?;
            let code = symbol.as_code(self.image, &bytes);
            if self.leads_to_newest(name, &code)? {
                continue;
            }
            let first = self.first_callee(&code)?;
            if first.is_none() || (target.is_some() && target != first) {
                return Ok(None);
            }
            target = first;
        }
        let Some(target) = target else {
            return Ok(None);
        };
        if !self.is_internal(target, direction)? {
            return Ok(None);
        }
        let bytes = self.image.code(target, INTERNAL)?;
        let code = Code {
            machine: self.image.machine,
            address: target,
            bytes: &bytes,
            whole: false,
        };
        let place = code.cheap(direction.internal.wanted());
        Ok(place.map(|place| {
            (
                place,
                format!("the internal function at {target:#x} that all spellings call"),
            )
        }))
    }

    /// From 3.3 on `SSL_write_ex` may only pass on to `SSL_write_ex2`, and is seen there.
    fn leads_to_newest(&self, name: &str, code: &Code<'_>) -> Result<bool, ImageError> {
        let newest: Vec<u64> = self.symbols.all(NEWEST).map(|s| s.address).collect();
        Ok(name != NEWEST && symbols::leads_to(self.image, code, &newest)?)
    }

    /// The first function of the image itself that is called or jumped to.
    fn first_callee(&self, code: &Code<'_>) -> Result<Option<u64>, ImageError> {
        for target in code.leaves_to() {
            let bytes = self.image.code(target, 32)?;
            let callee = Code {
                address: target,
                bytes: &bytes,
                ..*code
            };
            if !bytes.is_empty() && callee.linkage_slot().is_none() {
                return Ok(Some(target));
            }
        }
        Ok(None)
    }

    /// Two wrappers that have their internal function inlined may both begin with a call
    /// to something else. The real one reads the method's entry of its direction.
    fn is_internal(&self, target: u64, direction: &Direction) -> Result<bool, ImageError> {
        let bytes = self.image.code(target, INTERNAL)?;
        let code = Code {
            machine: self.image.machine,
            address: target,
            bytes: &bytes,
            whole: false,
        };
        if !code.reads_field(self.slot(direction)) {
            return Ok(false);
        }
        let names = symbols::names_of(self.image, target)?;
        let other = |name: &String| name.starts_with("ERR_") || name.starts_with("ossl_");
        Ok(!names.iter().any(other))
    }

    fn slot(&self, direction: &Direction) -> u64 {
        let [before, since] = direction.slots;
        if self.symbols.has(SINCE_3_2) {
            since
        } else {
            before
        }
    }

    /// The function that the method table names for the direction.
    fn in_method(&self, direction: &Direction) -> Result<Option<(Placement, String)>, ImageError> {
        /// `TLS_ANY_VERSION`, the first field of the table.
        const ANY_VERSION: [u8; 4] = 0x1_0000_u32.to_le_bytes();
        // Before 1.1.1 the entry had other arguments.
        if self.symbols.only("SSL_read_ex").is_none() {
            return Ok(None);
        }
        let maker = self
            .symbols
            .only("TLS_client_method")
            .or_else(|| self.symbols.only("TLS_method"));
        let Some(maker) = maker else { return Ok(None) };
        let bytes = maker.code(self.image)?;
        let Some(table) = maker.as_code(self.image, &bytes).returned_address() else {
            return Ok(None);
        };
        if self.image.loaded(table, 4)? != ANY_VERSION {
            return Ok(None);
        }
        let slot = self.slot(direction);
        let entry = symbols::pointers(self.image, &[table.wrapping_add(slot)])?;
        let Some(target) = entry.first().copied().flatten() else {
            return Ok(None);
        };
        let bytes = self.image.code(target, INTERNAL)?;
        let code = Code {
            machine: self.image.machine,
            address: target,
            bytes: &bytes,
            whole: false,
        };
        let place = code.cheap(direction.in_method.wanted());
        Ok(place.map(|place| {
            (
                place,
                format!("entry {slot:#x} of the method table, {target:#x}"),
            )
        }))
    }

    fn facts(&mut self) -> Result<(), ImageError> {
        for &(name, function) in FACTS {
            for symbol in self.symbols.all(name) {
                let bytes = symbol.code(self.image)?;
                let code = symbol.as_code(self.image, &bytes);
                let wanted = function.wanted();
                if let Some(place) = code.cheap(wanted).or_else(|| code.at_entry(wanted)) {
                    self.hooks.add(function, &place, name);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::examine_bytes;
    use super::super::super::image::Machine;
    use super::super::super::plan::{Exit, Hook, HookPlan};
    use super::super::super::synthetic::{BASE, Builder};
    use super::*;

    fn plan(builder: Builder) -> Option<HookPlan> {
        match examine_bytes(&builder.build().as_slice()).unwrap() {
            Some(Finding::Hooks(plan)) => Some(plan),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    }

    fn hook_of(plan: &HookPlan, function: Function) -> &Hook {
        let mut hooks = plan.hooks.iter().filter(|hook| hook.function == function);
        let hook = hooks
            .next()
            .unwrap_or_else(|| panic!("no {function:?} in {plan:#?}"));
        assert_eq!(hooks.next(), None, "hooked twice");
        hook
    }

    /// `sub rsp,24; call target; add rsp,24; ret`, to stand at `at`.
    fn wrapper(at: u64, target: u64) -> Vec<u8> {
        let mut code = b"\x48\x83\xec\x18\xe8".to_vec();
        code.extend_from_slice(&(target.wrapping_sub(at + 9) as u32).to_le_bytes());
        code.extend_from_slice(b"\x48\x83\xc4\x18\xc3");
        code
    }

    /// `endbr64; push rbx; mov rax,[rdi+8]; mov rax,[rax+slot]; pop rbx; jmp rax`
    fn internal(slot: u8) -> Vec<u8> {
        let mut code = b"\xf3\x0f\x1e\xfa\x53\x48\x8b\x47\x08\x48\x8b\x40".to_vec();
        code.push(slot);
        code.extend_from_slice(b"\x5b\xff\xe0");
        code
    }

    fn wrapped(builder: &mut Builder, name: &str, target: u64) {
        let code = wrapper(builder.next_address(), target);
        builder.function(name, &code);
    }

    /// Both spellings of both directions around internal functions with these slots.
    fn libssl(read_slot: u8, write_slot: u8) -> (Builder, u64, u64) {
        let mut builder = Builder::new(Machine::X86_64);
        let read = builder.place(&internal(read_slot));
        let write = builder.place(&internal(write_slot));
        for (name, target) in [
            ("SSL_read", read),
            ("SSL_read_ex", read),
            ("SSL_write", write),
            ("SSL_write_ex", write),
        ] {
            wrapped(&mut builder, name, target);
        }
        (builder, read, write)
    }

    #[test]
    fn the_internal_function_stands_for_all_spellings() {
        let (builder, read, write) = libssl(0x38, 0x48);
        let plan = plan(builder).unwrap();
        assert_eq!(plan.library, "openssl");
        assert_eq!(plan.hooks.len(), 2);
        for (function, address) in [(Function::ReadEx, read), (Function::WriteEx, write)] {
            let hook = hook_of(&plan, function);
            assert_eq!(hook.entry.offset, address - BASE + 4);
            assert_eq!(hook.entry.cost, SiteCost::Emulated);
            assert_eq!(hook.exit, Some(Exit::Return));
        }
    }

    #[test]
    fn from_3_3_the_flags_shift_the_count() {
        let mut builder = Builder::new(Machine::X86_64);
        builder.function("SSL_handle_events", b"\xc3");
        let read = builder.place(&internal(0x50));
        let write = builder.place(&internal(0x60));
        for (name, target) in [
            ("SSL_read", read),
            ("SSL_read_ex", read),
            ("SSL_write", write),
        ] {
            wrapped(&mut builder, name, target);
        }
        let newest = builder.next_address();
        wrapped(&mut builder, NEWEST, write);
        // mov r8,rcx; xor ecx,ecx; jmp SSL_write_ex2
        let mut forward = b"\x49\x89\xc8\x31\xc9\xe9".to_vec();
        let behind = builder.next_address() + 10;
        forward.extend_from_slice(&(newest.wrapping_sub(behind) as u32).to_le_bytes());
        builder.function("SSL_write_ex", &forward);
        let plan = plan(builder).unwrap();
        assert_eq!(
            hook_of(&plan, Function::WriteEx2).entry.offset,
            write - BASE + 4
        );
        assert_eq!(plan.hooks.len(), 2);
    }

    #[test]
    fn a_common_callee_that_reads_another_field_is_not_taken() {
        let (builder, ..) = libssl(0x10, 0x18);
        let plan = plan(builder).unwrap();
        assert_eq!(plan.hooks.len(), 4);
        assert_eq!(hook_of(&plan, Function::Read).entry.cost, SiteCost::Stepped);
    }

    #[test]
    fn the_method_table_serves_where_the_internal_function_does_not() {
        let (mut builder, ..) = libssl(0x10, 0x18);
        let read = builder.place(b"\x48\x85\xff\x74\x01\xc3");
        let write = builder.place(b"\x55\xc3");
        let table = builder.place(&{
            let mut table = vec![0; 0x100];
            table[2] = 1;
            table
        });
        builder.relocate(table + 0x38, read);
        builder.relocate(table + 0x48, write);
        let mut maker = b"\x48\x8d\x05".to_vec();
        maker.extend_from_slice(
            &(table.wrapping_sub(builder.next_address() + 7) as u32).to_le_bytes(),
        );
        maker.push(0xc3);
        builder.function("TLS_client_method", &maker);
        let plan = plan(builder).unwrap();
        assert_eq!(
            hook_of(&plan, Function::ReadEx).entry.offset,
            read - BASE + 3
        );
        assert_eq!(hook_of(&plan, Function::WriteEx).entry.offset, write - BASE);
        assert_eq!(plan.hooks.len(), 2);
    }

    #[test]
    fn cheap_public_functions_are_taken_as_they_are() {
        let mut builder = Builder::new(Machine::X86_64);
        for name in ["SSL_read", "SSL_write", "SSL_free"] {
            builder.function(name, b"\x55\xc3");
        }
        builder.constant(b"\0../third_party/boringssl/src/ssl/ssl_lib.cc\0");
        let plan = plan(builder).unwrap();
        assert_eq!(plan.library, "boringssl");
        assert_eq!(hook_of(&plan, Function::Free).exit, None);
        assert_eq!(
            hook_of(&plan, Function::Read).entry.cost,
            SiteCost::Emulated
        );
    }

    #[test]
    fn a_file_that_is_sent_is_seen_at_its_return() {
        let mut builder = Builder::new(Machine::X86_64);
        for name in ["SSL_read", "SSL_write", "SSL_sendfile"] {
            builder.function(name, b"\x55\xc3");
        }
        let plan = plan(builder).unwrap();
        assert_eq!(hook_of(&plan, Function::SendFile).exit, Some(Exit::Return));
    }

    #[test]
    fn a_silent_function_is_said_and_not_hooked() {
        let mut builder = Builder::new(Machine::X86_64);
        builder.function("SSL_read", b"\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00\xc3");
        builder.function("SSL_write", b"\x55\xc3");
        let plan = plan(builder).unwrap();
        assert_eq!(plan.hooks.len(), 1);
        assert!(
            plan.evidence[0].contains("SSL_read begins with"),
            "{:?}",
            plan.evidence
        );
    }

    #[test]
    fn an_importer_is_no_library() {
        let mut builder = Builder::new(Machine::X86_64);
        builder.import("SSL_read");
        builder.import("SSL_write");
        builder.function("wolfSSL_read", b"\x55\xc3");
        assert_eq!(plan(builder), None);
    }

    #[test]
    fn versions() {
        let mut builder = Builder::new(Machine::X86_64);
        builder.function("SSL_read", b"\x55\xc3");
        builder.function("SSL_write", b"\x55\xc3");
        builder.constant(b"OpenSSL 3.0 or newer\0OpenSSL 1.1.1w  11 Sep 2023\0");
        assert_eq!(plan(builder).unwrap().version.as_deref(), Some("1.1.1w"));
        assert_eq!(version(b"3.0.22 1 Jan"), Some("3.0.22".into()));
        assert_eq!(version(b"3.0 1 Jan"), None);
        assert_eq!(version(b"a.b.c d"), None);
    }
}
