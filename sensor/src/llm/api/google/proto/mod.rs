//! Field numbers of Google's services, as far as calls need them, under the names that
//! their JSON has. The two services have the same messages with other numbers.

pub(in crate::llm::api) mod gemini;
pub(in crate::llm::api) mod vertex;

/// `Type` of a schema of a function's parameters.
const TYPES: &[(u64, &str)] = &[
    (1, "STRING"),
    (2, "NUMBER"),
    (3, "INTEGER"),
    (4, "BOOLEAN"),
    (5, "ARRAY"),
    (6, "OBJECT"),
    (7, "NULL"),
];

/// `Modality` of counted tokens.
const MODALITIES: &[(u64, &str)] = &[
    (1, "TEXT"),
    (2, "IMAGE"),
    (3, "VIDEO"),
    (4, "AUDIO"),
    (5, "DOCUMENT"),
];

/// `GenerationConfig.Modality`.
const RESPONSE_MODALITIES: &[(u64, &str)] = &[(1, "TEXT"), (2, "IMAGE"), (3, "AUDIO")];
