//! An encoder as simple as can be, for tests: it chooses the representation that a test
//! asks for and keeps no table.

/// Starts a header block.
#[derive(Debug, Default)]
pub struct Encoder(pub Vec<u8>);

impl Encoder {
    pub fn indexed(mut self, index: usize) -> Self {
        self.integer(0x80, 7, index);
        self
    }

    /// A literal that enters the table; `name`: an index or a spelling.
    pub fn inserted(mut self, name: impl Into<Name>, value: &str) -> Self {
        self.literal(0x40, 6, name.into(), value, true);
        self
    }

    pub fn literal_only(mut self, name: impl Into<Name>, value: &str) -> Self {
        self.literal(0x00, 4, name.into(), value, false);
        self
    }

    pub fn resize(mut self, capacity: usize) -> Self {
        self.integer(0x20, 5, capacity);
        self
    }

    fn literal(&mut self, pattern: u8, bits: u32, name: Name, value: &str, coded: bool) {
        match name {
            Name::Index(index) => self.integer(pattern, bits, index),
            Name::Spelled(name) => {
                self.integer(pattern, bits, 0);
                self.string(&name, coded);
            }
        }
        self.string(value, coded);
    }

    fn string(&mut self, text: &str, coded: bool) {
        let huffman = super::huffman::encode(text.as_bytes());
        let (pattern, octets) = match coded {
            true => (0x80, huffman.as_slice()),
            false => (0, text.as_bytes()),
        };
        self.integer(pattern, 7, octets.len());
        self.0.extend_from_slice(octets);
    }

    fn integer(&mut self, pattern: u8, bits: u32, value: usize) {
        let most = (1usize << bits) - 1;
        if value < most {
            self.0.push(pattern | value as u8);
            return;
        }
        self.0.push(pattern | most as u8);
        let mut rest = value - most;
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }
}

#[derive(Debug)]
pub enum Name {
    Index(usize),
    Spelled(String),
}

impl From<usize> for Name {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self::Spelled(name.into())
    }
}
