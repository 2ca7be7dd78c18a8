//! Body of the fuzz target of this room.
//!
//! In: bytes that a fuzzer made up. Out: nothing, or a panic.

use super::Table;
use super::table::{Circumstances, Rate};

/// A line with a provider, one with a model, and a file of prices.
pub fn prices(script: &[u8]) {
    let text = String::from_utf8_lossy(script);
    let mut lines = text.splitn(3, '\n');
    let (Some(provider), Some(model), Some(file)) = (lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    let Ok(table) = Table::parse(file) else {
        return;
    };
    let Some(model) = table.model(provider, model) else {
        return;
    };
    for tier in [None, Some("flex")] {
        let circumstances = Circumstances {
            unix_seconds: 1_760_000_000,
            tier,
            input_tokens: 250_000,
        };
        for rate in [Rate::Input, Rate::Output, Rate::CacheRead, Rate::Request] {
            let price = model.price(rate, &circumstances).unwrap_or_default();
            std::hint::black_box(price.times(u64::MAX).plus(price).as_dollars());
        }
    }
}
