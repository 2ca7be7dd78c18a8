//! What tests of recorded traffic share.

pub mod compare;
pub mod describe;
pub mod drive;
pub mod framing;
