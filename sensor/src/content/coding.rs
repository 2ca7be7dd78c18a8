//! Content codings undone as the bytes come (RFC 9110, section 8.4.1).

use super::{Faults, Limits};
use crate::stream::Segment;

#[derive(Debug)]
pub(super) struct Decoder {}

impl Decoder {
    pub fn new(coding: Option<&str>, limits: Limits) -> Self {
        let _ = (coding, limits);
        Self {}
    }

    pub fn decode(
        &mut self,
        segment: Segment<'_>,
        faults: &mut Faults,
        out: &mut dyn FnMut(Segment<'_>),
    ) {
        let _ = faults;
        out(segment);
    }
}
