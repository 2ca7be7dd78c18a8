//! What came through the hooks of a file, and whether that is what should.
//!
//! In: the beginnings of payloads. Out: a [`Judgement`]. Must not know: connections; which
//! hook a payload came from.
//!
//! Any protocol may cross TLS, so that bytes which say nothing speak against nobody. What
//! does is ciphertext where plaintext should be, and arguments that cannot be any.

use std::sync::atomic::{AtomicU64, Ordering};

/// Connections whose first bytes are ciphertext, beyond which it is not chance: a tunnel
/// that was joined midway looks so, too.
const ENCRYPTED: u64 = 8;
/// Calls with arguments that no call of such a function has.
const MISFITS: u64 = 16;

/// Of one file, over all processes.
#[derive(Debug, Default)]
pub struct Tally {
    /// Payloads that are evidently plaintext.
    plain: AtomicU64,
    /// Connections that began with ciphertext.
    encrypted: AtomicU64,
    misfits: AtomicU64,
}

/// Whether hooks show what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing has come that tells.
    Open,
    /// Plaintext has come.
    Verified,
    Refuted(Refutation),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refutation {
    #[error("withdrawn: what the hooks show is encrypted")]
    Encrypted,
    #[error("withdrawn: what the hooks are called with is no plaintext and no length")]
    Misfit,
}

impl Tally {
    pub fn plain(&self) {
        self.plain.fetch_add(1, Ordering::Relaxed);
    }

    pub fn encrypted(&self) {
        self.encrypted.fetch_add(1, Ordering::Relaxed);
    }

    pub fn misfits(&self, count: u64) {
        self.misfits.fetch_add(count, Ordering::Relaxed);
    }

    /// One proof outweighs everything: tunnels are ciphertext, and a program may pass
    /// what is not there.
    pub fn judgement(&self) -> Judgement {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        if of(&self.plain) > 0 {
            Judgement::Verified
        } else if of(&self.encrypted) >= ENCRYPTED {
            Judgement::Refuted(Refutation::Encrypted)
        } else if of(&self.misfits) >= MISFITS {
            Judgement::Refuted(Refutation::Misfit)
        } else {
            Judgement::Open
        }
    }
}

/// What the beginning of a payload looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Text, or a frame of HTTP/2.
    Plain,
    /// A TLS record.
    Encrypted,
    /// It may be anything.
    Other,
}

pub fn look(payload: &[u8]) -> Look {
    if is_record(payload) {
        Look::Encrypted
    } else if is_text(payload) || is_frame(payload) {
        Look::Plain
    } else {
        Look::Other
    }
}

/// Content type, version and length as RFC 8446, section 5.1, has them.
fn is_record(payload: &[u8]) -> bool {
    let Some(&[kind, major, minor, high, low]) = payload.first_chunk::<5>() else {
        return false;
    };
    let length = u16::from_be_bytes([high, low]);
    matches!(kind, 0x14..=0x17)
        && major == 3
        && minor <= 4
        && (1..=(1 << 14) + 2048).contains(&length)
}

/// Bytes looked at, and how many say anything.
const LOOKED_AT: usize = 64;
const ENOUGH: usize = 8;

/// Letters, signs and line ends alone, in UTF-8.
fn is_text(payload: &[u8]) -> bool {
    let head = payload.get(..LOOKED_AT).unwrap_or(payload);
    let is_sign = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
    let whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        // A letter may be cut in two.
        Err(error) => error.error_len().is_none(),
    };
    head.len() >= ENOUGH && whole && head.iter().all(is_sign)
}

/// The head of a frame of HTTP/2, of a kind that opens a stream or speaks of all
/// (RFC 9113, sections 4.1 and 6).
fn is_frame(payload: &[u8]) -> bool {
    let Some(&[a, b, c, kind, flags, stream @ ..]) = payload.first_chunk::<9>() else {
        return false;
    };
    let (length, stream) = (u32::from_be_bytes([0, a, b, c]), u32::from_be_bytes(stream));
    let of_all = stream == 0;
    match kind {
        // HEADERS
        1 => !of_all && stream >> 31 == 0 && flags & !0x2d == 0 && (1..=1 << 14).contains(&length),
        // SETTINGS
        4 => of_all && length % 6 == 0 && length <= 600 && flags & !1 == 0,
        // PING
        6 => of_all && length == 8 && flags & !1 == 0,
        // WINDOW_UPDATE
        8 => stream >> 31 == 0 && length == 4 && flags == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_payloads_look_like() {
        assert_eq!(look(b"POST /v1/messages HTTP/1.1\r\n"), Look::Plain);
        assert_eq!(look(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Look::Plain);
        assert_eq!(look("data: {\"x\": \"漢字\"}".as_bytes()), Look::Plain);
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        assert_eq!(look(&settings), Look::Plain);
        let headers = [0, 0, 40, 1, 4, 0, 0, 0, 1, 0x82];
        assert_eq!(look(&headers), Look::Plain);
        assert_eq!(look(&[0x17, 3, 3, 0, 80, 9, 9, 9, 9, 9]), Look::Encrypted);
        assert_eq!(look(&[0x16, 3, 1, 2, 0, 1]), Look::Encrypted);
        // PostgreSQL's first message, which is as good as any.
        assert_eq!(look(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]), Look::Other);
        // A content type, but no length that a record may have.
        assert_eq!(look(&[0x17, 3, 3, 0xff, 0xff, 0]), Look::Other);
        assert_eq!(look(b"ab"), Look::Other, "too little to tell");
        assert_eq!(look(&[]), Look::Other);
    }

    #[test]
    fn a_letter_cut_in_two_is_still_text() {
        let text = "ab".to_owned() + &"漢".repeat(40);
        assert_eq!(look(text.as_bytes()), Look::Plain);
        assert_eq!(look(b"text, and then \xff\xfe"), Look::Other);
    }

    #[test]
    fn one_proof_outweighs_what_speaks_against() {
        let tally = Tally::default();
        assert_eq!(tally.judgement(), Judgement::Open);
        (0..ENCRYPTED).for_each(|_| tally.encrypted());
        let refuted = Judgement::Refuted(Refutation::Encrypted);
        assert_eq!(tally.judgement(), refuted);
        tally.plain();
        assert_eq!(tally.judgement(), Judgement::Verified);
    }

    #[test]
    fn a_few_oddities_refute_nothing() {
        let tally = Tally::default();
        tally.misfits(MISFITS - 1);
        (1..ENCRYPTED).for_each(|_| tally.encrypted());
        assert_eq!(tally.judgement(), Judgement::Open);
        tally.misfits(1);
        let refuted = Judgement::Refuted(Refutation::Misfit);
        assert_eq!(tally.judgement(), refuted);
    }
}
