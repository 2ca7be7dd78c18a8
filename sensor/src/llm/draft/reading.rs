//! A call in the making, as its reply is read.
//!
//! In: units of the response's content, as text. Out: what a dialect reads in them.

use super::Draft;
use crate::llm::api::{Event, route};
use crate::llm::{error, json};
use crate::time::Timestamp;

impl Draft {
    pub(super) fn event(&mut self, at: Timestamp, name: Option<&str>, text: &str) {
        self.streams = true;
        self.reply.reads(text.len());
        let text = text.trim_ascii();
        let lines = several(text);
        if lines.is_empty() {
            self.document(name, text);
        }
        for line in lines {
            self.document(name, line);
        }
        let content = self.reply.take_progress();
        self.timing.event(at, content);
    }

    /// One document of a stream, or the mark that ends it.
    fn document(&mut self, name: Option<&str>, text: &str) {
        if text == "[DONE]" {
            self.reply.ended = true;
            return;
        }
        self.reconsider(text);
        if name == Some("error")
            && let Some(failure) = error::read(text)
        {
            self.reply.fail(failure);
        }
        if let Some(route) = &self.route {
            let event = Event { name, data: text };
            route.dialect.event(&event, &mut self.reply);
        }
    }

    /// A dialect that was guessed may be told by the reply.
    fn reconsider(&mut self, text: &str) {
        if let Some(route) = self.route.as_mut().filter(|route| route.guessed)
            && !self.reply.recognised
        {
            let guess = route.dialect;
            if let Some(told) = route::by_reply(guess, text) {
                route.dialect = told;
                if told.name() == "bedrock.invoke" {
                    self.reply.operation = Some(guess.operation());
                }
            }
        }
    }

    pub(super) fn whole(&mut self, text: &str) {
        if self.frame.failed().is_some() {
            if let Some(failure) = error::read(text) {
                self.reply.fail(failure);
            }
            return;
        }
        self.reconsider(text);
        let Some(route) = &self.route else {
            return;
        };
        // Inside of one document no line ends between an object and the next.
        let lined = || memchr::memmem::find(text.as_bytes(), b"}\n{").is_some();
        let lines = if self.frame.inferred || lined() {
            json::documents(text)
        } else {
            Vec::new()
        };
        if lines.len() > 1 {
            // A stream whose type was hidden, or another's.
            for data in lines {
                let event = Event { name: None, data };
                route.dialect.event(&event, &mut self.reply);
            }
            return;
        }
        route.dialect.whole(text, &mut self.reply);
        if self.frame.server.status.is_none() {
            self.reply.status = error::status(text);
            if !self.reply.recognised {
                self.reply.failure = error::read(text);
            }
        }
    }
}

/// The documents of an event that has several, one a line: some servers end no event
/// before the last.
fn several(text: &str) -> Vec<&str> {
    let is_one = |line: &str| line == "[DONE]" || json::documents(line).len() == 1;
    let lines: Vec<&str> = match text.contains('\n') {
        true => text.lines().map(str::trim_ascii).collect(),
        false => Vec::new(),
    };
    match lines.iter().all(|line| is_one(line)) {
        true => lines,
        false => Vec::new(),
    }
}
