#![no_std]
//! Data that the kernel half and the user half of llmtap share: no code, sizes and
//! offsets asserted.
