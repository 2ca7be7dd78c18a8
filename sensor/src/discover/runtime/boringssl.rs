//! Programs that carry BoringSSL without its symbols: Bun and what is built with it.
//!
//! Each error in BoringSSL is put down with its reason, the name of the source file and
//! the line. The file's name is a string in the image; the reasons that a function can
//! fail with tell which function it is, in every build. (Lines, addresses and prologues
//! change with each.)

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::image::{Image, ImageError};
use super::super::plan::{Finding, FoundBy, Function, Unsupported};
use super::super::reference::{self, Extents, Reference, Starts};
use super::super::site::Code;
use super::super::symbols::Symbols;
use super::{Hooks, Runtime, aead};

pub const RUNTIME: Runtime = Runtime {
    symbols: &[],
    examine,
};

/// How the name of the file ends; what is before it varies.
const FILE: &[u8] = b"/ssl/ssl_lib.cc\0";
/// Most code of one function that is read.
const MAX_FUNCTION: u64 = 0x800;
/// Fewer places than this that name the file are no ssl_lib.
const MIN_REFERENCES: usize = 8;

/// Reasons of errors, as `openssl/err.h` and `openssl/ssl.h` number them.
mod reason {
    /// The connection is QUIC's.
    pub const SHOULD_NOT_HAVE_BEEN_CALLED: u32 = 66;
    pub const BAD_LENGTH: u32 = 111;
    pub const HANDSHAKE_FAILURE: u32 = 215;
    pub const UNINITIALIZED: u32 = 226;
}

/// From the first byte of a function to the first behind it.
type Extent = Range<u64>;

/// One function that puts down errors.
#[derive(Debug, Default)]
struct Failing {
    end: u64,
    /// Reason and line of each place; the line is 0 where it is no constant.
    errors: BTreeSet<(u32, u32)>,
}

impl Failing {
    fn reasons(&self) -> BTreeSet<u32> {
        self.errors.iter().map(|(reason, _)| *reason).collect()
    }

    /// Lines of the errors that have one of these reasons.
    fn lines(&self, of: &[u32]) -> impl Iterator<Item = u32> {
        let wanted = self
            .errors
            .iter()
            .filter(|(reason, line)| *line > 0 && of.contains(reason));
        wanted.map(|(_, line)| *line)
    }
}

fn examine(image: &Image<'_>, _: &Symbols) -> Result<Option<Finding>, ImageError> {
    let Some(name) = file_name(image)? else {
        return Ok(None);
    };
    let references = reference::references(image, name)?;
    if references.len() < MIN_REFERENCES {
        return Ok(None);
    }
    let mut hooks = Hooks::new(image);
    let Some((write, read)) = identify(image, &references)? else {
        hooks.note("SSL_read and SSL_write cannot be told apart from other functions".into());
        if aead::hook(&mut hooks, &[aead::BORINGSSL_C, aead::BORINGSSL_CC])? {
            return Ok(Some(Finding::Hooks(hooks.into_plan(
                "boringssl",
                None,
                FoundBy::Pattern,
            ))));
        }
        return Ok(Some(Finding::Unsupported(Unsupported {
            library: "boringssl".into(),
            reason: "linked in without symbols, and SSL_read and SSL_write cannot be told apart \
                     from other functions"
                .into(),
        })));
    };
    hook(
        &mut hooks,
        read,
        Function::Read,
        "SSL_read, by the reasons of its errors",
    )?;
    hook(
        &mut hooks,
        write,
        Function::Write,
        "SSL_write, by the reasons of its errors",
    )?;
    Ok(Some(Finding::Hooks(hooks.into_plan(
        "boringssl",
        None,
        FoundBy::Pattern,
    ))))
}

/// Where SSL_write and SSL_read are, if both are certain.
fn identify(
    image: &Image<'_>,
    references: &[Reference],
) -> Result<Option<(Extent, Extent)>, ImageError> {
    let starts = Starts::near(image, references)?;
    let by_calls = Functions::group(image, references, |at| Ok(starts.around(at)))?;
    if let Some(found) = by_calls.identify()? {
        return Ok(Some(found));
    }
    // What is not called directly was taken for a part of its neighbour.
    let extents = Extents::near(image, references)?;
    Functions::group(image, references, |at| extents.around(at))?.identify()
}

/// The address of the source file's name.
fn file_name(image: &Image<'_>) -> Result<Option<u64>, ImageError> {
    let mut tail = None;
    image.find_constants(&[FILE], |_, at| tail = tail.or(Some(at)))?;
    match tail {
        Some(tail) => image.beginning_of_text(tail),
        None => Ok(None),
    }
}

fn hook(
    hooks: &mut Hooks<'_>,
    range: Extent,
    function: Function,
    what: &str,
) -> Result<(), ImageError> {
    hooks.place(function, &range, MAX_FUNCTION, what)?;
    Ok(())
}

