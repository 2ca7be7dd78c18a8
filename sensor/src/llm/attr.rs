//! Names of attributes that have no typed place in a [`Call`](super::Call), and the
//! list that holds them. Names of ours begin with `llmtap.`.

use super::call::{Name, Value};
use super::json::{Int, Num, Raw, Str};

pub(super) const API_TYPE: &str = "openai.api.type";
pub(crate) const REQUEST_SERVICE_TIER: &str = "openai.request.service_tier";
pub(crate) const REQUEST_TIER: &str = "llmtap.request.service_tier";
pub(crate) const RESPONSE_SERVICE_TIER: &str = "openai.response.service_tier";
pub(super) const SYSTEM_FINGERPRINT: &str = "openai.response.system_fingerprint";
pub(super) const PREVIOUS_RESPONSE_ID: &str = "llmtap.request.previous_response_id";
pub(crate) const SERVICE_TIER: &str = "llmtap.response.service_tier";
/// `fast` where that costs more (Anthropic).
pub(crate) const SPEED: &str = "llmtap.response.speed";
pub(super) const TOOL_CHOICE: &str = "llmtap.request.tool_choice";
pub(super) const END_USER: &str = "llmtap.request.user";
pub(super) const SERVED_BY: &str = "llmtap.response.served_by";
pub(super) const NATIVE_FINISH_REASON: &str = "llmtap.response.native_finish_reason";
pub(super) const STOP_SEQUENCE: &str = "llmtap.response.stop_sequence";
pub(super) const REFUSED: &str = "llmtap.response.refused";
pub(super) const FLAGGED: &str = "llmtap.response.flagged";
pub(super) const CONTENT_FILTER: &str = "llmtap.response.content_filter";
pub(super) const BLOCK_REASON: &str = "llmtap.response.block_reason";
pub(super) const PROVIDER_COST: &str = "llmtap.response.provider_cost";
pub(super) const GATEWAY: &str = "llmtap.gateway.name";
pub(super) const PROCESSING_MS: &str = "llmtap.response.processing_ms";
pub(super) const FIRST_TOKEN_MS: &str = "llmtap.response.first_token_ms";
pub(super) const AUDIO_SECONDS: &str = "llmtap.usage.audio_seconds";
pub(crate) const AUDIO_INPUT_TOKENS: &str = "llmtap.usage.audio.input_tokens";
pub(crate) const AUDIO_OUTPUT_TOKENS: &str = "llmtap.usage.audio.output_tokens";
pub(crate) const IMAGE_INPUT_TOKENS: &str = "llmtap.usage.image.input_tokens";
pub(crate) const IMAGE_OUTPUT_TOKENS: &str = "llmtap.usage.image.output_tokens";
pub(crate) const VIDEO_INPUT_TOKENS: &str = "llmtap.usage.video.input_tokens";
pub(crate) const VIDEO_OUTPUT_TOKENS: &str = "llmtap.usage.video.output_tokens";
pub(crate) const CACHE_WRITE_1H: &str = "llmtap.usage.cache_creation_1h.input_tokens";
pub(crate) const WEB_SEARCHES: &str = "llmtap.usage.web_search_requests";
pub(super) const SEARCH_UNITS: &str = "llmtap.usage.search_units";
pub(super) const BILLED_INPUT: &str = "llmtap.usage.billed.input_tokens";
pub(super) const BILLED_OUTPUT: &str = "llmtap.usage.billed.output_tokens";
pub(super) const DOCUMENT_COUNT: &str = "llmtap.request.document_count";
pub(super) const IMAGE_COUNT: &str = "llmtap.response.image_count";
pub(super) const FILE_NAME: &str = "llmtap.request.file_name";
pub(super) const PROVIDER_ERROR: &str = "llmtap.error.provider_type";
pub(super) const RETRY_AFTER: &str = "llmtap.response.retry_after";
pub(super) const RATE_LIMIT: &str = "llmtap.rate_limit.";
pub(super) const AGENT_ID: &str = "gen_ai.agent.id";
pub(super) const AGENT_NAME: &str = "gen_ai.agent.name";
pub(super) const TOOL_NAME: &str = "gen_ai.tool.name";
pub(super) const TOOL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
pub(super) const TOOL_RESULT: &str = "gen_ai.tool.call.result";
pub(super) const PROMPT_NAME: &str = "gen_ai.prompt.name";
pub(super) const GUARDRAIL_ID: &str = "aws.bedrock.guardrail.id";
pub(super) const GUARDRAIL_TRACED: &str = "llmtap.aws.bedrock.guardrail.traced";
pub(super) const GUARDRAIL_ACTION: &str = "llmtap.aws.bedrock.guardrail.action";
pub(super) const GUARDRAIL_VERSION: &str = "llmtap.aws.bedrock.guardrail.version";
pub(super) const KNOWLEDGE_BASE_ID: &str = "aws.bedrock.knowledge_base.id";
pub(super) const MCP_METHOD: &str = "mcp.method.name";
pub(super) const MCP_SESSION: &str = "mcp.session.id";
pub(super) const MCP_PROTOCOL: &str = "mcp.protocol.version";
pub(super) const MCP_RESOURCE: &str = "mcp.resource.uri";
pub(super) const MCP_CLIENT_NAME: &str = "llmtap.mcp.client.name";
pub(super) const MCP_CLIENT_VERSION: &str = "llmtap.mcp.client.version";
pub(super) const MCP_SERVER_NAME: &str = "llmtap.mcp.server.name";
pub(super) const MCP_SERVER_VERSION: &str = "llmtap.mcp.server.version";
pub(super) const TRANSPORT: &str = "network.transport";
pub(super) use super::call::MESSAGE_ID as RPC_REQUEST_ID;
pub(super) const RPC_STATUS: &str = "rpc.response.status_code";

