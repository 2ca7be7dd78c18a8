//! ring, and how its encryption of records is found in a program without symbols.
//!
//! ring calls an algorithm by the pointers of a constant structure, `Algorithm { init,
//! seal, open, key_len, id }`. AES with both lengths of key shares `seal` and `open`, and
//! ChaCha20 has its own: no other data has that form. The functions behind are above ring's
//! own choice of code by processor.

use std::collections::BTreeMap;

use super::super::image::{Image, ImageError};
use super::super::plan::Function;
use super::super::symbols;
use super::Hooks;

/// Pointers to code that the loader relocates, beyond which an image is not searched.
const MAX_POINTERS: usize = 1 << 22;
/// Structures that may be one, kept.
const MAX_CANDIDATES: usize = 1 << 12;
/// Most code of one function that is read.
const MAX_FUNCTION: u64 = 0x1000;
/// Bytes of the structure.
const SIZE: usize = 40;

/// `key_len` and `id` of the algorithms.
const AES_128: (u64, u64) = (16, 0);
const AES_256: (u64, u64) = (32, 1);
const CHACHA20: (u64, u64) = (32, 2);

/// What may be an `Algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    init: u64,
    seal: u64,
    open: u64,
    kind: (u64, u64),
}

/// Hooks the algorithms, if the image has them; whether it does.
pub fn hook(hooks: &mut Hooks<'_>) -> Result<bool, ImageError> {
    let mut any = false;
    for algorithm in algorithms(&candidates(hooks.image)?) {
        let name = if algorithm.kind == CHACHA20 {
            "ChaCha20"
        } else {
            "AES-GCM"
        };
        for (function, address, verb) in [
            (Function::RingSeal, algorithm.seal, "seal"),
            (Function::RingOpen, algorithm.open, "open"),
        ] {
            let what = format!("ring's {name} {verb}, by its table of algorithms");
            let extent = address..address.saturating_add(MAX_FUNCTION);
            any |= hooks.place(function, &extent, MAX_FUNCTION, &what)?;
        }
    }
    Ok(any)
}

/// Those that are ring's: one for AES with the functions of both lengths of key, and one
/// for ChaCha20.
fn algorithms(candidates: &[Candidate]) -> Vec<Candidate> {
    let of = |kind| candidates.iter().filter(move |c| c.kind == kind);
    let mut pairs = of(AES_128).filter(|small| {
        of(AES_256).any(|large| {
            (small.seal, small.open) == (large.seal, large.open) && small.init != large.init
        })
    });
    let Some(aes) = pairs.next().copied().filter(|_| pairs.next().is_none()) else {
        return Vec::new();
    };
    let mut others = of(CHACHA20).filter(|c| c.seal != aes.seal && c.open != aes.open);
    let chacha = others.next().copied().filter(|_| others.next().is_none());
    std::iter::once(aes).chain(chacha).collect()
}

/// All structures of the right form, relocated by the loader or as they are in the file.
fn candidates(image: &Image<'_>) -> Result<Vec<Candidate>, ImageError> {
    let mut found = relocated(image)?;
    if !algorithms(&found).is_empty() {
        return Ok(found);
    }
    for segment in image
        .segments
        .iter()
        .filter(|s| s.writable && !s.executable)
    {
        let range = segment.offset..segment.offset.saturating_add(segment.size);
        // Pieces begin on multiples of eight, as far as the segment does.
        image.pieces(range, SIZE.saturating_sub(8), |_, bytes, _| {
            let words: Vec<u64> = bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|w| u64::from_le_bytes(*w))
                .collect();
            for window in words.windows(SIZE / 8) {
                let &[init, seal, open, length, id] = window else {
                    continue;
                };
                found.extend(
                    candidate(image, [init, seal, open], (length, id))
                        .filter(|_| found.len() < MAX_CANDIDATES),
                );
            }
        })?;
    }
    found.sort_by_key(|c| (c.kind, c.init, c.seal, c.open));
    found.dedup();
    Ok(found)
}