/// The functions that name the file, by where they begin.
struct Functions<'i> {
    image: &'i Image<'i>,
    failing: BTreeMap<u64, Failing>,
    /// Which argument is the reason; the file's name is the next and the line the last.
    reason: usize,
}

impl<'i> Functions<'i> {
    /// `around` tells the function that an address lies in.
    fn group(
        image: &'i Image<'i>,
        references: &[Reference],
        around: impl Fn(u64) -> Result<Option<Extent>, ImageError>,
    ) -> Result<Self, ImageError> {
        let mut failing: BTreeMap<u64, Failing> = BTreeMap::new();
        let mut shapes = [0_usize; 5];
        for reference in references {
            let Some(range) = around(reference.address)? else {
                continue;
            };
            let function = failing.entry(range.start).or_default();
            function.end = range.end;
            let arguments = reference::arguments(image, *reference)?;
            let at = |index: Option<usize>| arguments.get(index?).copied().flatten();
            let file = reference.argument;
            if let Some(reason) = at(file.checked_sub(1)) {
                let line = at(file.checked_add(1)).unwrap_or(0);
                function.errors.insert((reason, line));
                if let Some(shape) = shapes.get_mut(file) {
                    *shape = shape.saturating_add(1);
                }
            }
        }
        let common = (1..shapes.len())
            .max_by_key(|&file| shapes.get(file))
            .unwrap_or(3);
        Ok(Self {
            image,
            failing,
            reason: common.saturating_sub(1),
        })
    }

    /// Where SSL_write and SSL_read are, if both are certain.
    fn identify(&self) -> Result<Option<(Extent, Extent)>, ImageError> {
        let told = self
            .failing
            .iter()
            .map(|(start, f)| (*start, f.reasons()))
            .collect();
        if let Some(found) = self.identify_by(&told)? {
            return Ok(Some(found));
        }
        // Some compilers share the code of errors among places: then the constants that a
        // function moves to the reason's register have to do.
        let mut moved = BTreeMap::new();
        for (&start, function) in &self.failing {
            let end = function.end.min(start.saturating_add(MAX_FUNCTION));
            let all = reference::constants(self.image, start..end, self.reason)?;
            moved.insert(start, all);
        }
        self.identify_by(&moved)
    }

    fn identify_by(
        &self,
        reasons: &BTreeMap<u64, BTreeSet<u32>>,
    ) -> Result<Option<(Extent, Extent)>, ImageError> {
        use reason::{BAD_LENGTH, HANDSHAKE_FAILURE, SHOULD_NOT_HAVE_BEEN_CALLED, UNINITIALIZED};
        let of = |wanted: &dyn Fn(&BTreeSet<u32>) -> bool| -> Vec<u64> {
            reasons
                .iter()
                .filter(|(_, has)| wanted(has))
                .map(|(start, _)| *start)
                .collect()
        };
        let moves_data =
            |has: &BTreeSet<u32>| has.contains(&UNINITIALIZED) && has.contains(&HANDSHAKE_FAILURE);
        let write = of(&|has| moves_data(has) && has.contains(&BAD_LENGTH));
        let internal = of(&|has| moves_data(has) && !has.contains(&BAD_LENGTH));
        let (&[write], &[internal]) = (write.as_slice(), internal.as_slice()) else {
            return Ok(None);
        };
        let mut read = Vec::new();
        for start in of(&|has| has.contains(&SHOULD_NOT_HAVE_BEEN_CALLED)) {
            if start != write && self.calls(start, internal)? {
                read.push(start);
            }
        }
        let read = match read.as_slice() {
            &[read] => read,
            several => match self.called(several)?.as_slice() {
                // SSL_peek has the same shape, and is not called by others.
                &[read] => read,
                _ => return Ok(None),
            },
        };
        let certain = self.in_order(internal, read, write);
        Ok(self.range(write).zip(self.range(read)).filter(|_| certain))
    }

    /// The three stand in this order in the source, so their lines must not contradict.
    fn in_order(&self, internal: u64, read: u64, write: u64) -> bool {
        use reason::{BAD_LENGTH, HANDSHAKE_FAILURE, SHOULD_NOT_HAVE_BEEN_CALLED, UNINITIALIZED};
        const OF_DATA: &[u32] = &[UNINITIALIZED, HANDSHAKE_FAILURE];
        const OF_WRITE: &[u32] = &[UNINITIALIZED, HANDSHAKE_FAILURE, BAD_LENGTH];
        let failing = |start| self.failing.get(&start);
        let before = failing(internal).and_then(|f| f.lines(OF_DATA).max());
        let after = failing(write).and_then(|f| f.lines(OF_WRITE).min());
        let between = failing(read).and_then(|f| f.lines(&[SHOULD_NOT_HAVE_BEEN_CALLED]).min());
        match (before, between, after) {
            (Some(before), Some(between), Some(after)) => before < between && between < after,
            _ => true,
        }
    }

