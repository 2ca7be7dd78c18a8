//! Methods of gRPC services that call models, by the path that names them.

use super::google::proto::{gemini, vertex};
use super::{Dialect, google, openai, xai};
use crate::llm::protobuf::Schema;

/// One method of a service.
#[derive(Debug)]
pub(in crate::llm) struct Method {
    service: &'static Service,
    name: &'static str,
    pub(in crate::llm) dialect: &'static dyn Dialect,
    pub(in crate::llm) request: &'static Schema,
    pub(in crate::llm) reply: &'static Schema,
    /// The reply is a stream of messages.
    pub(in crate::llm) streams: bool,
}

#[derive(Debug)]
struct Service {
    /// Its name; `*` stands for a version.
    name: &'static str,
    /// `gen_ai.provider.name`, where the host says nothing.
    provider: &'static str,
}

/// The method at `/service/name`.
pub(super) fn by_path(path: &[&str]) -> Option<&'static Method> {
    let &[service, name] = path else {
        return None;
    };
    METHODS
        .iter()
        .find(|method| method.name == name && method.service.is(service))
}

impl Method {
    pub(in crate::llm) fn provider(&self) -> &'static str {
        self.service.provider
    }
}

impl Service {
    fn is(&self, name: &str) -> bool {
        let Some((start, end)) = self.name.split_once('*') else {
            return self.name == name;
        };
        let version = name
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(end));
        version.is_some_and(|version| version.starts_with('v') && !version.contains('.'))
    }
}

static CHAT: Service = Service {
    name: "xai_api.Chat",
    provider: "x_ai",
};
static IMAGE: Service = Service {
    name: "xai_api.Image",
    provider: "x_ai",
};
static GEMINI: Service = Service {
    name: "google.ai.generativelanguage.*.GenerativeService",
    provider: "gcp.gemini",
};
static VERTEX: Service = Service {
    name: "google.cloud.aiplatform.*.PredictionService",
    provider: "gcp.vertex_ai",
};

const fn unary(
    service: &'static Service,
    name: &'static str,
    dialect: &'static dyn Dialect,
    [request, reply]: [&'static Schema; 2],
) -> Method {
    Method {
        service,
        name,
        dialect,
        request,
        reply,
        streams: false,
    }
}

const fn streaming(
    service: &'static Service,
    name: &'static str,
    dialect: &'static dyn Dialect,
    messages: [&'static Schema; 2],
) -> Method {
    Method {
        streams: true,
        ..unary(service, name, dialect, messages)
    }
}

#[rustfmt::skip]
static METHODS: [Method; 10] = [
    unary(&CHAT, "GetCompletion", &xai::Chat, [&xai::schema::REQUEST, &xai::schema::REPLY]),
    streaming(&CHAT, "GetCompletionChunk", &xai::Chat, [&xai::schema::REQUEST, &xai::schema::CHUNK]),
    unary(&IMAGE, "GenerateImage", &openai::images::Images, [&xai::schema::IMAGE_REQUEST, &xai::schema::IMAGES]),
    unary(&GEMINI, "GenerateContent", &google::generate::Generate, [&gemini::REQUEST, &gemini::REPLY]),
    streaming(&GEMINI, "StreamGenerateContent", &google::generate::Generate, [&gemini::REQUEST, &gemini::REPLY]),
    unary(&GEMINI, "EmbedContent", &google::embed::Embed, [&gemini::EMBED_REQUEST, &gemini::EMBEDDED]),
    unary(&GEMINI, "BatchEmbedContents", &google::embed::Embed, [&gemini::BATCH_EMBED_REQUEST, &gemini::BATCH_EMBEDDED]),
    unary(&VERTEX, "GenerateContent", &google::generate::Generate, [&vertex::REQUEST, &vertex::REPLY]),
    streaming(&VERTEX, "StreamGenerateContent", &google::generate::Generate, [&vertex::REQUEST, &vertex::REPLY]),
    unary(&VERTEX, "EmbedContent", &google::embed::Embed, [&vertex::EMBED_REQUEST, &vertex::EMBEDDED]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_by_name_and_version() {
        let found = |service, name| by_path(&[service, name]).map(Method::provider);
        assert_eq!(found("xai_api.Chat", "GetCompletion"), Some("x_ai"));
        assert_eq!(found("xai_api.Chat", "GetStoredCompletion"), None);
        for version in ["v1", "v1beta", "v1alpha"] {
            let service = format!("google.ai.generativelanguage.{version}.GenerativeService");
            let provider = by_path(&[&service, "StreamGenerateContent"]).map(Method::provider);
            assert_eq!(provider, Some("gcp.gemini"));
        }
        for service in [
            "google.ai.generativelanguage.GenerativeService",
            "google.ai.generativelanguage..GenerativeService",
            "google.ai.generativelanguage.v1.x.GenerativeService",
            "google.cloud.aiplatform.v1.EndpointService",
        ] {
            assert_eq!(found(service, "GenerateContent"), None, "{service}");
        }
        assert!(by_path(&["a", "xai_api.Chat", "GetCompletion"]).is_none());
    }
}
