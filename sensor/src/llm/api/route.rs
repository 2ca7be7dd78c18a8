//! Which dialect a path belongs to.

use smallvec::SmallVec;

use super::rpc::{self, Method};
use super::{
    Dialect, anthropic, aws, cohere, google, llamacpp, mistral, ollama, openai, rerank, shape, tgi,
    watsonx, workers,
};

/// What a path says.
#[derive(Clone, Debug)]
pub(in crate::llm) struct Route {
    pub(in crate::llm) dialect: &'static dyn Dialect,
    /// The model, where the path names it; percent-encoded.
    pub(in crate::llm) model: Option<Box<str>>,
    /// Set where the path says that the reply is a stream.
    pub(in crate::llm) stream: Option<bool>,
    /// Agent and conversation, where the path names them.
    pub(in crate::llm) agent: Option<(Box<str>, Box<str>)>,
    /// Set where the messages are gRPC's.
    pub(in crate::llm) method: Option<&'static Method>,
    /// Whether a reply is needed to be sure that this is a call.
    pub(in crate::llm) guessed: bool,
    /// What answers at the path may speak one of several dialects; the body tells.
    open: bool,
}

impl Route {
    pub(in crate::llm) fn to(dialect: &'static dyn Dialect) -> Self {
        Self {
            dialect,
            model: None,
            stream: None,
            agent: None,
            method: None,
            guessed: false,
            open: false,
        }
    }

    pub(super) fn guess(dialect: &'static dyn Dialect) -> Self {
        Self {
            guessed: true,
            ..Self::to(dialect)
        }
    }

    fn of_method(method: &'static Method) -> Self {
        Self {
            method: Some(method),
            stream: method.streams.then_some(true),
            ..Self::to(method.dialect)
        }
    }

    fn model(mut self, model: &str) -> Self {
        self.model = Some(model.into());
        self
    }

    fn streaming(mut self) -> Self {
        self.stream = Some(true);
        self
    }

    fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// Takes the dialect of `body`, where the path leaves that to it.
    pub(in crate::llm) fn settle(&mut self, body: &str) {
        if self.open
            && let Some(dialect) = shape::invoked(body)
        {
            self.guessed |= dialect.name() != self.dialect.name();
            self.dialect = dialect;
        }
    }

    fn agent(mut self, agent: &str, session: &str) -> Self {
        self.agent = Some((agent.into(), session.into()));
        self
    }
}

/// Segments of a path that are looked at, from its end.
const MAX_SEGMENTS: usize = 16;

/// The dialect of a request to `path` at `provider` (empty where nobody known).
/// `None`: no call, as far as the path tells.
pub(in crate::llm) fn by_path(provider: &str, path: &str) -> Option<Route> {
    let mut segments: SmallVec<[&str; MAX_SEGMENTS]> = path
        .rsplit('/')
        .filter(|s| !s.is_empty())
        .take(MAX_SEGMENTS)
        .collect();
    segments.reverse();
    if let Some(method) = rpc::by_path(&segments) {
        return Some(Route::of_method(method));
    }
    let own = match provider {
        "cohere" => cohere_path(&segments),
        "writer" => writer_path(&segments),
        "huggingface" => huggingface_path(&segments),
        "mistral_ai" => mistral_path(&segments),
        "ai21" => ai21_path(&segments),
        "snowflake" => snowflake_path(&segments),
        "perplexity" => perplexity_path(&segments),
        _ => None,
    };
    own.or_else(|| workers_path(&segments))
        .or_else(|| google_path(&segments))
        .or_else(|| aws_path(&segments))
        .or_else(|| openai_path(&segments))
        .or_else(|| anthropic_path(&segments))
        .or_else(|| native_path(&segments))
}

