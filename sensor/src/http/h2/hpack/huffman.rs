//! The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B).
//!
//! In: an encoded string. Out: its octets. Must not know: fields, tables.
//!
//! The code is canonical: the codes of one length are consecutive and in the order
//! of their symbols. So the lengths alone define it, and a code longer than a byte is
//! found by comparing it with the last code of each length.

/// The string is not a valid encoding.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid;

/// Length in bits of each symbol's code; 256 is the end of the string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const LONGEST: usize = 30;
const END_OF_STRING: u16 = 256;

/// Codes of one length.
#[derive(Clone, Copy)]
struct Range {
    first: u32,
    count: u32,
    /// Where their symbols begin in [`Code::symbols`].
    at: usize,
}

struct Code {
    /// By length.
    ranges: [Range; LONGEST + 1],
    /// Ordered by length, then value.
    symbols: [u16; 257],
    /// By the next eight bits: symbol and length of a code that is no longer, or length 0.
    short: [(u8, u8); 256],
}

static CODE: Code = build();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler over a constant: a mistake does not build"
)]
const fn build() -> Code {
    let empty = Range {
        first: 0,
        count: 0,
        at: 0,
    };
    let mut code = Code {
        ranges: [empty; LONGEST + 1],
        symbols: [0; 257],
        short: [(0, 0); 256],
    };
    let mut next = 0u32;
    let mut filled = 0;
    let mut length = 1;
    while length <= LONGEST {
        next <<= 1;
        code.ranges[length].first = next;
        code.ranges[length].at = filled;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[filled] = symbol as u16;
                filled += 1;
                if length <= 8 {
                    let mut low = 0;
                    while low < 1 << (8 - length) {
                        code.short[((next as usize) << (8 - length)) | low] =
                            (symbol as u8, length as u8);
                        low += 1;
                    }
                }
                next += 1;
            }
            symbol += 1;
        }
        code.ranges[length].count = next - code.ranges[length].first;
        length += 1;
    }
    code
}

/// Appends the decoded octets of `encoded` to `out`.
pub fn decode(encoded: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    let mut bytes = encoded.iter();
    // The next bits stand at the top; below them ones, as the padding has them.
    let mut window = u64::MAX;
    let mut held: u32 = 0;
    loop {
        while held <= 56 {
            let Some(&byte) = bytes.next() else { break };
            let place = 56_u32.saturating_sub(held);
            window &= !(0xff_u64.wrapping_shl(place));
            window |= u64::from(byte).wrapping_shl(place);
            held = held.saturating_add(8);
        }
        let (symbol, length) = next_symbol(window).ok_or(Invalid)?;
        if length > held {
            return at_end(window, held);
        }
        out.push(u8::try_from(symbol).map_err(|_| Invalid)?);
        window = !(!window).wrapping_shl(length);
        held = held.saturating_sub(length);
    }
}

/// What is left must be padding: less than a byte, all ones.
fn at_end(window: u64, held: u32) -> Result<(), Invalid> {
    let padding = window.leading_ones() >= held;
    (held < 8 && padding).then_some(()).ok_or(Invalid)
}

/// The symbol whose code begins the window, and the length of that code.
fn next_symbol(window: u64) -> Option<(u16, u32)> {
    let top = usize::try_from(window.wrapping_shr(56)).ok()?;
    if let Some(&(symbol, length)) = CODE.short.get(top)
        && length > 0
    {
        return Some((u16::from(symbol), u32::from(length)));
    }
    for (range, length) in CODE.ranges.iter().zip(0u32..).skip(9) {
        let code = u32::try_from(window.wrapping_shr(64_u32.saturating_sub(length))).ok()?;
        let nth = code.wrapping_sub(range.first);
        if nth < range.count {
            let at = range.at.saturating_add(usize::try_from(nth).ok()?);
            let symbol = *CODE.symbols.get(at)?;
            return Some((symbol, length));
        }
    }
    debug_assert!(false, "invariant: the code is complete");
    Some((END_OF_STRING, 30))
}

#[cfg(test)]
pub(in crate::http::h2) fn encode(octets: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    for &octet in octets {
        let length = usize::from(LENGTHS[usize::from(octet)]);
        let range = CODE.ranges[length];
        let nth = CODE.symbols[range.at..]
            .iter()
            .position(|&s| s == u16::from(octet))
            .unwrap();
        let code = range.first + u32::try_from(nth).unwrap();
        bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    }
    bits.chunks(8)
        .map(|chunk| {
            (0..8).fold(0, |byte, i| {
                byte << 1 | u8::from(*chunk.get(i).unwrap_or(&true))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoded: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        decode(encoded, &mut out).map(|()| out)
    }

    #[test]
    fn decodes_the_examples_of_the_specification() {
        // RFC 7541, C.4.1 and C.6.1.
        let www = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decoded(&www).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0x64, 0x02]).unwrap(), b"302");
    }

    #[test]
    fn decodes_every_octet_after_every_other() {
        let all: Vec<u8> = (0..=255u8).flat_map(|a| [a, a ^ 0x55, b'e']).collect();
        assert_eq!(decoded(&encode(&all)).unwrap(), all);
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn refuses_what_is_no_encoding() {
        // Padding of eight ones, padding with a zero, the end-of-string symbol.
        assert_eq!(decoded(&[0x64, 0x02, 0xff]), Err(Invalid));
        assert_eq!(decoded(&[0b0000_0110]), Err(Invalid));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Invalid));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xfc]), Err(Invalid));
    }
}
