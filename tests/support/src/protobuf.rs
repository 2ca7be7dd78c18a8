//! Messages of Protocol Buffers and gRPC, written.

use crate::body::Coding;

/// A message that grows by a field at a time.
#[derive(Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// A number, unless it is 0, which goes without saying.
    pub fn number(mut self, field: u32, number: u64) -> Self {
        if number != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(number);
        }
        self
    }

    pub fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(self, field: u32, message: Self) -> Self {
        self.bytes(field, &message.0)
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

/// A message of gRPC: whether it is compressed, its length, and itself.
pub fn framed(message: &[u8], coding: Coding) -> Vec<u8> {
    let coded = match coding {
        Coding::Identity => message.to_vec(),
        _ => coding
            .code(vec![bytes::Bytes::copy_from_slice(message)])
            .expect("invariant: memory takes all that is written to it")
            .concat(),
    };
    let length = u32::try_from(coded.len()).expect("invariant: our own short messages");
    let mut framed = vec![u8::from(coding != Coding::Identity)];
    framed.extend(length.to_be_bytes());
    framed.extend(coded);
    framed
}
