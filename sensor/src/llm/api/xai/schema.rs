//! Field numbers of `xai_api`, as far as calls need them, under the names that Chat
//! Completions has for the same. Credentials of MCP servers have no number here.

use crate::llm::protobuf::Kind::{Bool, Bytes, Enum, Float, Int, Json, Message, Text};
use crate::llm::protobuf::{Schema, many, one};

pub(in crate::llm::api) static REQUEST: Schema = Schema(&[
    many(1, "messages", Message(&MESSAGE)),
    one(2, "model", Text),
    one(3, "frequency_penalty", Float),
    one(7, "max_tokens", Int),
    one(8, "n", Int),
    one(9, "presence_penalty", Float),
    one(10, "response_format", Message(&FORMAT)),
    one(11, "seed", Int),
    many(12, "stop", Text),
    one(14, "temperature", Float),
    one(15, "top_p", Float),
    one(16, "user", Text),
    many(17, "tools", Message(&TOOL)),
    one(19, "reasoning_effort", Enum(EFFORTS)),
    one(22, "previous_response_id", Text),
    one(31, "service_tier", Enum(TIERS)),
    one(34, "safety_identifier", Text),
]);

static MESSAGE: Schema = Schema(&[
    many(1, "content", Message(&CONTENT)),
    one(2, "role", Enum(ROLES)),
    one(3, "name", Text),
    many(4, "tool_calls", Message(&TOOL_CALL)),
    one(5, "reasoning_content", Text),
    one(7, "tool_call_id", Text),
]);

static CONTENT: Schema = Schema(&[
    one(1, "text", Text),
    one(2, "image_url", Message(&IMAGE)),
    one(3, "file", Message(&FILE)),
]);

static IMAGE: Schema = Schema(&[one(1, "url", Text), one(3, "file_id", Text)]);

static FILE: Schema = Schema(&[
    one(1, "file_id", Text),
    one(2, "file_data", Bytes),
    one(3, "filename", Text),
]);

static TOOL_CALL: Schema = Schema(&[
    one(1, "id", Text),
    one(2, "type", Enum(TOOL_CALL_TYPES)),
    one(3, "status", Enum(STATUSES)),
    one(10, "function", Message(&FUNCTION_CALL)),
]);

static FUNCTION_CALL: Schema = Schema(&[one(1, "name", Text), one(2, "arguments", Text)]);

static TOOL: Schema = Schema(&[
    one(1, "function", Message(&FUNCTION)),
    one(3, "web_search", Message(&NOTHING)),
    one(4, "x_search", Message(&NOTHING)),
    one(5, "code_execution", Message(&NOTHING)),
    one(6, "collections_search", Message(&NOTHING)),
    one(7, "mcp", Message(&NOTHING)),
    one(8, "attachment_search", Message(&NOTHING)),
    one(10, "image_generation", Message(&NOTHING)),
]);

static NOTHING: Schema = Schema(&[]);

static FUNCTION: Schema = Schema(&[
    one(1, "name", Text),
    one(2, "description", Text),
    one(3, "strict", Bool),
    one(4, "parameters", Json),
]);

static FORMAT: Schema = Schema(&[one(
    1,
    "type",
    Enum(&[(1, "text"), (2, "json_object"), (3, "json_schema")]),
)]);

/// `GetChatCompletionResponse`.
pub(in crate::llm::api) static REPLY: Schema = Schema(&[
    one(1, "id", Text),
    many(2, "outputs", Message(&OUTPUT)),
    one(6, "model", Text),
    one(7, "system_fingerprint", Text),
    one(9, "usage", Message(&USAGE)),
    one(15, "service_tier", Enum(TIERS)),
]);

static OUTPUT: Schema = Schema(&[
    one(1, "finish_reason", Enum(FINISH_REASONS)),
    one(2, "index", Int),
    one(3, "message", Message(&SAID)),
]);

/// `GetChatCompletionChunk`.
pub(in crate::llm::api) static CHUNK: Schema = Schema(&[
    one(1, "id", Text),
    many(2, "outputs", Message(&OUTPUT_CHUNK)),
    one(4, "model", Text),
    one(5, "system_fingerprint", Text),
    one(6, "usage", Message(&USAGE)),
    one(12, "service_tier", Enum(TIERS)),
]);

static OUTPUT_CHUNK: Schema = Schema(&[
    one(1, "delta", Message(&SAID)),
    one(3, "finish_reason", Enum(FINISH_REASONS)),
    one(4, "index", Int),
]);

/// `CompletionMessage` and `Delta`.
static SAID: Schema = Schema(&[
    one(1, "content", Text),
    one(2, "role", Enum(ROLES)),
    many(3, "tool_calls", Message(&TOOL_CALL)),
    one(4, "reasoning_content", Text),
]);

static USAGE: Schema = Schema(&[
    one(1, "completion_tokens", Int),
    one(2, "prompt_tokens", Int),
    one(3, "total_tokens", Int),
    one(6, "reasoning_tokens", Int),
    one(7, "cached_tokens", Int),
]);

/// `GenerateImageRequest`.
pub(in crate::llm::api) static IMAGE_REQUEST: Schema = Schema(&[
    one(1, "prompt", Text),
    one(2, "model", Text),
    one(3, "n", Int),
    one(4, "user", Text),
]);

/// `ImageResponse`; the images themselves are not looked at.
pub(in crate::llm::api) static IMAGES: Schema = Schema(&[
    many(1, "images", Message(&NOTHING)),
    one(2, "model", Text),
    one(3, "usage", Message(&USAGE)),
]);

const ROLES: &[(u64, &str)] = &[
    (1, "user"),
    (2, "assistant"),
    (3, "system"),
    (4, "function"),
    (5, "tool"),
    (6, "developer"),
];

const EFFORTS: &[(u64, &str)] = &[
    (1, "low"),
    (2, "medium"),
    (3, "high"),
    (4, "none"),
    (5, "xhigh"),
];

const TIERS: &[(u64, &str)] = &[(1, "default"), (2, "priority")];

const FINISH_REASONS: &[(u64, &str)] = &[
    (1, "REASON_MAX_LEN"),
    (2, "REASON_MAX_CONTEXT"),
    (3, "REASON_STOP"),
    (4, "REASON_TOOL_CALLS"),
    (5, "REASON_TIME_LIMIT"),
];

/// Tools that the client runs are functions; the others run at xAI.
const TOOL_CALL_TYPES: &[(u64, &str)] = &[
    (1, "function"),
    (2, "web_search"),
    (3, "x_search"),
    (4, "code_execution"),
    (5, "collections_search"),
    (6, "mcp"),
    (7, "attachment_search"),
    (10, "image_generation"),
];

const STATUSES: &[(u64, &str)] = &[(1, "completed"), (2, "incomplete"), (3, "failed")];