/// Those whose pointers stand in the table of relocations.
fn relocated(image: &Image<'_>) -> Result<Vec<Candidate>, ImageError> {
    let mut pointers = BTreeMap::new();
    symbols::relocations(image, |at, value| {
        if pointers.len() < MAX_POINTERS && image.code_offset(value).is_some() {
            pointers.insert(at, value);
        }
    })?;
    let mut found = Vec::new();
    let at = |place: u64, distance| pointers.get(&place.wrapping_add(distance)).copied();
    for (&place, &init) in &pointers {
        let (Some(seal), Some(open), None) = (at(place, 8), at(place, 16), at(place, 24)) else {
            continue;
        };
        let rest = image.loaded(place.wrapping_add(24), 16)?;
        let word = |at: usize| Some(u64::from_le_bytes(*rest.get(at..)?.first_chunk()?));
        let (Some(length), Some(id)) = (word(0), word(8)) else {
            continue;
        };
        found.extend(
            candidate(image, [init, seal, open], (length, id))
                .filter(|_| found.len() < MAX_CANDIDATES),
        );
    }
    Ok(found)
}

fn candidate(image: &Image<'_>, pointers: [u64; 3], kind: (u64, u64)) -> Option<Candidate> {
    let [init, seal, open] = pointers;
    let known = [AES_128, AES_256, CHACHA20].contains(&kind);
    let distinct = init != seal && seal != open && init != open;
    let code = known && distinct && pointers.iter().all(|&p| image.code_offset(p).is_some());
    code.then_some(Candidate {
        init,
        seal,
        open,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::examine_bytes;
    use super::super::super::image::Machine;
    use super::super::super::plan::Finding;
    use super::super::super::synthetic::{BASE, Builder};
    use super::*;

    const AES: (u64, u64) = (1, 2);

    #[test]
    fn only_the_form_of_its_three_algorithms_is_taken() {
        let candidate = |init, (seal, open), kind| Candidate {
            init,
            seal,
            open,
            kind,
        };
        let small = candidate(10, AES, AES_128);
        let large = candidate(11, AES, AES_256);
        let chacha = candidate(12, (3, 4), CHACHA20);
        let stray = candidate(13, (5, 6), AES_256);
        assert_eq!(algorithms(&[small, large, chacha, stray]), [small, chacha]);
        assert_eq!(algorithms(&[small, large]), [small]);
        assert_eq!(algorithms(&[small, chacha, stray]), []);
        // Two of ChaCha20 are one too many.
        let other = candidate(14, (7, 8), CHACHA20);
        assert_eq!(algorithms(&[small, large, chacha, other]), [small]);
        let of_same = candidate(10, AES, AES_256);
        assert_eq!(
            algorithms(&[small, of_same]),
            [],
            "one function to set up two keys"
        );
    }

    #[test]
    fn its_tables_are_found_where_the_loader_relocates_them() {
        let mut builder = Builder::new(Machine::X86_64);
        let name: Vec<u8> = [b"/rustls".as_slice(), b"-0.23.46/src/conn.rs"].concat();
        builder.constant(&name);
        let functions: Vec<u64> = (0..7).map(|_| builder.place(b"\x55\xc3")).collect();
        let tables = [
            ([0, 1, 2], AES_128),
            ([3, 1, 2], AES_256),
            ([4, 5, 6], CHACHA20),
        ];
        for (pointers, (length, id)) in tables {
            let mut table = vec![0; 24];
            table.extend(length.to_le_bytes());
            table.extend(id.to_le_bytes());
            let place = builder.place(&table);
            for (index, pointer) in pointers.into_iter().enumerate() {
                builder.relocate(place + 8 * index as u64, functions[pointer]);
            }
        }
        let Some(Finding::Hooks(plan)) = examine_bytes(&builder.build().as_slice()).unwrap() else {
            panic!("no hooks")
        };
        assert_eq!(plan.library, "rustls");
        let found: Vec<_> = plan
            .hooks
            .iter()
            .map(|h| (h.function, h.entry.offset))
            .collect();
        let at = |index: usize| functions[index] - BASE;
        assert_eq!(
            found,
            [
                (Function::RingSeal, at(1)),
                (Function::RingOpen, at(2)),
                (Function::RingSeal, at(5)),
                (Function::RingOpen, at(6)),
            ]
        );
    }
}
