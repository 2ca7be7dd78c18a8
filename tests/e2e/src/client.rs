//! Programs that call models.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A program about to run.
#[derive(Debug)]
pub struct Client {
    command: Command,
    held: Option<Running>,
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    _held: Option<Box<Running>>,
}

/// A reply as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub id: String,
    pub text: String,
    pub input: Option<u64>,
    pub output: Option<u64>,
}

impl Client {
    pub const fn new(command: Command) -> Self {
        Self {
            command,
            held: None,
        }
    }

    /// Lets `outer` start `inner`, whose words become its last arguments.
    pub fn wrapped(mut outer: Command, inner: Self) -> Self {
        let Self { command, held } = inner;
        outer.arg(command.get_program()).args(command.get_args());
        Self {
            command: outer,
            held,
        }
    }

    /// Keeps another program until this one has ended.
    pub fn holding(self, held: Running) -> Self {
        Self {
            held: Some(held),
            ..self
        }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Wishes to the test server, as a JSON object of fields.
    pub fn fields(self, fields: &str) -> Self {
        self.env("FIELDS", fields)
    }

    pub fn start(mut self) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {:?}: {error}", self.command.get_program())
            });
        let output = BufReader::new(child.stdout.take().expect("invariant: piped"));
        Running {
            child,
            output,
            _held: self.held.map(Box::new),
        }
    }

    /// Runs to a good end; gives the process's id and its replies.
    pub fn run(self) -> (u32, Vec<Reply>) {
        let running = self.start();
        (running.pid(), running.finish())
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The next line it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("output is text");
        assert!(!line.is_empty(), "the client ended early");
        line
    }

    /// The next reply it saw.
    pub fn reply(&mut self) -> Reply {
        reply(&self.line())
    }

    /// Lets it go on.
    pub fn nudge(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("invariant: piped");
        stdin.write_all(b"\n").expect("the client still reads");
    }

    /// Tells it what to do next.
    pub fn order(&mut self, order: &str) {
        let stdin = self.child.stdin.as_mut().expect("invariant: piped");
        writeln!(stdin, "{order}").expect("the client still reads");
    }

    /// Waits for a good end; gives the replies that were not read before.
    pub fn finish(mut self) -> Vec<Reply> {
        drop(self.child.stdin.take());
        let mut replies = Vec::new();
        for line in self.output.by_ref().lines() {
            let line = line.expect("output is text");
            if !line.trim().is_empty() {
                replies.push(reply(&line));
            }
        }
        let status = self.child.wait().expect("invariant: our own child");
        assert!(status.success(), "the client was disturbed: {status}");
        replies
    }
}

/// No client outlives its test.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a line of `sdk.py` or `sdk.mjs`, or a reply in OpenAI's own form.
fn reply(line: &str) -> Reply {
    let value: Value =
        serde_json::from_str(line).unwrap_or_else(|_| panic!("no reply: {line:.200}"));
    let (text, input, output) = if value["choices"].is_array() {
        (
            &value["choices"][0]["message"]["content"],
            &value["usage"]["prompt_tokens"],
            &value["usage"]["completion_tokens"],
        )
    } else {
        (&value["text"], &value["input"], &value["output"])
    };
    Reply {
        id: value["id"].as_str().unwrap_or_default().to_owned(),
        text: text.as_str().unwrap_or_default().to_owned(),
        input: input.as_u64(),
        output: output.as_u64(),
    }
}
