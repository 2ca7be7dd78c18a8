//! watsonx.ai's text generation: `POST /ml/v1/text/generation` and its stream.

use super::{Ask, Dialect, Event, strings, user_message};
use crate::llm::call::Part;
use crate::llm::json::{Int, List, Num, Raw, Str, read, wire};
use crate::llm::reply::Reply;
use crate::llm::usage::Tokens;

#[derive(Debug)]
pub(super) struct Watsonx;

wire! {
    struct Request<'a> {
        model: Str<'a> = "model_id",
        input: Raw<'a>,
        parameters: Parameters<'a>,
    }

    struct Parameters<'a> {
        max_tokens: Int = "max_new_tokens",
        temperature: Num,
        top_p: Num,
        top_k: Num,
        seed: Int = "random_seed",
        stop: Raw<'a> = "stop_sequences",
    }

    struct Response<'a> {
        model: Str<'a> = "model_id",
        id: Str<'a>,
        results: List<Output<'a>>,
    }

    struct Output<'a> {
        text: Str<'a> = "generated_text",
        input: Int = "input_token_count",
        output: Int = "generated_token_count",
        stop_reason: Str<'a>,
    }
}

impl Dialect for Watsonx {
    fn name(&self) -> &'static str {
        "watsonx"
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn provider(&self) -> &'static str {
        "ibm.watsonx.ai"
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        let parameters = &asked.parameters;
        request.model = asked.model.boxed().or(request.model.take());
        request.max_tokens = parameters.max_tokens.0;
        request.temperature = parameters.temperature.0;
        request.top_p = parameters.top_p.0;
        request.top_k = parameters.top_k.0;
        request.seed = parameters.seed.0;
        request.stop_sequences = strings(parameters.stop);
        if ask.content {
            let inputs = strings(asked.input).into_iter();
            request.messages = inputs
                .map(|text| user_message(Part::Text(text.into())))
                .collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= !response.results.is_empty();
        reply.set_id(response.id);
        reply.set_model(response.model);
        for (at, output) in response.results.iter().enumerate() {
            reply.text(at, None, output.text);
            let is_last = output.stop_reason.key() != "not_finished";
            if is_last {
                reply.finish(at, output.stop_reason);
            }
            reply.tokens.update(Tokens {
                // Of a stream, the first event alone counts the input; later ones say 0.
                input: output
                    .input
                    .count()
                    .filter(|n| *n > 0)
                    .or(reply.tokens.input),
                // Before the last event it is what was counted so far.
                output: output.output.count().filter(|_| is_last),
                ..Tokens::default()
            });
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        self.whole(event.data, reply);
    }
}
