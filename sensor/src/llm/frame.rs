//! What heads alone tell of a call: who was called, where, and how it was answered.

use super::attr::{self, Attributes};
use super::call::Server;
use super::fields;
use super::provider::{self, Provider};
use super::rpc;
use super::usage::Tokens;
use crate::event::{Origin, Role};
use crate::http::{Fields, RequestHead, ResponseHead, TraceContext};

#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) provider: Option<&'static Provider>,
    pub(super) server: Server,
    pub(super) thread: Option<u32>,
    pub(super) goroutine: Option<u32>,
    pub(super) context: Option<TraceContext>,
    /// Some field of a head was hidden.
    pub(super) inferred: bool,
    /// Attributes that heads and trailers give.
    pub(super) attributes: Attributes,
    /// Counts that the response's head gives.
    pub(super) tokens: Tokens,
    /// The response's content is of bytes that hold no text.
    pub(super) binary: bool,
    /// How a gRPC call ended.
    pub(super) rpc: Option<rpc::Status>,
    /// What the server calls itself, where its host says nothing.
    software: Option<&'static str>,
}

impl Frame {
    pub(super) fn of(head: &RequestHead, origin: &Origin) -> Self {
        let socket = match origin.role {
            Some(Role::Server) => origin.local,
            _ => origin.peer,
        };
        let host = head.host().or(origin.sni.as_deref());
        let port = head.port().or(socket.map(|socket| socket.port()));
        let address = host.map(Box::from);
        Self {
            provider: provider::identify(host, port),
            server: Server {
                region: host.and_then(provider::region::of_host).map(Box::from),
                address: address.or_else(|| socket.map(|socket| socket.ip().to_string().into())),
                port,
                path: head.target.is_some().then(|| head.path().into()),
                user_agent: head.fields.first("user-agent").map(Into::into),
                ..Server::default()
            },
            thread: origin.tid,
            goroutine: origin.goroutine,
            context: TraceContext::of(&head.fields),
            inferred: head.partial,
            attributes: asked(&head.fields),
            tokens: Tokens::default(),
            binary: false,
            rpc: None,
            software: None,
        }
    }

    /// Whether a request whose path says nothing may still be a call. At a known provider
    /// it is none, unless it speaks MCP or its path was not seen.
    pub(super) fn body_may_tell(&self, head: &RequestHead) -> bool {
        let content_type = head.fields.first("content-type").unwrap_or_default();
        let unseen = head.target.is_none();
        let readable = unseen || content_type.is_empty() || content_type.contains("json");
        let nobody = self.provider.is_none() || unseen;
        readable && (nobody || head.path().split('/').any(|segment| segment == "mcp"))
    }

    pub(super) fn answered(&mut self, head: &ResponseHead) {
        self.inferred |= head.partial;
        self.server.status = head.status;
        if self.server.region.is_none()
            && let Some(value) = head.fields.first("x-ms-region")
        {
            self.server.region = provider::region::of_azure_field(value);
        }
        self.server.request_id = fields::request_id(&head.fields);
        self.trailers(&head.fields);
        self.binary = head
            .fields
            .first("content-type")
            .is_some_and(fields::is_binary);
        if head.fields.first("server") == Some("llama.cpp") {
            self.software = Some("llamacpp");
        }
    }

    pub(super) fn trailers(&mut self, fields: &Fields) {
        fields::response(fields, &mut self.attributes);
        self.tokens.update(fields::tokens(fields));
        if let Some(status) = rpc::Status::of(fields) {
            self.attributes
                .header(attr::RPC_STATUS, Some(&status.name()));
            self.rpc = Some(status);
        }
    }

    /// Name of the provider; empty where host and port say nothing.
    pub(super) fn known(&self) -> &'static str {
        self.provider.map_or("", |p| p.name)
    }

    /// Name of the provider of a call in a dialect whose home is `otherwise`.
    pub(super) fn provider(&self, otherwise: &'static str) -> &'static str {
        let by_host = self.provider.map(|p| p.name);
        by_host.or(self.software).unwrap_or(otherwise)
    }

    pub(super) fn failed(&self) -> Option<u16> {
        self.server.status.filter(|status| *status >= 400)
    }
}

/// Attributes that a request's head gives.
fn asked(fields: &Fields) -> Attributes {
    let mut attributes = Attributes::default();
    for (field, name) in [
        ("mcp-protocol-version", attr::MCP_PROTOCOL),
        ("mcp-session-id", attr::MCP_SESSION),
    ] {
        attributes.header(name, fields.first(field));
    }
    attributes
}
