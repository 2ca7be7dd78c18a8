//! xAI's chat over gRPC; the field numbers are those of the messages in its SDK.

use super::{Reply, Said, tokens};
use crate::protobuf::Message;

const MODEL: &str = "grok-4-0709";
const CREATED: u64 = 1_760_000_000;
const ASSISTANT: u64 = 2;
const STOP: u64 = 3;

pub fn completion(said: Said) -> Reply {
    let output = Message::default()
        .number(1, STOP)
        .message(3, message(&said.text));
    let reply = Message::default()
        .text(1, &said.id)
        .message(2, output)
        .message(5, Message::default().number(1, CREATED))
        .text(6, MODEL)
        .message(9, usage(&said));
    Reply::grpc(said, [reply])
}

pub fn chunks(said: Said) -> Reply {
    let chunk = |output: Message| {
        Message::default()
            .text(1, &said.id)
            .message(2, output)
            .message(3, Message::default().number(1, CREATED))
            .text(4, MODEL)
    };
    let delta = |text: &str| Message::default().message(1, message(text));
    let mut chunks: Vec<Message> = tokens(&said.text).map(|t| chunk(delta(t))).collect();
    let last = chunk(delta("").number(3, STOP));
    chunks.push(last.message(6, usage(&said)));
    Reply {
        streamed: true,
        ..Reply::grpc(said, chunks)
    }
}

fn message(text: &str) -> Message {
    Message::default().text(1, text).number(2, ASSISTANT)
}

fn usage(said: &Said) -> Message {
    Message::default()
        .number(1, said.output_tokens)
        .number(2, said.input_tokens)
        .number(3, said.input_tokens + said.output_tokens)
}
