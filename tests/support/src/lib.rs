//! A server that answers as LLM providers do.
//!
//! It stands for cloud endpoints, which tests can't have: the wire formats are the
//! providers' (OpenAI, Anthropic, Bedrock, Gemini, xAI's gRPC, Ollama), the words are
//! not a model's. In: HTTP/1.1 and HTTP/2 over TLS with a certificate made on the fly,
//! and both without TLS. Out: replies, and the [`Exchange`]s that truly took place.
//!
//! A client chooses what happens by fields of its request:
//!
//! | field | effect |
//! |---|---|
//! | `x-test-pause-ms` | time between two pieces of a streamed reply |
//! | `x-test-coding` | `gzip` or `br`: codes the reply, flushing after each piece |
//! | `x-test-status` | 401, 429 or 500: an error in the provider's form |
//! | `x-test-words` | how many more words the reply gets |
//!
//! Its TLS is rustls, which the sensor sees, too: a call is told by both of its ends, as
//! one of kind `client` and one of kind `server`.

mod body;
mod certificate;
pub mod collector;
mod event_stream;
pub mod kubernetes;
mod log;
mod protobuf;
mod reply;
mod server;

pub use certificate::{Mutual, make_mutual};
pub use log::Exchange;
pub use reply::{RATE_LIMIT_LEFT, SET_COOKIE, text_of};
pub use server::{Options, Server};
