//! Small ELF images for tests.

use super::image::Machine;

/// Added to file offsets, so that an offset taken for an address shows.
pub const BASE: u64 = 0x40_0000;

/// An image whose one segment holds the whole file at [`BASE`].
pub struct Builder {
    machine: Machine,
    bytes: Vec<u8>,
    strings: Vec<u8>,
    symbols: Vec<u8>,
    relocations: Vec<u8>,
    links: Vec<u8>,
    constants: Vec<u8>,
    /// Where they were placed already.
    constants_at: Option<(u64, u64)>,
    /// The same of `.eh_frame_hdr`.
    unwind_at: Option<(u64, u64)>,
}

impl Builder {
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            bytes: vec![0; 64 + 56],
            strings: vec![0],
            symbols: vec![0; 24],
            relocations: Vec::new(),
            links: Vec::new(),
            constants: Vec::new(),
            constants_at: None,
            unwind_at: None,
        }
    }

    /// Adds bytes, 16-aligned; returns their address.
    pub fn place(&mut self, bytes: &[u8]) -> u64 {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(16), 0xcc);
        let address = BASE + self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        address
    }

    pub fn next_address(&self) -> u64 {
        BASE + self.bytes.len().next_multiple_of(16) as u64
    }

    pub fn function(&mut self, name: &str, code: &[u8]) -> u64 {
        let address = self.place(code);
        self.symbol(name, address, code.len() as u64, 1);
        address
    }

    pub fn import(&mut self, name: &str) {
        self.symbol(name, 0, 0, 0);
    }

    fn symbol(&mut self, name: &str, address: u64, size: u64, section: u16) {
        let place = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        self.symbols.extend_from_slice(&place.to_le_bytes());
        self.symbols.extend_from_slice(&[0x12, 0]);
        self.symbols.extend_from_slice(&section.to_le_bytes());
        self.symbols.extend_from_slice(&address.to_le_bytes());
        self.symbols.extend_from_slice(&size.to_le_bytes());
    }

    /// A pointer at `at` that the loader relocates to `to`.
    pub fn relocate(&mut self, at: u64, to: u64) {
        let kind: u64 = match self.machine {
            Machine::X86_64 => 8,
            Machine::Aarch64 => 1027,
        };
        for word in [at, kind, to] {
            self.relocations.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// A slot of the linkage table that the loader fills with a function placed before.
    pub fn link(&mut self, slot: u64, name: &str) {
        let named = |symbol: &[u8]| {
            let place = u32::from_le_bytes(symbol[..4].try_into().unwrap()) as usize;
            self.strings[place..].starts_with(name.as_bytes())
        };
        let index = self.symbols.chunks(24).position(named).unwrap() as u64;
        for word in [slot, index << 32 | 7, 0] {
            self.links.extend_from_slice(&word.to_le_bytes());
        }
    }

    pub fn constant(&mut self, text: &[u8]) {
        self.constants.extend_from_slice(text);
    }

    /// All constants of the image; returns their address.
    pub fn constants_here(&mut self, bytes: &[u8]) -> u64 {
        let address = self.place(bytes);
        self.constants_at = Some((address - BASE, bytes.len() as u64));
        address
    }

    /// Places what is known for unwinding of functions and their sizes, with beginnings that
    /// are absolute or relative; returns the table of it, for [`Self::unwind_table`].
    pub fn unwinding(&mut self, functions: &[(u64, u32)], absolute: bool) -> Vec<u8> {
        const LENGTH: u32 = 12;
        let (mut entries, frames) = (Vec::new(), self.next_address());
        let mut pairs = Vec::new();
        for &(start, size) in functions {
            let at = frames + entries.len() as u64;
            let base = if absolute { 0 } else { at + 8 };
            for word in [LENGTH, 0, start.wrapping_sub(base) as u32, size] {
                entries.extend_from_slice(&word.to_le_bytes());
            }
            pairs.push([start, at]);
        }
        self.place(&entries);
        let table = self.next_address();
        let mut header = vec![1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0];
        header.extend_from_slice(&(functions.len() as u32).to_le_bytes());
        for address in pairs.concat() {
            header.extend_from_slice(&(address.wrapping_sub(table) as u32).to_le_bytes());
        }
        header
    }

    /// The table for unwinding the stack; it begins at [`Self::next_address`].
    pub fn unwind_table(&mut self, bytes: &[u8]) {
        let address = self.place(bytes);
        self.unwind_at = Some((address - BASE, bytes.len() as u64));
    }

    pub fn build(mut self) -> Vec<u8> {
        const NAMES: &[u8] =
            b"\0.text\0.dynsym\0.dynstr\0.rela.dyn\0.rodata\0.shstrtab\0.rela.plt\0.eh_frame_hdr\0";
        let tables = [
            (7, 11, std::mem::take(&mut self.symbols), 3),
            (15, 3, std::mem::take(&mut self.strings), 0),
            (23, 4, std::mem::take(&mut self.relocations), 0),
            (33, 1, std::mem::take(&mut self.constants), 0),
            (51, 4, std::mem::take(&mut self.links), 0),
            (41, 3, NAMES.to_vec(), 0),
        ];
        let mut headers = vec![0_u8; 64];
        headers.extend(section(1, 1, 0x78, self.bytes.len() as u64 - 0x78, 0));
        let unwind = self.unwind_at.map(|(at, size)| section(61, 1, at, size, 0));
        for (name, kind, bytes, link) in tables {
            let (offset, size) = match self.constants_at {
                Some(place) if name == 33 => place,
                _ => (self.place(&bytes) - BASE, bytes.len() as u64),
            };
            headers.extend(section(name, kind, offset, size, link));
        }
        // Last, so that the others keep the numbers that link them.
        let names = headers.split_off(headers.len() - 64);
        headers.extend(unwind.unwrap_or_default());
        headers.extend(names);
        let table = self.place(&headers) - BASE;
        self.write_headers(table, (headers.len() / 64) as u16);
        self.bytes
    }

    fn write_headers(&mut self, sections: u64, count: u16) {
        let machine: u16 = match self.machine {
            Machine::X86_64 => 62,
            Machine::Aarch64 => 183,
        };
        let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        head.extend_from_slice(&3_u16.to_le_bytes());
        head.extend_from_slice(&machine.to_le_bytes());
        head.extend_from_slice(&1_u32.to_le_bytes());
        for word in [0, 64, sections] {
            head.extend_from_slice(&word.to_le_bytes());
        }
        head.extend_from_slice(&0_u32.to_le_bytes());
        for half in [64, 56, 1, 64, count, count - 1] {
            head.extend_from_slice(&half.to_le_bytes());
        }
        let size = self.bytes.len() as u64;
        head.extend_from_slice(&1_u32.to_le_bytes());
        head.extend_from_slice(&5_u32.to_le_bytes());
        for word in [0, BASE, BASE, size, size, 0x1000] {
            head.extend_from_slice(&word.to_le_bytes());
        }
        self.bytes[..head.len()].copy_from_slice(&head);
    }
}

fn section(name: u32, kind: u32, offset: u64, size: u64, link: u32) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend_from_slice(&name.to_le_bytes());
    header.extend_from_slice(&kind.to_le_bytes());
    for word in [0, BASE + offset, offset, size] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    header.extend_from_slice(&link.to_le_bytes());
    header.extend_from_slice(&0_u32.to_le_bytes());
    header.extend_from_slice(&1_u64.to_le_bytes());
    header.extend_from_slice(&0_u64.to_le_bytes());
    header
}
