//! What to attach to one image, and why.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::site::{Convention, Wanted};

/// What an image that holds a TLS implementation comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    Hooks(HookPlan),
    Unsupported(Unsupported),
}

/// TLS that is there and cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsupported {
    /// As in [`HookPlan::library`].
    pub library: Cow<'static, str>,
    /// One sentence for `llmtap doctor`.
    pub reason: Cow<'static, str>,
}

/// The probes that one image (library or executable) gets, and how they were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPlan {
    /// As a capture spells it: `openssl`, `boringssl`, `go`, …
    pub library: Cow<'static, str>,
    /// As the library names itself, `3.0.22`.
    pub version: Option<Box<str>>,
    pub found_by: FoundBy,
    pub hooks: Vec<Hook>,
    /// One sentence a fact, for `llmtap doctor`.
    pub evidence: Vec<String>,
}

/// What tells where to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FoundBy {
    /// The names of the functions themselves.
    Symbol,
    /// The pair of internal functions that all that are named call.
    Pair,
    /// A table that the runtime keeps of its functions, and the shape of their code.
    Table,
    /// What code without names refers to.
    Pattern,
}

impl FoundBy {
    /// Whether it may be another function that has this form by chance.
    pub const fn may_err(self) -> bool {
        matches!(self, Self::Table | Self::Pattern)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Symbol => "symbol",
            Self::Pair => "pair",
            Self::Table => "table",
            Self::Pattern => "pattern",
        }
    }
}

/// One function to observe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub function: Function,
    pub entry: Site,
    /// `None`: the entry alone tells all.
    pub exit: Option<Exit>,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Offset in the file, not an address.
    pub offset: u64,
    pub cost: SiteCost,
}

/// What a probe costs there (see `discover::site`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SiteCost {
    /// The kernel emulates the instruction: under a microsecond.
    Emulated,
    /// The kernel single-steps it out of line: some ten times more.
    Stepped,
}

/// How the end of a call is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// A return probe at the entry site.
    Return,
    /// A plain probe on each return instruction (where a return probe would break the
    /// program: pointer authentication on aarch64).
    Sites(Vec<Site>),
}

/// What is called, by the meaning of its arguments and result.
///
/// `ssl` is the TLS object, `buf` and `num` the caller's buffer and its length. Arguments
/// are those of the C calling convention, but for Go's: there they are in rax, rbx, rcx or
/// in x0, x1, x2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Function {
    /// `(ssl, buf, num) -> bytes read, <= 0: none`
    Read,
    /// NSPR's `PR_Recv(fd, buf, num, flags, …) -> bytes read`, where flags may say that
    /// they are only looked at.
    Recv,
    /// `(ssl, buf, num, *done) -> 1: ok`; also OpenSSL's internal read and its method slot.
    ReadEx,
    /// `(ssl, buf, num) -> bytes written`
    Write,
    /// `(ssl, buf, num, *done) -> 1: ok`; also the internal write of 1.1.1 and 3.0 to 3.2.
    WriteEx,
    /// `(ssl, buf, num, flags, *done) -> 1: ok`; also the internal write from 3.3.
    WriteEx2,
    /// `(ssl, fd, offset, size, flags) -> bytes written`, which never were in memory.
    SendFile,
    /// `(ssl)`: the object is freed and its address may be reused.
    Free,
    /// `(ssl, fd)`
    SetFd,
    /// `(ssl, rbio, wbio)`
    SetBio,
    /// `(ssl, cmd, larg, parg)`: the server name, where cmd is 55.
    Ctrl,
    /// Inside Go's `(*tls.Conn).Read`, at its call of `memmove(to, from, n)`: n bytes of
    /// plaintext at `from` are handed out. The connection's pointer is `connection` bytes
    /// above the stack pointer.
    GoRead { connection: u32 },
    /// Inside Go's `(*tls.Conn).Write`, at its call of `writeRecordLocked(conn, type, buf,
    /// num, …)`: the handshake is over, and nobody else writes now.
    GoWrite,
    /// Go's `(*tls.Conn).Close(conn)`.
    GoClose,
    /// `(*persistConn).roundTrip(pc, req)` of Go's `net/http`: the running goroutine asks for
    /// what is written next to the connection of `pc`.
    GoHttp1Asks,
    /// `(*ClientConn).roundTrip(cc, req)` of Go's HTTP/2: the running goroutine asks for what
    /// another will write.
    GoHttp2Asks,
    /// `(*clientStream).writeRequest(cs, req)` of Go's HTTP/2: the running goroutine is that
    /// other.
    GoHttp2Writes,
    /// `EVP_AEAD_CTX_seal(ctx, out, *out_len, max, nonce, nonce_len, in, in_len, ad, ad_len)`:
    /// encrypts one record. Here and below `ctx` is a key and not a connection.
    AeadSeal,
    /// `EVP_AEAD_CTX_seal_scatter(ctx, out, tag, *tag_len, max, nonce, nonce_len, in, in_len,
    /// extra, extra_len, ad, ad_len)`
    AeadSealScatter,
    /// `EVP_AEAD_CTX_open(ctx, out, *out_len, max, nonce, nonce_len, in, in_len, ad, ad_len)
    /// -> 1: ok`
    AeadOpen,
    /// `EVP_AEAD_CTX_open_gather(ctx, out, nonce, nonce_len, in, in_len, tag, tag_len, ad,
    /// ad_len) -> 1: ok`
    AeadOpenGather,
    /// ring's `(key, nonce, aad, aad_len, in_out, len) -> Result<Tag, _>`
    RingSeal,
    /// ring's `(key, nonce, aad, aad_len, in_out, len, src) -> Result<Tag, _>`: what is
    /// decrypted moves from `src` to the beginning.
    RingOpen,
}

impl Function {
    /// What a probe at the function's beginning must see of a call.
    pub const fn wanted(self) -> Wanted {
        let (convention, arguments, result) = match self {
            Self::Read | Self::Write => (Convention::C, 3, true),
            Self::ReadEx | Self::WriteEx | Self::Recv => (Convention::C, 4, true),
            Self::WriteEx2 => (Convention::C, 5, true),
            Self::Free => (Convention::C, 1, false),
            Self::SetFd => (Convention::C, 2, false),
            Self::SetBio => (Convention::C, 3, false),
            Self::Ctrl => (Convention::C, 4, false),
            Self::SendFile => (Convention::C, 4, true),
            Self::GoRead { .. } => (Convention::Go, 3, false),
            Self::GoWrite => (Convention::Go, 4, false),
            Self::GoClose => (Convention::Go, 1, false),
            Self::GoHttp1Asks | Self::GoHttp2Asks | Self::GoHttp2Writes => {
                (Convention::Go, 2, false)
            }
            Self::AeadSeal => (Convention::C, 10, false),
            Self::AeadSealScatter => (Convention::C, 13, false),
            Self::AeadOpen | Self::AeadOpenGather => (Convention::C, 10, true),
            // The result is larger than registers: its address comes before the rest.
            Self::RingSeal => (Convention::C, 7, false),
            Self::RingOpen => (Convention::C, 8, true),
        };
        Wanted {
            convention,
            arguments,
            result,
        }
    }
}