    fn range(&self, start: u64) -> Option<Extent> {
        Some(start..self.failing.get(&start)?.end)
    }

    fn calls(&self, start: u64, target: u64) -> Result<bool, ImageError> {
        let Some(range) = self.range(start) else {
            return Ok(false);
        };
        let bytes = self.image.code(
            start,
            MAX_FUNCTION.min(range.end.saturating_sub(start)) as usize,
        )?;
        let code = Code {
            machine: self.image.machine,
            address: start,
            bytes: &bytes,
            whole: false,
        };
        Ok(!code.calls_to(target).is_empty())
    }

    /// Those that something calls.
    fn called(&self, functions: &[u64]) -> Result<Vec<u64>, ImageError> {
        let mut called = BTreeSet::new();
        if functions.len() > 1 {
            reference::each_call(self.image, |_, target| {
                if functions.contains(&target) {
                    called.insert(target);
                }
            })?;
        }
        Ok(called.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::examine_bytes;
    use super::super::super::image::Machine;
    use super::super::super::synthetic::{BASE, Builder};
    use super::*;

    /// Machine code in the making, at a known address.
    struct Assembler {
        address: u64,
        name: u64,
        bytes: Vec<u8>,
    }

    impl Assembler {
        fn relative(&mut self, opcode: &[u8], target: u64) {
            self.bytes.extend_from_slice(opcode);
            let next = self.address + self.bytes.len() as u64 + 4;
            self.bytes
                .extend_from_slice(&(target.wrapping_sub(next) as u32).to_le_bytes());
        }

        /// `mov edx, reason; lea rcx, [rip+name]; mov r8d, line; call …`
        fn error(mut self, reason: u32, line: u32) -> Self {
            self.bytes.push(0xba);
            self.bytes.extend_from_slice(&reason.to_le_bytes());
            self.relative(b"\x48\x8d\x0d", self.name);
            self.bytes.extend_from_slice(b"\x41\xb8");
            self.bytes.extend_from_slice(&line.to_le_bytes());
            let anywhere = self.name;
            self.call(anywhere)
        }

        fn call(mut self, target: u64) -> Self {
            self.relative(&[0xe8], target);
            self
        }
    }

    struct Program {
        builder: Builder,
        name: u64,
    }

    impl Program {
        fn new(name: &[u8]) -> Self {
            let mut builder = Builder::new(Machine::X86_64);
            let name = builder.constants_here(name) + 1;
            Self { builder, name }
        }

        /// `push rbp; …; ret`
        fn function(&mut self, body: impl FnOnce(Assembler) -> Assembler) -> u64 {
            let address = self.builder.next_address();
            let code = Assembler {
                address,
                name: self.name,
                bytes: vec![0x55],
            };
            let mut code = body(code).bytes;
            code.push(0xc3);
            self.builder.place(&code)
        }

        fn finding(self) -> Option<Finding> {
            examine_bytes(&self.builder.build().as_slice()).unwrap()
        }
    }

    /// A program with the functions of interest, SSL_read's error at `line`.
    fn program(line: u32) -> (Program, u64, u64) {
        let mut program = Program::new(b"\0vendor/boringssl/ssl/ssl_lib.cc\0");
        let internal = program.function(|code| code.error(226, 900).error(215, 910));
        let read = program.function(|code| code.error(66, line).call(internal));
        let write = program.function(|code| {
            code.error(66, 1000)
                .error(226, 1010)
                .error(215, 1020)
                .error(111, 1030)
        });
        let other = program.function(|code| code.error(66, 300).error(185, 301));
        program.function(|code| code.call(read).call(write).call(internal).call(other));
        (program, read, write)
    }

    #[test]
    fn the_reasons_of_their_errors_tell_the_functions() {
        let (program, read, write) = program(950);
        let Some(Finding::Hooks(plan)) = program.finding() else {
            panic!("no hooks")
        };
        assert_eq!(plan.library, "boringssl");
        let seen: Vec<_> = plan
            .hooks
            .iter()
            .map(|h| (h.function, h.entry.offset + BASE))
            .collect();
        assert_eq!(seen, [(Function::Read, read), (Function::Write, write)]);
    }

    #[test]
    fn what_contradicts_itself_is_not_hooked() {
        let (program, ..) = program(2000);
        let Some(Finding::Unsupported(unsupported)) = program.finding() else {
            panic!("hooked against the order of lines")
        };
        assert!(unsupported.reason.contains("without symbols"));
    }

    #[test]
    fn openssl_has_a_file_of_almost_that_name() {
        let mut program = Program::new(b"\0../openssl/ssl/ssl_lib.c\0");
        program.function(|code| code.error(226, 1));
        let Some(Finding::Unsupported(unsupported)) = program.finding() else {
            panic!("hooked or not seen")
        };
        assert_eq!(unsupported.library, "openssl");
    }
}