/// Attributes kept of one call.
const MAX_ATTRIBUTES: usize = 96;
/// Attributes of most calls.
const USUAL_ATTRIBUTES: usize = 8;
/// Bytes kept of the text of one attribute that is no content.
const MAX_TEXT: usize = 1024;

/// Attributes by name; setting one again replaces it.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(Vec<(Name, Value)>);

impl Attributes {
    pub(super) fn set(&mut self, name: impl Into<Name>, value: Value) {
        let name = name.into();
        if let Some((_, slot)) = self.0.iter_mut().find(|(n, _)| *n == name) {
            *slot = value;
        } else if self.0.len() < MAX_ATTRIBUTES {
            if self.0.is_empty() {
                self.0.reserve(USUAL_ATTRIBUTES);
            }
            self.0.push((name, value));
        }
    }

    /// Sets what is there and short enough to be a name or an id.
    pub(super) fn text(&mut self, name: impl Into<Name>, text: Str<'_>) {
        if text.is_empty() || text.key().len() > MAX_TEXT {
            return;
        }
        let name = name.into();
        if let Some((_, Value::String(old))) = self.0.iter().find(|(n, _)| *n == name)
            && **old == *text.key()
        {
            return;
        }
        if let Some(text) = text.boxed() {
            self.set(name, Value::String(text));
        }
    }

    pub(super) fn header(&mut self, name: impl Into<Name>, text: Option<&str>) {
        if let Some(text) = text.filter(|t| !t.is_empty() && t.len() <= MAX_TEXT) {
            self.set(name, Value::String(text.into()));
        }
    }

    pub(super) fn int(&mut self, name: impl Into<Name>, number: Int) {
        if let Some(number) = number.0 {
            self.set(name, Value::Int(number));
        }
    }

    pub(super) fn double(&mut self, name: impl Into<Name>, number: Num) {
        if let Some(number) = number.0 {
            self.set(name, Value::Double(number));
        }
    }

    /// Content, of any length; an object or list as its JSON text.
    pub(super) fn content(&mut self, name: impl Into<Name>, value: Raw<'_>) {
        let text = if value.is_string() {
            value.string().boxed()
        } else {
            Some(value.text().into())
        };
        if let Some(text) = text.filter(|_| value.is_some()) {
            self.set(name, Value::String(text));
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    pub(super) fn append(&mut self, other: Self) {
        for (name, value) in other.0 {
            self.set(name, value);
        }
    }

    pub(super) fn into_vec(self) -> Vec<(Name, Value)> {
        self.0
    }

    pub(super) fn to_vec(&self) -> Vec<(Name, Value)> {
        self.0.clone()
    }
}
