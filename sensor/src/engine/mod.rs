//! One engine takes the events of a source and gives calls.
//!
//! It is total: no input makes it fail, and it reads no clock.

use crate::event::{ConnectionId, Verdict};
use crate::llm::{Call, CallId};
use crate::time::Timestamp;

/// What comes out of an engine.
#[derive(Debug)]
pub enum Output {
    /// A request was read and is a call; what is known so far.
    Started(Box<Call>),
    /// More text of the first choice.
    Text {
        call: CallId,
        at: Timestamp,
        text: String,
    },
    /// The call is over.
    Finished(Box<Call>),
    /// What the source may do with the rest of this connection.
    Verdict {
        connection: ConnectionId,
        verdict: Verdict,
    },
}
