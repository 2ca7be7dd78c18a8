//! A body on its way into a capture: as it is, or decoded and hidden.

use super::Bodies;
use super::hide::{hidden_text, hide};
use super::units::Encoder;
use crate::content::{Content, Kind, Limits, Message};
use crate::event::Missing;
use crate::http::{End, Fields};
use crate::stream::Segment;
use crate::time::Timestamp;

/// Takes a piece of content, and what is missing before it.
pub type Pieces<'a> = &'a mut dyn FnMut(Missing, &[u8]);

#[derive(Debug)]
pub enum Body {
    Raw,
    Hidden {
        content: Box<Content>,
        encoder: Encoder,
        /// Units have no text that could be hidden piece by piece.
        is_grpc: bool,
    },
}

impl Body {
    pub fn of_request(bodies: Bodies, fields: &Fields) -> Self {
        Self::new(bodies, fields, |coding| {
            Content::whole(coding, Limits::default())
        })
    }

    pub fn of_response(bodies: Bodies, fields: &Fields) -> Self {
        let kind = fields.first("content-type");
        Self::new(bodies, fields, |coding| {
            Content::stream(kind, coding, Limits::default())
        })
    }

    fn new(bodies: Bodies, fields: &Fields, content: impl FnOnce(Option<&str>) -> Content) -> Self {
        if bodies == Bodies::AsTheyAre {
            return Self::Raw;
        }
        let coding = fields.coding();
        let kind = fields.first("content-type");
        let is_grpc = kind.and_then(Kind::of_type) == Some(Kind::Grpc);
        let content = match is_grpc {
            // Requests are framed as responses are.
            true => Content::stream(kind, coding.as_deref(), Limits::default()),
            false => content(coding.as_deref()),
        };
        Self::Hidden {
            content: Box::new(content),
            encoder: Encoder::default(),
            is_grpc,
        }
    }

    pub fn feed(&mut self, at: Timestamp, segment: Segment<'_>, out: Pieces<'_>) {
        match self {
            Self::Raw => match segment {
                Segment::Data(bytes) => out(Missing::NONE, bytes),
                Segment::Gap(missing) => out(missing, &[]),
            },
            Self::Hidden {
                content,
                encoder,
                is_grpc,
            } => {
                let mut units = Vec::new();
                content.feed(at, segment, &mut |message| {
                    units.push(hidden(message, *is_grpc));
                });
                for unit in units {
                    unit.send(content, encoder, out);
                }
                if let (Segment::Gap(missing), None) = (segment, content.body()) {
                    out(missing, &[]);
                }
            }
        }
    }

    pub fn finish(&mut self, at: Timestamp, end: End, out: Pieces<'_>) {
        let Self::Hidden {
            content,
            encoder,
            is_grpc,
        } = self
        else {
            return;
        };
        let is_complete = end == End::Complete;
        let mut units = Vec::new();
        content.finish(at, is_complete, &mut |message| {
            units.push(hidden(message, *is_grpc));
        });
        for unit in units {
            unit.send(content, encoder, out);
        }
        match content.body() {
            Some(body) if body.missing.is_none() && is_complete => {
                out(Missing::NONE, &hide(body.head));
            }
            Some(body) => {
                out(Missing::NONE, &hidden_text(body.head));
                out(body.missing, &hidden_text(body.tail));
            }
            None => {
                if let (true, Some(kind)) = (is_complete, content.kind()) {
                    out(Missing::NONE, encoder.end(kind));
                }
            }
        }
    }
}

/// A unit of a stream with its content hidden, which outlives the content's buffer.
struct Unit {
    is_exception: bool,
    name: Option<Box<str>>,
    data: Vec<u8>,
}

fn hidden(message: Message<'_>, is_grpc: bool) -> Unit {
    Unit {
        is_exception: message.kind == crate::content::MessageKind::Exception,
        name: message.name.map(Box::from),
        data: match (is_grpc, message.name) {
            (true, Some("trailers")) => status_line(message.data),
            // Asterisks would be read as fields; of an empty message nothing is.
            (true, _) => Vec::new(),
            (false, _) => hide(message.data),
        },
    }
}

/// Of gRPC-Web's trailers the line that is no words.
fn status_line(trailers: &[u8]) -> Vec<u8> {
    let lines = trailers.split_inclusive(|b| *b == b'\n');
    let is_status = |line: &&[u8]| {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"grpc-status")
    };
    lines.filter(is_status).flatten().copied().collect()
}

impl Unit {
    fn send(&self, content: &Content, encoder: &mut Encoder, out: Pieces<'_>) {
        if let Some(kind) = content.kind() {
            let name = self.name.as_deref();
            let bytes = encoder.unit(kind, self.is_exception, name, &self.data);
            out(Missing::NONE, &bytes);
        }
    }
}