fn openai_path(path: &[&str]) -> Option<Route> {
    let dialect: &'static dyn Dialect = match path {
        // A job: its outcome is fetched later.
        [.., "async", "chat", "completions"] => return None,
        [.., "chat", "completions"] => &openai::chat::Chat,
        [.., "agents" | "fim", "completions"] => &openai::chat::Chat,
        [.., "prompts", _, "completions"] => &openai::chat::Chat,
        [.., "responses"] | [.., "responses", "compact"] => &openai::responses::Responses,
        [.., "completions"] => &openai::completions::Completions,
        [.., "text", "chatcompletion_v2"] => &openai::chat::Chat,
        [
            ..,
            "embeddings" | "multimodalembeddings" | "contextualizedembeddings",
        ] if !path.ends_with(&["api", "embeddings"]) => &openai::embeddings::Embeddings,
        [.., "embeddings", "multimodal"] => &openai::embeddings::Embeddings,
        [.., "images", "generations" | "edits" | "variations"] => &openai::images::Images,
        [.., "audio", "transcriptions" | "translations"] => &openai::audio::Transcription,
        [.., "audio", "speech"] => &openai::audio::Speech,
        [.., "moderations"] => &openai::moderations::Moderations,
        [.., "threads", _, "runs"] | [.., "threads", "runs"] => &openai::assistants::Assistants,
        [.., "runs", _, "submit_tool_outputs"] => &openai::assistants::Assistants,
        [.., "rerank" | "reranking"] => &rerank::Rerank,
        _ => return None,
    };
    // Azure's older paths name what was deployed.
    let deployment = path
        .iter()
        .position(|s| matches!(*s, "deployments" | "engines"));
    let model = deployment.and_then(|at| path.get(at.saturating_add(1)));
    let route = Route::to(dialect);
    Some(model.map_or(route.clone(), |model| route.model(model)))
}

fn anthropic_path(path: &[&str]) -> Option<Route> {
    match path {
        [.., "v1", "messages"] => Some(Route::to(&anthropic::messages::Messages)),
        [.., "v1", "complete"] => Some(Route::to(&anthropic::complete::Complete)),
        _ => None,
    }
}

/// `…/models/{model}:{verb}`, and interactions.
fn google_path(path: &[&str]) -> Option<Route> {
    let (publisher, last) = match path {
        [.., "v1beta" | "v1" | "v1alpha" | "v1beta1", "interactions"] => {
            return Some(Route::to(&google::interactions::Interactions));
        }
        [.., "publishers", publisher, "models", last] => (Some(*publisher), *last),
        [.., last] => (None, *last),
        [] => return None,
    };
    let (model, verb) = last.rsplit_once(':')?;
    let route = match (verb, publisher) {
        ("generateContent", _) => Route::to(&google::generate::Generate),
        ("streamGenerateContent", _) => Route::to(&google::generate::Generate).streaming(),
        ("embedContent" | "batchEmbedContents", _) => Route::to(&google::embed::Embed),
        ("rawPredict", Some("anthropic")) => Route::to(&anthropic::messages::Messages),
        ("streamRawPredict", Some("anthropic")) => {
            Route::to(&anthropic::messages::Messages).streaming()
        }
        ("rawPredict", Some(_)) => Route::to(&openai::chat::Chat),
        ("streamRawPredict", Some(_)) => Route::to(&openai::chat::Chat).streaming(),
        ("predict", Some("google")) if model.contains("embedding") => {
            Route::to(&google::embed::Embed)
        }
        ("predict", Some("google")) | ("predict", None) if model.starts_with("image") => {
            Route::to(&openai::images::Images)
        }
        _ => return None,
    };
    // Code Assist has one path for all models.
    let named = !model.starts_with("v1internal");
    Some(if named { route.model(model) } else { route })
}

fn aws_path(path: &[&str]) -> Option<Route> {
    match path {
        [.., "model", model, verb] => {
            let route = match *verb {
                "converse" => Route::to(&aws::converse::Converse),
                "converse-stream" => Route::to(&aws::converse::Converse).streaming(),
                "invoke" => Route::to(&aws::invoke::Invoke),
                "invoke-with-response-stream" => Route::to(&aws::invoke::Invoke).streaming(),
                _ => return None,
            };
            Some(route.model(model))
        }
        [
            ..,
            "agents",
            agent,
            "agentAliases",
            _,
            "sessions",
            session,
            "text",
        ] => Some(Route::to(&aws::agent::Agent).agent(agent, session)),
        ["agents", session] => Some(Route::to(&aws::agent::Agent).agent("", session)),
        ["retrieveAndGenerate" | "retrieveAndGenerateStream"] => {
            Some(Route::to(&aws::agent::Agent))
        }
        [.., "endpoints", _, "invocations"] => Some(Route::to(&tgi::Tgi).open()),
        [.., "endpoints", _, "invocations-response-stream"] => {
            Some(Route::to(&tgi::Tgi).open().streaming())
        }
        // Databricks serves any model so, not only those of language.
        [.., "serving-endpoints", model, "invocations"] => {
            Some(Route::guess(&tgi::Tgi).open().model(model))
        }
        _ => None,
    }
}

