//! The encoding of Protocol Buffers: numbered fields, one after the other.

/// The value of a field, as its wire type has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

/// The fields of a message in their order, with their numbers; ends before the first
/// that is cut or broken. Groups, which nobody uses any more, count as broken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Wire<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, rest) = varint(self.0)?;
        let number = u32::try_from(tag >> 3).ok()?;
        let (value, rest) = match tag & 7 {
            0 => {
                let (value, rest) = varint(rest)?;
                (Wire::Varint(value), rest)
            }
            1 => {
                let (value, rest) = rest.split_first_chunk()?;
                (Wire::Fixed64(*value), rest)
            }
            2 => {
                let (length, rest) = varint(rest)?;
                let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Wire::Bytes(value), rest)
            }
            5 => {
                let (value, rest) = rest.split_first_chunk()?;
                (Wire::Fixed32(*value), rest)
            }
            _ => return None,
        };
        self.0 = rest;
        Some((number, value))
    }
}

/// The number that `bytes` begin with, seven bits an octet, and what follows it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    /// Octets of the longest number.
    const LONGEST: usize = 10;
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().take(LONGEST).enumerate() {
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(u32::try_from(at.saturating_mul(7)).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(at.saturating_add(1)..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_seven_bits_an_octet() {
        assert_eq!(varint(b"\x96\x01!"), Some((150, &b"!"[..])));
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(varint(&minus_one), Some((u64::MAX, &b""[..])));
        assert_eq!(varint(&[0x80; 11]), None);
        assert_eq!(varint(b"\x96"), None);
        assert_eq!(varint(b""), None);
    }

    #[test]
    fn fields_end_before_what_is_cut() {
        let bytes =
            b"\x08\x96\x01\x12\x03abc\x1d\x00\x00\x80\x3f\x21\x01\x02\x03\x04\x05\x06\x07\x08";
        let all: Vec<_> = Fields(bytes).collect();
        assert_eq!(
            all,
            [
                (1, Wire::Varint(150)),
                (2, Wire::Bytes(b"abc")),
                (3, Wire::Fixed32([0, 0, 0x80, 0x3f])),
                (4, Wire::Fixed64([1, 2, 3, 4, 5, 6, 7, 8])),
            ]
        );
        for cut in 0..bytes.len() {
            let some: Vec<_> = Fields(&bytes[..cut]).collect();
            assert!(some.len() < all.len() && all.starts_with(&some), "{cut}");
        }
        assert_eq!(Fields(b"\x0b\x08\x01\x0c").count(), 0, "a group");
        let too_long = b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(Fields(too_long).count(), 0);
    }
}
