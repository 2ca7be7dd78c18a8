//! Images: `POST …/images/generations`, `…/images/edits`, `…/images/variations`.

use super::usage::Usage;
use crate::llm::api::{Ask, Dialect, Event, user_message};
use crate::llm::attr;
use crate::llm::call::{Name, Part, Value};
use crate::llm::error;
use crate::llm::json::{Bool, Int, List, Raw, Str, read, wire};
use crate::llm::reply::Reply;

#[derive(Debug)]
pub(in crate::llm::api) struct Images;

wire! {
    struct Request<'a> {
        model: Str<'a>,
        prompt: Str<'a>,
        stream: Bool,
        n: Int,
        user: Str<'a>,
        instances: List<Instance<'a>>,
        parameters: Parameters,
        /// Stability's and Titan's prompts at Bedrock.
        text_prompts: List<Instance<'a>>,
        text_to_image: Instance<'a> = "textToImageParams",
        file_name: Str<'a> = "image.filename" | "image[].filename",
    }

    struct Instance<'a> {
        prompt: Str<'a> = "prompt" | "text",
    }

    struct Parameters {
        n: Int = "sampleCount",
    }

    struct Response<'a> {
        id: Str<'a>,
        data: List<Raw<'a>> = "data" | "images" | "artifacts" | "predictions",
        usage: Usage<'a>,
        model: Str<'a>,
        error: Raw<'a>,
        kind: Str<'a> = "type",
    }
}

impl Dialect for Images {
    fn name(&self) -> &'static str {
        "images"
    }

    fn operation(&self) -> &'static str {
        "image_generation"
    }

    fn provider(&self) -> &'static str {
        super::COMPATIBLE
    }

    fn request(&self, body: &str, ask: &mut Ask) {
        let asked: Request<'_> = read(body);
        let request = &mut ask.request;
        request.model = asked.model.boxed().or(request.model.take());
        request.stream = asked.stream.0;
        request.choice_count = asked.n.0.or(asked.parameters.n.0);
        request.output_type = Some(Name::Borrowed("image"));
        ask.attributes.text(attr::END_USER, asked.user);
        ask.attributes.text(attr::FILE_NAME, asked.file_name);
        if ask.content {
            let lists = asked.instances.iter().chain(&asked.text_prompts);
            let prompts = lists
                .map(|i| i.prompt)
                .chain([asked.prompt, asked.text_to_image.prompt]);
            let prompts = prompts.filter_map(Str::string);
            request.messages = prompts.map(|text| user_message(Part::Text(text))).collect();
        }
    }

    fn whole(&self, body: &str, reply: &mut Reply) {
        let response: Response<'_> = read(body);
        reply.recognised |= !response.data.is_empty();
        reply.set_id(response.id);
        reply.set_model(response.model);
        reply.tokens.update(response.usage.tokens());
        response.usage.extras(&mut reply.attributes);
        if let Ok(count @ 1..) = i64::try_from(response.data.len()) {
            reply.attributes.set(attr::IMAGE_COUNT, Value::Int(count));
        }
        if let Some(failure) = error::member(response.error) {
            reply.fail(failure);
        }
    }

    fn event(&self, event: &Event<'_>, reply: &mut Reply) {
        let told: Response<'_> = read(event.data);
        reply.progressed();
        reply.ended |= told.kind.key().ends_with(".completed");
        self.whole(event.data, reply);
    }
}