fn cohere_path(path: &[&str]) -> Option<Route> {
    let dialect: &'static dyn Dialect = match path {
        [.., "chat"] => &cohere::chat::Chat,
        [.., "generate"] => &cohere::generate::Generate,
        [.., "embed"] => &cohere::embed::Embed,
        _ => return None,
    };
    Some(Route::to(dialect))
}

fn writer_path(path: &[&str]) -> Option<Route> {
    matches!(path, [.., "chat"]).then(|| Route::to(&openai::chat::Chat))
}

/// Jurassic names its model in the path.
fn ai21_path(path: &[&str]) -> Option<Route> {
    match path {
        [.., model, "complete"] => Some(Route::to(&aws::titan::Titan).model(model)),
        _ => None,
    }
}

fn snowflake_path(path: &[&str]) -> Option<Route> {
    match path {
        [.., "cortex", "inference:complete"] => Some(Route::to(&openai::chat::Chat)),
        [.., "cortex", "inference:embed"] => Some(Route::to(&openai::embeddings::Embeddings)),
        _ => None,
    }
}

fn perplexity_path(path: &[&str]) -> Option<Route> {
    matches!(path, ["v1", "sonar"]).then(|| Route::to(&openai::chat::Chat))
}

/// Models are named so, `@cf/vendor/model`; some are none of language.
fn workers_path(path: &[&str]) -> Option<Route> {
    let at = path
        .iter()
        .position(|s| s.starts_with('@') || s.starts_with("%40"))?;
    let (before, model) = path.split_at_checked(at)?;
    match before {
        [.., "ai", "run"] | [.., "workers-ai"] => {
            Some(Route::guess(&workers::Run).model(&model.join("/")))
        }
        _ => None,
    }
}

fn mistral_path(path: &[&str]) -> Option<Route> {
    match path {
        ["v1", "conversations"]
        | ["v1", "conversations", _]
        | ["v1", "conversations", _, "restart"] => Some(Route::to(&mistral::Conversations)),
        _ => None,
    }
}

fn huggingface_path(path: &[&str]) -> Option<Route> {
    let path = path.strip_prefix(&["hf-inference"]).unwrap_or(path);
    match path {
        ["models", owner, model] => Some(Route::to(&tgi::Tgi).model(&format!("{owner}/{model}"))),
        ["models", model] => Some(Route::to(&tgi::Tgi).model(model)),
        ["models", owner, model, "pipeline", "feature-extraction"]
        | ["pipeline", "feature-extraction", owner, model] => {
            Some(Route::to(&tgi::Embed).model(&format!("{owner}/{model}")))
        }
        [] => Some(Route::to(&tgi::Tgi)),
        _ => None,
    }
}

/// Servers with paths of their own, at any host.
fn native_path(path: &[&str]) -> Option<Route> {
    let dialect: &'static dyn Dialect = match path {
        [.., "api", "chat"] => &ollama::Chat,
        [.., "api", "generate"] => &ollama::Generate,
        [.., "api", "embed" | "embeddings"] => &ollama::Embed,
        [.., "v2", "chat"] => &cohere::chat::Chat,
        [.., "v1" | "v2", "embed"] => &cohere::embed::Embed,
        [.., "text", "generation" | "generation_stream"] => &watsonx::Watsonx,
        [.., "generation", "text" | "text_stream"] => &watsonx::Watsonx,
        [.., "text", "chat" | "chat_stream"] => &openai::chat::Chat,
        // SGLang has its own there; the body tells.
        ["generate"] => return Some(Route::to(&tgi::Tgi).open()),
        ["generate_stream"] => &tgi::Tgi,
        ["embed" | "embed_all"] => &tgi::Embed,
        ["completion" | "infill"] => &llamacpp::Completion,
        _ => return None,
    };
    let route = Route::to(dialect);
    Some(match path.last() {
        Some(last) if last.ends_with("_stream") => route.streaming(),
        _ => route,
    })
}

/// The dialect of a request whose path is unknown or says nothing, by its body.
pub(in crate::llm) fn by_body(provider: &str, body: &str) -> Option<Route> {
    shape::route(provider, body)
}

/// Whether `body` may be a request in this dialect; asked where only the path spoke
/// for it.
pub(in crate::llm) fn fits(dialect: &'static dyn Dialect, body: &str) -> bool {
    shape::Shape::of(body).is_some_and(|shape| shape.fits(dialect.name()))
}

/// The dialect that a reply has the unmistakable shape of, where its request was taken
/// for one in `guess`.
pub(in crate::llm) fn by_reply(
    guess: &'static dyn Dialect,
    body: &str,
) -> Option<&'static dyn Dialect> {
    shape::by_reply(guess, body)
}
