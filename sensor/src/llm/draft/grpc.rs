//! A call in the making whose messages are gRPC's.
//!
//! In: messages of Protocol Buffers. Out: what a dialect reads, as text.

use super::Draft;
use crate::content::Message;
use crate::llm::api::Method;
use crate::llm::rpc;
use crate::llm::text::text;

impl Draft {
    /// The content type of a response whose head does not tell.
    pub fn response_type(&self) -> Option<&'static str> {
        self.method().map(|_| "application/grpc")
    }

    /// A message of gRPC, or gRPC-Web's trailers.
    pub(super) fn rpc_message(&mut self, method: &'static Method, message: Message<'_>) {
        if message.name == Some("trailers") {
            return self.response_trailers(&rpc::trailers(&text(message.data)));
        }
        let text = method.reply.read(message.data);
        if method.streams {
            self.event(message.at, None, &text);
        } else {
            self.whole(&text);
        }
    }

    pub(super) fn method(&self) -> Option<&'static Method> {
        self.route.as_ref()?.method
    }
}
