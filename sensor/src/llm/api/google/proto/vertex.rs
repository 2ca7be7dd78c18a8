//! `google.cloud.aiplatform`.

use super::{MODALITIES, RESPONSE_MODALITIES, TYPES};
use crate::llm::protobuf::Kind::{
    Bool, Bytes, Enum, Float, Int, Map, Message, Struct, Text, Value,
};
use crate::llm::protobuf::{Schema, many, one};

/// `GenerateContentRequest`.
pub(in crate::llm::api) static REQUEST: Schema = Schema(&[
    many(2, "contents", Message(&CONTENT)),
    one(4, "generationConfig", Message(&CONFIG)),
    one(5, "model", Text),
    many(6, "tools", Message(&TOOL)),
    one(8, "systemInstruction", Message(&CONTENT)),
]);

static CONTENT: Schema = Schema(&[one(1, "role", Text), many(2, "parts", Message(&PART))]);

static PART: Schema = Schema(&[
    one(1, "text", Text),
    one(2, "inlineData", Message(&BLOB)),
    one(3, "fileData", Message(&FILE)),
    one(5, "functionCall", Message(&CALL)),
    one(6, "functionResponse", Message(&ANSWER)),
    one(8, "executableCode", Message(&CODE)),
    one(9, "codeExecutionResult", Message(&CODE_RESULT)),
    one(10, "thought", Bool),
]);

static BLOB: Schema = Schema(&[one(1, "mimeType", Text), one(2, "data", Bytes)]);

static FILE: Schema = Schema(&[one(1, "mimeType", Text), one(2, "fileUri", Text)]);

static CALL: Schema = Schema(&[one(1, "name", Text), one(2, "args", Struct)]);

static ANSWER: Schema = Schema(&[one(1, "name", Text), one(2, "response", Struct)]);

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
    one(5, "parametersJsonSchema", Value),
]);

/// `Schema`.
static PARAMETERS: Schema = Schema(&[
    one(1, "type", Enum(TYPES)),
    one(2, "items", Message(&PARAMETERS)),
    one(3, "properties", Map(&Message(&PARAMETERS))),
    many(5, "required", Text),
    one(6, "nullable", Bool),
    one(7, "format", Text),
    one(8, "description", Text),
    many(9, "enum", Text),
    many(11, "anyOf", Message(&PARAMETERS)),
    one(24, "title", Text),
]);

static CONFIG: Schema = Schema(&[
    one(1, "temperature", Float),
    one(2, "topP", Float),
    one(3, "topK", Float),
    one(4, "candidateCount", Int),
    one(5, "maxOutputTokens", Int),
    many(6, "stopSequences", Text),
    one(8, "presencePenalty", Float),
    one(9, "frequencyPenalty", Float),
    one(12, "seed", Int),
    one(13, "responseMimeType", Text),
    many(21, "responseModalities", Enum(RESPONSE_MODALITIES)),
    one(25, "thinkingConfig", Message(&THINKING)),
]);

static THINKING: Schema = Schema(&[one(
    4,
    "thinkingLevel",
    Enum(&[(1, "LOW"), (2, "MEDIUM"), (3, "HIGH"), (4, "MINIMAL")]),
)]);

/// `GenerateContentResponse`.
pub(in crate::llm::api) static REPLY: Schema = Schema(&[
    many(2, "candidates", Message(&CANDIDATE)),
    one(3, "promptFeedback", Message(&FEEDBACK)),
    one(4, "usageMetadata", Message(&USAGE)),
    one(11, "modelVersion", Text),
    one(13, "responseId", Text),
]);

static CANDIDATE: Schema = Schema(&[
    one(1, "index", Int),
    one(2, "content", Message(&CONTENT)),
    one(3, "finishReason", Enum(FINISH_REASONS)),
]);

static FEEDBACK: Schema = Schema(&[one(
    1,
    "blockReason",
    Enum(&[
        (1, "SAFETY"),
        (2, "OTHER"),
        (3, "BLOCKLIST"),
        (4, "PROHIBITED_CONTENT"),
        (5, "MODEL_ARMOR"),
        (6, "JAILBREAK"),
    ]),
)]);

/// `UsageMetadata`, of a reply and of embeddings alike.
static USAGE: Schema = Schema(&[
    one(1, "promptTokenCount", Int),
    one(2, "candidatesTokenCount", Int),
    one(5, "cachedContentTokenCount", Int),
    one(8, "trafficType", Enum(TRAFFIC_TYPES)),
    many(9, "promptTokensDetails", Message(&PORTION)),
    many(11, "candidatesTokensDetails", Message(&PORTION)),
    one(13, "toolUsePromptTokenCount", Int),
    one(14, "thoughtsTokenCount", Int),
]);

static PORTION: Schema = Schema(&[
    one(1, "modality", Enum(MODALITIES)),
    one(2, "tokenCount", Int),
]);

const TRAFFIC_TYPES: &[(u64, &str)] = &[
    (1, "ON_DEMAND"),
    (2, "PROVISIONED_THROUGHPUT"),
    (3, "ON_DEMAND_PRIORITY"),
    (4, "ON_DEMAND_FLEX"),
];

const FINISH_REASONS: &[(u64, &str)] = &[
    (1, "STOP"),
    (2, "MAX_TOKENS"),
    (3, "SAFETY"),
    (4, "RECITATION"),
    (5, "OTHER"),
    (6, "BLOCKLIST"),
    (7, "PROHIBITED_CONTENT"),
    (8, "SPII"),
    (9, "MALFORMED_FUNCTION_CALL"),
    (10, "MODEL_ARMOR"),
];

/// `EmbedContentRequest`.
pub(in crate::llm::api) static EMBED_REQUEST: Schema = Schema(&[
    one(1, "model", Text),
    one(2, "content", Message(&CONTENT)),
    one(6, "outputDimensionality", Int),
]);

/// `EmbedContentResponse`; the vector is not looked at.
pub(in crate::llm::api) static EMBEDDED: Schema = Schema(&[
    one(1, "embedding", Message(&VECTOR)),
    one(2, "usageMetadata", Message(&USAGE)),
]);

static VECTOR: Schema = Schema(&[]);
