//! Amazon Titan, AI21's Jurassic, Llama and Mistral in InvokeModel: one prompt in, one
//! text out.

use crate::llm::api::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::Part;
use crate::llm::json::{Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(in crate::llm::api) struct Titan;

wire! {
    struct Request<'a> {
        prompt: Str<'a> = "prompt" | "inputText",
        config: Config<'a> = "textGenerationConfig",
        max_tokens: Int = "max_tokens" | "max_gen_len" | "maxTokens",
        temperature: Num,
        top_p: Num = "top_p" | "topP" | "p",
        top_k: Num = "top_k" | "topKReturn" | "k",
        stop: Raw<'a> = "stop" | "stopSequences" | "stop_sequences",
    }

    struct Config<'a> {
        max_tokens: Int = "maxTokenCount",
        temperature: Num,
        top_p: Num = "topP",
        stop: Raw<'a> = "stopSequences",
    }

    struct Response<'a> {
        id: Raw<'a>,
        input: Int = "inputTextTokenCount" | "prompt_token_count",
        output: Int = "totalOutputTextTokenCount" | "generation_token_count",
        text: Str<'a> = "outputText" | "generation",
        stop: Str<'a> = "completionReason" | "stop_reason",
        results: List<Output<'a>> = "results" | "outputs" | "completions",
        prompt: Prompt<'a>,
    }

    struct Output<'a> {
        text: Str<'a> = "outputText" | "text",
        count: Int = "tokenCount",
        stop: Str<'a> = "completionReason" | "stop_reason",
        data: Data<'a>,
        finish: Finish<'a> = "finishReason",
    }

    struct Data<'a> {
        text: Str<'a>,
        tokens: Raw<'a>,
    }

    struct Finish<'a> {
        reason: Str<'a>,
    }

    struct Prompt<'a> {
        tokens: Raw<'a>,
    }
}

impl Dialect for Titan {
    fn name(&self) -> &'static str {
        "bedrock.invoke"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn provider(&self) -> &'static str {
        super::BEDROCK
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        let config = &asked.config;
        request.max_tokens = asked.max_tokens.0.or(config.max_tokens.0);
        request.temperature = asked.temperature.0.or(config.temperature.0);
        request.top_p = asked.top_p.0.or(config.top_p.0);
        request.top_k = asked.top_k.0;
        request.stop_sequences = strings(asked.stop.or(config.stop));
        if ask.content {
            let prompt = asked
                .prompt
                .string()
                .map(|text| user_message(Part::Text(text)));
            request.messages.extend(prompt);
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= response.text.is_some() || !response.results.is_empty();
        reply.set_id(response.id.string());
        reply.text(0, None, response.text);
        reply.finish(0, response.stop);
        reply.tokens.update(response.tokens());
        for (at, output) in response.results.iter().enumerate() {
            reply.text(at, None, output.text.or(output.data.text));
            reply.finish(at, output.stop.or(output.finish.reason));
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}

impl Response<'_> {
    fn tokens(&self) -> Tokens {
        let counted = self
            .results
            .iter()
            .filter_map(|output| output.count.count());
        let listed = self
            .results
            .iter()
            .filter_map(|output| length(output.data.tokens));
        Tokens {
            input: self.input.count().or(length(self.prompt.tokens)),
            output: self
                .output
                .count()
                .or(counted.reduce(u64::saturating_add))
                .or(listed.reduce(u64::saturating_add)),
            ..Tokens::default()
        }
    }
}

/// Tokens that are listed one by one (Jurassic).
fn length(tokens: Raw<'_>) -> Option<u64> {
    let list: List<Raw<'_>> = tokens.is_list().then(|| tokens.parse())?;
    u64::try_from(list.len()).ok()
}
