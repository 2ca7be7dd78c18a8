//! Frames of a WebSocket (RFC 6455, 5.2).

use crate::event::Missing;

/// The header of a frame that is a message of `len` bytes, and of those missing.
pub fn header(binary: bool, from_client: bool, len: usize, missing: Missing) -> Vec<u8> {
    const FINAL: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    let len = len.saturating_add(missing.total());
    let mask = if from_client { MASKED } else { 0 };
    let mut out = vec![FINAL | if binary { 2 } else { 1 }];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => out.push(mask | len),
        (_, Ok(len)) => {
            out.push(mask | 126);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend(len.to_be_bytes());
        }
    }
    if from_client {
        // The key that changes nothing.
        out.extend([0; 4]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_each_size() {
        let none = Missing::NONE;
        assert_eq!(header(false, false, 125, none), [0x81, 125]);
        assert_eq!(header(true, false, 126, none), [0x82, 126, 0, 126]);
        assert_eq!(header(false, true, 1, none), [0x81, 0x81, 0, 0, 0, 0]);
        let lost = Missing {
            lost: 65535,
            cut: 0,
        };
        assert_eq!(
            header(false, false, 1, lost),
            [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]
        );
    }
}
