#![no_std]
//! Data that the kernel half and the user half of llmtap share: no code beyond
//! constants, sizes and offsets asserted.
//!
//! Every type is `repr(C)` without padding, so that it can be copied as bytes both ways.

pub mod conn;
pub mod filter;
pub mod idle;
pub mod layout;
pub mod loss;
pub mod record;
pub mod site;

/// Whether a type has no padding: its size is the sum of its fields'.
macro_rules! assert_size {
    ($type:ty, $size:expr) => {
        const _: () = assert!(core::mem::size_of::<$type>() == $size);
        const _: () = assert!(core::mem::align_of::<$type>() <= 8);
    };
}
pub(crate) use assert_size;
