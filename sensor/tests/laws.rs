//! Laws of the engine as a whole, over our own conversations and, where they lie beside
//! the repository, over recorded ones: how bytes were cut changes nothing; what is
//! missing makes fields vanish and changes none; connections don't touch each other;
//! nothing is kept of what is over.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/conversation.rs"]
mod conversation;

use std::path::Path;

use allocator::live_bytes;
use conversation::{Conversation, Piece, Random};
use llmtap::engine::{Engine, Options, Output};
use llmtap::enrich::Joiner;
use llmtap::event::{ConnectionId, Event, EventKind, Missing};
use llmtap::export::jsonl;
use llmtap::redact::{Content, Policy};
use llmtap::time::{ClockOffset, Timestamp};
use serde_json::{Map, Value};

/// Attributes of one call, by name.
type Attributes = Map<String, Value>;

fn engine() -> Engine {
    Engine::new(Options {
        llm: llmtap::llm::Options { content: true },
        ..Options::default()
    })
}

/// Feeds `pieces`, each with the connection it belongs to, and closes all.
fn calls(pieces: &[(ConnectionId, Piece<'_>)]) -> Vec<Attributes> {
    let mut engine = engine();
    let mut calls = Vec::new();
    let mut out = |output: Output| {
        if let Output::Finished(call) = output {
            calls.push(attributes(*call));
        }
    };
    let mut ids: Vec<ConnectionId> = Vec::new();
    for (connection, piece) in pieces {
        if !ids.contains(connection) {
            ids.push(*connection);
        }
        let missing = Missing {
            lost: piece.lost,
            cut: 0,
        };
        let kind = EventKind::Data {
            direction: piece.direction,
            missing,
            bytes: piece.bytes,
        };
        engine.feed(
            Event {
                connection: *connection,
                at: piece.at,
                kind,
            },
            &mut out,
        );
    }
    let at = pieces
        .last()
        .map_or(Timestamp::default(), |(_, piece)| piece.at);
    for connection in ids {
        engine.feed(
            Event {
                connection,
                at,
                kind: EventKind::Close,
            },
            &mut out,
        );
    }
    assert_eq!(engine.connections(), 0, "a closed connection is kept");
    calls
}

fn attributes(call: llmtap::llm::Call) -> Attributes {
    let mut joiner = Joiner::new(ClockOffset::default(), None);
    let record = Policy {
        content: Content::Full,
    }
    .apply(joiner.finished(call));
    let line = jsonl::line(&record).expect("serialises");
    let Value::Object(mut line) = serde_json::from_str(&line).expect("is JSON") else {
        panic!("a line is an object");
    };
    let Some(Value::Object(mut attributes)) = line.remove("attributes") else {
        panic!("a line has attributes");
    };
    attributes.insert("status".into(), line["status"]["code"].clone());
    attributes
}

/// What depends on when bytes came, not on what they were.
fn without_times(mut call: Attributes) -> Attributes {
    call.retain(|name, _| !name.contains("time_to_") && !name.contains("time_per_"));
    call
}

fn alone(pieces: Vec<Piece<'_>>) -> Vec<(ConnectionId, Piece<'_>)> {
    pieces
        .into_iter()
        .map(|piece| (ConnectionId(1), piece))
        .collect()
}

#[test]
fn how_bytes_are_cut_changes_nothing() {
    let mut random = Random::new(1);
    for conversation in Conversation::all() {
        let whole: Vec<_> = calls(&alone(conversation.whole()))
            .into_iter()
            .map(without_times)
            .collect();
        for most in [1, 7, 300, 5_000] {
            if most < 100 && conversation.len() > 20_000 {
                continue;
            }
            let cut = calls(&alone(conversation.cut(most, &mut random)));
            let cut: Vec<_> = cut.into_iter().map(without_times).collect();
            assert_eq!(
                cut, whole,
                "{} in pieces of up to {most}",
                conversation.name
            );
        }
    }
}

#[test]
fn what_is_missing_makes_fields_vanish_and_changes_none() {
    let mut random = Random::new(2);
    let mut seen = 0;
    let mut broken = Vec::new();
    for conversation in Conversation::all() {
        let whole = calls(&alone(conversation.whole()));
        let [whole] = &whole[..] else { continue };
        for _ in 0..HOLES {
            let pieces = conversation.cut(400, &mut random);
            let holed = alone(conversation.without_one(pieces, &mut random));
            for call in calls(&holed) {
                seen += 1;
                if let Some(name) = changed(whole, &call) {
                    let (is, was) = (&call[&name], whole.get(&name));
                    broken.push(format!(
                        "{}: {name} is {is} and was {was:?}",
                        conversation.name
                    ));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "{} of {seen} calls:\n{}",
        broken.len(),
        broken.join("\n")
    );
    assert!(seen > 8, "no call outlived a hole: {seen}");
}

/// Holes tried in each conversation.
const HOLES: usize = 8;

/// Content, which may have holes.
const TEXTS: [&str; 4] = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
];

/// The first attribute whose value is another than in `whole`. Texts may have holes,
/// times may be later, and what tells of the loss is new.
fn changed(whole: &Attributes, call: &Attributes) -> Option<String> {
    let tells = |name: &str| {
        name.starts_with("llmtap.capture.") || name.contains(".time_") || TEXTS.contains(&name)
    };
    let known = |name: &str| name != "error.type" && name != "status" && !tells(name);
    call.iter()
        .filter(|(name, _)| known(name))
        .find(|(name, value)| match (value, whole.get(*name)) {
            (Value::Array(part), Some(Value::Array(all))) => !part.iter().all(|v| all.contains(v)),
            (value, Some(before)) => *value != before,
            (_, None) => true,
        })
        .map(|(name, _)| name.clone())
}

#[test]
fn a_late_start_invents_nothing() {
    let mut random = Random::new(3);
    for conversation in Conversation::all() {
        let whole = calls(&alone(conversation.whole()));
        let [whole] = &whole[..] else { continue };
        for _ in 0..4 {
            let mut pieces = conversation.cut(400, &mut random);
            let skipped = random.below(pieces.len());
            pieces.drain(..skipped);
            for call in calls(&alone(pieces)) {
                assert_eq!(
                    changed(whole, &call),
                    None,
                    "{} late by {skipped}",
                    conversation.name
                );
            }
        }
    }
}

#[test]
fn interleaved_connections_equal_themselves_alone() {
    let mut random = Random::new(4);
    let conversations: Vec<_> = Conversation::all().collect();
    for pair in conversations.chunks_exact(2) {
        let mut expected = Vec::new();
        let mut queues = Vec::new();
        for (n, conversation) in (1..).zip(pair) {
            let pieces = conversation.cut(700, &mut random);
            let queue: Vec<_> = pieces.into_iter().map(|p| (ConnectionId(n), p)).collect();
            expected.extend(calls(&queue));
            queues.push(queue.into_iter());
        }
        let mut mixed = Vec::new();
        while !queues.is_empty() {
            let turn = random.below(queues.len());
            match queues[turn].next() {
                Some(piece) => mixed.push(piece),
                None => drop(queues.remove(turn)),
            }
        }
        let sorted = |mut calls: Vec<Attributes>| {
            calls.sort_by_key(|call| call["llmtap.connection.id"].as_u64());
            calls
        };
        assert_eq!(
            sorted(calls(&mixed)),
            sorted(expected),
            "{} and {}",
            pair[0].name,
            pair[1].name
        );
    }
}

#[test]
fn what_is_over_leaves_nothing_behind() {
    let conversations: Vec<_> = Conversation::all().collect();
    let mut engine = engine();
    let mut calls = 0;
    // The first round pays for tables that stay.
    let mut kept = 0;
    for round in 0..3_u64 {
        for (n, conversation) in (0..).zip(&conversations) {
            let connection = ConnectionId(round * 1_000_000 + n);
            let mut random = Random::new(n);
            for piece in conversation.cut(2_000, &mut random) {
                let missing = Missing::NONE;
                let kind = EventKind::Data {
                    direction: piece.direction,
                    missing,
                    bytes: piece.bytes,
                };
                let event = Event {
                    connection,
                    at: piece.at,
                    kind,
                };
                engine.feed(event, &mut |o| {
                    calls += usize::from(matches!(o, Output::Finished(_)))
                });
            }
        }
        engine.finish(&mut |o| calls += usize::from(matches!(o, Output::Finished(_))));
        assert_eq!(engine.connections(), 0);
        let live = live_bytes();
        if round == 1 {
            kept = live;
        } else if round == 2 {
            assert!(
                live <= kept + 1_024,
                "{} bytes more after the same again",
                live - kept
            );
        }
    }
    assert!(calls > conversations.len(), "{calls} calls");
}

#[test]
fn our_own_conversations_are_calls() {
    for conversation in Conversation::own() {
        let calls = calls(&alone(conversation.whole()));
        assert_eq!(calls.len(), 1, "{}", conversation.name);
        assert!(
            calls[0].contains_key("gen_ai.request.model"),
            "{}",
            conversation.name
        );
    }
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    if !shared.exists() {
        eprintln!("SKIPPED: no recordings at {}", shared.display());
    }
}
