//! Byte streams with holes.
//!
//! In: the data of an [`Event`](crate::event::Event). Out: [`Segment`]s. Must not
//! know: TLS library, process, HTTP.

use crate::event::Missing;

/// A piece of one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    Data(&'a [u8]),
    Gap(Missing),
}
