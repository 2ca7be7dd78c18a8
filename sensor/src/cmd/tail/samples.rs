//! Calls for the tests of this folder.

use llmtap::enrich::cost::{Cost, Usd};
use llmtap::redact::{Content, Policy, Record};

/// A call at a price, in picodollars.
pub fn priced(picos: u64) -> Record {
    let mut call = crate::samples::enriched(|_, _| {});
    call.cost = Some(Cost {
        input: Some(Usd::from_picos(picos)),
        ..Cost::default()
    });
    let policy = Policy {
        content: Content::Full,
    };
    policy.apply(call)
}
