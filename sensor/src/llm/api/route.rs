//! Which dialect a path belongs to.

use super::{Dialect, anthropic, openai, shape};

/// What a path says.
#[derive(Clone, Debug)]
pub(in crate::llm) struct Route {
    pub(in crate::llm) dialect: &'static dyn Dialect,
    /// The model, where the path names it; percent-encoded.
    pub(in crate::llm) model: Option<Box<str>>,
    /// Whether the reply is a stream, where the path tells.
    pub(in crate::llm) stream: Option<bool>,
    /// Another operation than the dialect's.
    pub(in crate::llm) operation: Option<&'static str>,
}

impl Route {
    pub(super) fn to(dialect: &'static dyn Dialect) -> Self {
        Self {
            dialect,
            model: None,
            stream: None,
            operation: None,
        }
    }

    fn model(mut self, model: &str) -> Self {
        self.model = Some(model.into());
        self
    }

    fn streams(mut self, stream: bool) -> Self {
        self.stream = stream.then_some(true);
        self
    }

    fn operation(mut self, operation: &'static str) -> Self {
        self.operation = Some(operation);
        self
    }
}

/// Segments of a path that are looked at, from its end.
const MAX_SEGMENTS: usize = 16;

/// The dialect of a request to `path` at `provider` (empty where nobody known).
/// `None`: no call, as far as the path tells.
pub(in crate::llm) fn by_path(provider: &str, path: &str) -> Option<Route> {
    let mut segments: smallvec::SmallVec<[&str; MAX_SEGMENTS]> = path
        .rsplit('/')
        .filter(|s| !s.is_empty())
        .take(MAX_SEGMENTS)
        .collect();
    segments.reverse();
    openai_path(provider, &segments).or_else(|| anthropic_path(&segments))
}

fn openai_path(provider: &str, path: &[&str]) -> Option<Route> {
    let route = match path {
        [.., "chat", "completions"] => Route::to(&openai::chat::Chat),
        [.., "agents" | "fim", "completions"] | [.., "prompts", _, "completions"] => {
            Route::to(&openai::chat::Chat)
        }
        [.., "v1", "chat"] if provider == "writer" => Route::to(&openai::chat::Chat),
        [.., "responses"] | [.., "responses", "compact"] => {
            Route::to(&openai::responses::Responses)
        }
        [.., "completions"] => Route::to(&openai::completions::Completions),
        [.., "embeddings"] => Route::to(&openai::embeddings::Embeddings),
        _ => return None,
    };
    // Azure's older paths name the model that was deployed, not the model.
    Some(match path {
        [.., "deployments" | "engines", model, _] | [.., "deployments", model, _, _] => {
            route.model(model)
        }
        _ => route,
    })
}

fn anthropic_path(path: &[&str]) -> Option<Route> {
    match path {
        [.., "v1", "messages"] => Some(Route::to(&anthropic::messages::Messages)),
        [.., "v1", "complete"] => Some(Route::to(&anthropic::complete::Complete)),
        _ => None,
    }
}

/// The dialect of a request whose path is unknown or says nothing, by its body.
pub(in crate::llm) fn by_body(provider: &str, body: &str) -> Option<Route> {
    shape::Shape::of(body)?.route(provider)
}

/// Whether `body` may be a request in this dialect; asked where only the path spoke
/// for it.
pub(in crate::llm) fn fits(dialect: &'static dyn Dialect, body: &str) -> bool {
    shape::Shape::of(body).is_some_and(|shape| shape.fits(dialect.name()))
}
