//! Where to put a probe on a function, so that it costs little and sees the arguments.
//!
//! In: the code of one function. Out: addresses of instructions. Must not know: what
//! the function does, nor the file it came from.
//!
//! A breakpoint costs ten times less on an instruction that the kernel emulates than on
//! one that it has to single-step out of line, and on a few it is accepted and never
//! fires. So the site is the first emulated instruction at which the arguments are
//! still those of the call. What is emulated, and where a return probe may stand, is a
//! matter of the machine.

pub mod aarch64;
pub mod x86_64;

use super::image::Machine;
use super::plan::SiteCost;

/// One function, or the beginning of one.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    pub machine: Machine,
    pub address: u64,
    pub bytes: &'a [u8],
    /// Whether `bytes` end where the function does.
    pub whole: bool,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// The platform's, for C and what calls it.
    C,
    /// Go's own in registers (1.17 and later), with stacks that grow: a function may
    /// begin anew after its stack was moved.
    Go,
}

/// What a probe is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub convention: Convention,
    /// How many of the first (integer) arguments. Those that find no register stand on the
    /// stack, and its pointer must be what it was.
    pub arguments: usize,
    /// Whether the result, too.
    pub result: bool,
}

/// Where the probes go, by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub entry: u64,
    pub cost: SiteCost,
    /// Where the result is seen; `None` where it was not wanted.
    pub exit: Option<PlacedExit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacedExit {
    /// A return probe at the entry.
    Return,
    /// These return instructions, which the kernel emulates.
    At(Vec<u64>),
}

/// The first instruction that each call passes once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    address: u64,
    /// Whether a probe there is ever hit.
    fires: bool,
    emulated: bool,
}

impl Code<'_> {
    /// A place that costs little, if there is one.
    pub fn cheap(&self, wanted: Wanted) -> Option<Placement> {
        match self.machine {
            Machine::X86_64 => x86_64::cheap(self, wanted),
            Machine::Aarch64 => aarch64::cheap(self, wanted),
        }
    }

    /// The first place that each call passes once, whatever it costs, if a probe fires
    /// there at all.
    pub fn at_entry(&self, wanted: Wanted) -> Option<Placement> {
        let first = match self.machine {
            Machine::X86_64 => x86_64::first(self, wanted.convention)?,
            Machine::Aarch64 => aarch64::first(self, wanted.convention)?,
        };
        first.fires.then(|| Placement {
            entry: first.address,
            cost: if first.emulated {
                SiteCost::Emulated
            } else {
                SiteCost::Stepped
            },
            exit: wanted.result.then_some(PlacedExit::Return),
        })
    }

    /// Where direct calls and jumps lead that leave this function, in order.
    pub fn leaves_to(&self) -> Vec<u64> {
        match self.machine {
            Machine::X86_64 => x86_64::leaves_to(self),
            Machine::Aarch64 => aarch64::leaves_to(self),
        }
    }

    /// The address of the pointer that this jumps on through, where it does nothing else
    /// (an entry of the linkage table).
    pub fn linkage_slot(&self) -> Option<u64> {
        match self.machine {
            Machine::X86_64 => x86_64::linkage_slot(self),
            Machine::Aarch64 => aarch64::linkage_slot(self),
        }
    }

    /// The address that this function returns, where it does nothing else.
    pub fn returned_address(&self) -> Option<u64> {
        match self.machine {
            Machine::X86_64 => x86_64::returned_address(self),
            Machine::Aarch64 => aarch64::returned_address(self),
        }
    }

    /// Where this function calls `target` directly.
    pub fn calls_to(&self, target: u64) -> Vec<u64> {
        match self.machine {
            Machine::X86_64 => x86_64::calls_to(self, target),
            Machine::Aarch64 => aarch64::calls_to(self, target),
        }
    }

    /// Where, above the stack pointer, a Go function keeps its first argument.
    pub fn go_home_of_first_argument(&self) -> Option<u32> {
        match self.machine {
            Machine::X86_64 => x86_64::go_home_of_first_argument(self),
            Machine::Aarch64 => aarch64::go_home_of_first_argument(self),
        }
    }

    /// Whether a pointer `displacement` bytes into an object is read or called.
    pub fn reads_field(&self, displacement: u64) -> bool {
        match self.machine {
            Machine::X86_64 => x86_64::reads_field(self, displacement),
            Machine::Aarch64 => aarch64::reads_field(self, displacement),
        }
    }
}
