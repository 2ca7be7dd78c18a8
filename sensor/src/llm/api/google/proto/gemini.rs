//! `google.ai.generativelanguage`.

use super::{MODALITIES, RESPONSE_MODALITIES, TYPES};
use crate::llm::protobuf::Kind::{
    Bool, Bytes, Enum, Float, Int, Map, Message, Struct, Text, Value,
};
use crate::llm::protobuf::{Schema, many, one};

/// `GenerateContentRequest`.
pub(in crate::llm::api) static REQUEST: Schema = Schema(&[
    one(1, "model", Text),
    many(2, "contents", Message(&CONTENT)),
    one(4, "generationConfig", Message(&CONFIG)),
    many(5, "tools", Message(&TOOL)),
    one(8, "systemInstruction", Message(&CONTENT)),
]);

static CONTENT: Schema = Schema(&[many(1, "parts", Message(&PART)), one(2, "role", Text)]);

static PART: Schema = Schema(&[
    one(2, "text", Text),
    one(3, "inlineData", Message(&BLOB)),
    one(4, "functionCall", Message(&CALL)),
    one(5, "functionResponse", Message(&ANSWER)),
    one(6, "fileData", Message(&FILE)),
    one(9, "executableCode", Message(&CODE)),
    one(10, "codeExecutionResult", Message(&CODE_RESULT)),
    one(11, "thought", Bool),
]);

static BLOB: Schema = Schema(&[one(1, "mimeType", Text), one(2, "data", Bytes)]);

static FILE: Schema = Schema(&[one(1, "mimeType", Text), one(2, "fileUri", Text)]);

static CALL: Schema = Schema(&[
    one(1, "name", Text),
    one(2, "args", Struct),
    one(3, "id", Text),
]);

static ANSWER: Schema = Schema(&[
    one(1, "name", Text),
    one(2, "response", Struct),
    one(3, "id", Text),
]);

static CODE: Schema = Schema(&[
    one(1, "language", Enum(&[(1, "PYTHON")])),
    one(2, "code", Text),
]);

static CODE_RESULT: Schema = Schema(&[
    one(
        1,
        "outcome",
        Enum(&[
            (1, "OUTCOME_OK"),
            (2, "OUTCOME_FAILED"),
            (3, "OUTCOME_DEADLINE_EXCEEDED"),
        ]),
    ),
    one(2, "output", Text),
]);

static TOOL: Schema = Schema(&[many(1, "functionDeclarations", Message(&DECLARATION))]);

static DECLARATION: Schema = Schema(&[
    one(1, "name", Text),
    one(2, "description", Text),
    one(3, "parameters", Message(&PARAMETERS)),
    one(6, "parametersJsonSchema", Value),
]);

/// `Schema`.
static PARAMETERS: Schema = Schema(&[
    one(1, "type", Enum(TYPES)),
    one(2, "format", Text),
    one(3, "description", Text),
    one(4, "nullable", Bool),
    many(5, "enum", Text),
    one(6, "items", Message(&PARAMETERS)),
    one(7, "properties", Map(&Message(&PARAMETERS))),
    many(8, "required", Text),
    many(18, "anyOf", Message(&PARAMETERS)),
    one(24, "title", Text),
]);

static CONFIG: Schema = Schema(&[
    one(1, "candidateCount", Int),
    many(2, "stopSequences", Text),
    one(4, "maxOutputTokens", Int),
    one(5, "temperature", Float),
    one(6, "topP", Float),
    one(7, "topK", Int),
    one(8, "seed", Int),
    one(13, "responseMimeType", Text),
    one(15, "presencePenalty", Float),
    one(16, "frequencyPenalty", Float),
    many(20, "responseModalities", Enum(RESPONSE_MODALITIES)),
]);

/// `GenerateContentResponse`.
pub(in crate::llm::api) static REPLY: Schema = Schema(&[
    many(1, "candidates", Message(&CANDIDATE)),
    one(2, "promptFeedback", Message(&FEEDBACK)),
    one(3, "usageMetadata", Message(&USAGE)),
    one(4, "modelVersion", Text),
    one(5, "responseId", Text),
]);

static CANDIDATE: Schema = Schema(&[
    one(1, "content", Message(&CONTENT)),
    one(2, "finishReason", Enum(FINISH_REASONS)),
    one(3, "index", Int),
]);

static FEEDBACK: Schema = Schema(&[one(
    1,
    "blockReason",
    Enum(&[
        (1, "SAFETY"),
        (2, "OTHER"),
        (3, "BLOCKLIST"),
        (4, "PROHIBITED_CONTENT"),
        (5, "IMAGE_SAFETY"),
    ]),
)]);

static USAGE: Schema = Schema(&[
    one(1, "promptTokenCount", Int),
    one(2, "candidatesTokenCount", Int),
    one(4, "cachedContentTokenCount", Int),
    many(5, "promptTokensDetails", Message(&PORTION)),
    many(7, "candidatesTokensDetails", Message(&PORTION)),
    one(8, "toolUsePromptTokenCount", Int),
    one(10, "thoughtsTokenCount", Int),
]);

static PORTION: Schema = Schema(&[
    one(1, "modality", Enum(MODALITIES)),
    one(2, "tokenCount", Int),
]);

const FINISH_REASONS: &[(u64, &str)] = &[
    (1, "STOP"),
    (2, "MAX_TOKENS"),
    (3, "SAFETY"),
    (4, "RECITATION"),
    (5, "OTHER"),
    (6, "LANGUAGE"),
    (7, "BLOCKLIST"),
    (8, "PROHIBITED_CONTENT"),
    (9, "SPII"),
    (10, "MALFORMED_FUNCTION_CALL"),
    (11, "IMAGE_SAFETY"),
    (12, "UNEXPECTED_TOOL_CALL"),
    (13, "TOO_MANY_TOOL_CALLS"),
    (14, "IMAGE_PROHIBITED_CONTENT"),
    (15, "IMAGE_OTHER"),
    (16, "NO_IMAGE"),
    (17, "IMAGE_RECITATION"),
];

/// `EmbedContentRequest`.
pub(in crate::llm::api) static EMBED_REQUEST: Schema = Schema(&[
    one(1, "model", Text),
    one(2, "content", Message(&CONTENT)),
    one(5, "outputDimensionality", Int),
]);

/// `EmbedContentResponse`; the vector is not looked at.
pub(in crate::llm::api) static EMBEDDED: Schema = Schema(&[one(1, "embedding", Message(&VECTOR))]);

/// `BatchEmbedContentsRequest`.
pub(in crate::llm::api) static BATCH_EMBED_REQUEST: Schema = Schema(&[
    one(1, "model", Text),
    many(2, "requests", Message(&EMBED_REQUEST)),
]);

/// `BatchEmbedContentsResponse`.
pub(in crate::llm::api) static BATCH_EMBEDDED: Schema =
    Schema(&[many(1, "embeddings", Message(&VECTOR))]);

static VECTOR: Schema = Schema(&[]);
