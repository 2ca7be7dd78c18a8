//! One line of `--format jsonl`.

use serde_json::Value;

/// A call as it was printed.
#[derive(Clone, Debug)]
pub struct Call(pub Value);

impl Call {
    pub fn attribute(&self, name: &str) -> &Value {
        &self.0["attributes"][name]
    }

    /// An attribute that is a string; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.attribute(name).as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.text("gen_ai.response.id")
    }

    /// `client` or `server`.
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        let pid = &self.0["resource"]["process.pid"];
        pid.as_u64().and_then(|p| p.try_into().ok()).unwrap_or(0)
    }

    /// What the model said: the text of the first choice.
    pub fn said(&self) -> String {
        text_of(&self.attribute("gen_ai.output.messages")[0])
    }

    /// What was asked: the text of all messages.
    pub fn asked(&self) -> String {
        let messages = self.attribute("gen_ai.input.messages").as_array();
        messages.into_iter().flatten().map(text_of).collect()
    }

    pub fn tokens(&self, which: &str) -> Option<u64> {
        self.attribute(&format!("gen_ai.usage.{which}_tokens"))
            .as_u64()
    }
}

fn text_of(message: &Value) -> String {
    message["parts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|part| part["type"] == "text")
        .filter_map(|part| part["content"].as_str())
        .collect()
}
