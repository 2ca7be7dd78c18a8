//! Lines for people.
//!
//! In: records. Out: text that fits the terminal, in which foreign text can do
//! nothing but be read. Pure: no I/O, no clock.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use llmtap::enrich::cost::Usd;
use llmtap::event::Role;
use llmtap::export::semconv::span_name;
use llmtap::llm::Call;
use llmtap::llm::call::Usage;
use llmtap::redact::Record;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What the terminal can show.
#[derive(Clone, Debug)]
pub struct Look {
    pub colour: bool,
    /// Columns; `None`: as long as it takes.
    pub width: Option<usize>,
    pub zone: TimeZone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ink {
    Plain,
    Dim,
    Bold,
    Green,
    Red,
    Yellow,
    Cyan,
}

impl Ink {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Bold => "\x1b[1m",
            Self::Green => "\x1b[32m",
            Self::Red => "\x1b[31m",
            Self::Yellow => "\x1b[33m",
            Self::Cyan => "\x1b[36m",
        }
    }
}

/// A piece of a line.
#[derive(Clone, Debug)]
struct Cell {
    text: String,
    ink: Ink,
    /// Columns it is padded to, where there is room.
    columns: usize,
    /// The higher, the sooner it gives way to a narrow terminal; 0 never does.
    weight: u8,
}

/// The last cell is not cut below it while there are others to drop.
const LONG_END: usize = 40;

/// Cells of this weight and more go before the padding does.
const LIGHT: u8 = 7;

/// A line being put together.
#[derive(Debug, Default)]
struct Line(Vec<Cell>);

impl Line {
    fn cell(&mut self, text: impl Into<String>, ink: Ink, columns: usize, weight: u8) {
        self.0.push(Cell {
            text: text.into(),
            ink,
            columns,
            weight,
        });
    }

    fn width(&self) -> usize {
        let cells = self.0.iter().map(|c| c.text.width().max(c.columns));
        cells.sum::<usize>() + self.0.len().saturating_sub(1)
    }

    /// Makes the line fit: a long end is cut first, then what matters least goes, then
    /// the padding, then what matters more, and at last the end of what is left.
    fn fit(&mut self, width: usize) {
        self.cut_end(width, LONG_END);
        self.drop_cells(width, LIGHT);
        if self.width() > width {
            self.0.iter_mut().for_each(|cell| cell.columns = 0);
        }
        self.drop_cells(width, 1);
        while self.width() > width && !self.0.is_empty() {
            self.cut_end(width, 1);
            if self.width() > width {
                self.0.pop();
            }
        }
    }

    /// Cuts the last cell, but not below `least` columns.
    fn cut_end(&mut self, width: usize, least: usize) {
        let excess = self.width().saturating_sub(width);
        let Some(last) = self.0.last_mut().filter(|_| excess > 0) else {
            return;
        };
        let now = last.text.width();
        let keep = now.saturating_sub(excess).max(least);
        if keep < now {
            last.text = truncated(&last.text, keep);
        }
    }

    /// Drops the heaviest cells of at least this weight, the last ones first.
    fn drop_cells(&mut self, width: usize, weight: u8) {
        while self.width() > width {
            let heaviest = self.0.iter().map(|c| c.weight).max().unwrap_or(0);
            let heaviest = self.0.iter().rposition(|c| c.weight == heaviest);
            match heaviest {
                Some(at) if self.0.get(at).is_some_and(|c| c.weight >= weight) => {
                    self.0.remove(at);
                }
                _ => return,
            }
        }
    }

    fn render(mut self, look: &Look) -> String {
        if let Some(width) = look.width {
            self.fit(width);
        }
        let mut out = String::new();
        let last = self.0.len().saturating_sub(1);
        for (at, cell) in self.0.iter().enumerate() {
            let coloured = look.colour && cell.ink != Ink::Plain;
            out.push_str(if coloured { cell.ink.code() } else { "" });
            out.push_str(&cell.text);
            out.push_str(if coloured { "\x1b[0m" } else { "" });
            if at < last {
                let padding = cell.columns.saturating_sub(cell.text.width());
                out.extend(std::iter::repeat_n(' ', padding + 1));
            }
        }
        out
    }
}

/// The line that a call begins with.
pub fn started(record: &Record, number: u64, look: &Look) -> String {
    let mut line = Line::default();
    let call = record.call();
    opening(&mut line, record, record.start_unix_nanos(), look);
    line.0.insert(1, mark("→", Ink::Cyan));
    line.0.insert(2, tag(number));
    if call.request.stream == Some(true) {
        line.cell("stream", Ink::Dim, 0, 2);
    }
    line.render(look)
}

/// The line that a call ends with. `peer`: the process at its other end, where that
/// is on this host.
pub fn finished(record: &Record, number: u64, peer: Option<&str>, look: &Look) -> String {
    let mut line = Line::default();
    let call = record.call();
    opening(&mut line, record, record.end_unix_nanos(), look);
    let (sign, ink) = match &call.error {
        Some(_) => ("✗", Ink::Red),
        None => ("✓", Ink::Green),
    };
    line.0.insert(1, mark(sign, ink));
    line.0.insert(2, tag(number));
    if let Some(peer) = peer {
        line.cell(format!("⇄ {}", clean(peer)), Ink::Dim, 0, 5);
    }
    let took = call.timing.end.since(call.timing.start);
    line.cell(span(took), Ink::Bold, 6, 0);
    if let Some(first) = call.timing.first_chunk {
        let ttft = span(first.since(call.timing.start));
        line.cell(format!("ttft {ttft}"), Ink::Plain, 10, 3);
    }
    tokens(&mut line, record);
    match record.cost() {
        Some(cost) => line.cell(dollars(cost.total()), Ink::Plain, 8, 5),
        None => line.cell("$–", Ink::Dim, 8, 8),
    }
    outcome(&mut line, call);
    line.render(look)
}

fn opening(line: &mut Line, record: &Record, nanos: u64, look: &Look) {
    let call = record.call();
    let model = call
        .request
        .model
        .as_deref()
        .or(call.response.model.as_deref());
    line.cell(time(nanos, &look.zone), Ink::Dim, 0, 6);
    let process = match call.role {
        Role::Client => process(record),
        Role::Server => format!("↓{}", process(record)),
    };
    line.cell(process, Ink::Bold, 16, 0);
    line.cell(clean(&call.provider), Ink::Plain, 9, 4);
    let subject = match model {
        None if call.dialect == "mcp" => span_name(call).into(),
        model => Cow::Borrowed(model.unwrap_or("–")),
    };
    line.cell(clean(&subject), Ink::Cyan, 20, 0);
    line.cell(clean(&call.operation), Ink::Dim, 4, 7);
}

fn tokens(line: &mut Line, record: &Record) {
    let call = record.call();
    let about = if record.is_estimated() { "~" } else { "" };
    let shown = |tokens: Option<u64>| match tokens {
        Some(tokens) => format!("{about}{}", grouped(tokens)),
        None => "–".into(),
    };
    let Usage {
        input,
        output,
        cache_read,
        ..
    } = call.usage;
    let has_output = output.is_some() || call.operation != "embeddings";
    if call.error.is_some() && input.is_none() && output.is_none() {
        return;
    }
    line.cell(format!("in {}", shown(input)), Ink::Plain, 9, 2);
    if let Some(cached) = cache_read.filter(|cached| *cached > 0) {
        line.cell(format!("(cached {})", grouped(cached)), Ink::Dim, 0, 5);
    }
    if has_output {
        line.cell(format!("out {}", shown(output)), Ink::Plain, 8, 2);
    }
}

fn outcome(line: &mut Line, call: &Call) {
    if call.capture.lost_bytes > 0 {
        let lost = count(call.capture.lost_bytes, "byte");
        line.cell(format!("{lost} lost"), Ink::Yellow, 0, 1);
    }
    if call.capture.truncated {
        line.cell("truncated", Ink::Yellow, 0, 1);
    }
    match &call.error {
        Some(error) => {
            let text = match &error.message {
                Some(message) => format!("{}: {message}", error.kind),
                None => error.kind.clone().into_owned(),
            };
            line.cell(clean(&text), Ink::Red, 0, 0);
        }
        None if !call.response.finish_reasons.is_empty() => {
            let reasons = clean(&call.response.finish_reasons.join(", "));
            line.cell(reasons, Ink::Green, 0, 1);
        }
        None => {}
    }
}

fn mark(sign: &str, ink: Ink) -> Cell {
    Cell {
        text: sign.into(),
        ink,
        columns: 0,
        weight: 0,
    }
}

fn tag(number: u64) -> Cell {
    Cell {
        text: format!("#{number}"),
        ink: Ink::Dim,
        columns: 3,
        weight: 6,
    }
}

/// `name(pid)`
pub fn process(record: &Record) -> String {
    let origin = record.origin();
    let name = clean(origin.comm.as_deref().unwrap_or("?"));
    match origin.pid {
        Some(pid) => format!("{name}({pid})"),
        None => name,
    }
}

/// What stands before each line of a reply's text.
pub fn margin(number: u64, look: &Look) -> String {
    let mut line = Line::default();
    line.cell(format!("  #{number}"), Ink::Dim, 5, 0);
    line.cell("│", Ink::Dim, 0, 0);
    line.cell("", Ink::Plain, 0, 0);
    let wide = look.width.is_none_or(|width| width >= 40);
    if wide {
        line.render(look)
    } else {
        String::new()
    }
}

fn time(nanos: u64, zone: &TimeZone) -> String {
    match Timestamp::from_nanosecond(i128::from(nanos)) {
        Ok(at) => {
            let at = zone.to_datetime(at);
            let (h, m, s) = (at.hour(), at.minute(), at.second());
            format!("{h:02}:{m:02}:{s:02}.{:03}", at.millisecond())
        }
        Err(_) => "--:--:--.---".into(),
    }
}

pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration < Duration::from_millis(1) => "<1ms".into(),
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.2}s", duration.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Dollars, those below one with two digits that say something.
pub fn dollars(amount: Usd) -> String {
    let dollars = amount.as_dollars();
    match amount.as_picos() {
        0 => "$0".into(),
        1..1_000_000 => "<$0.000001".into(),
        1_000_000..1_000_000_000_000 => {
            let zeros = (1.0 / dollars).log10().ceil().clamp(1.0, 6.0);
            format!("${dollars:.*}", zeros as usize + 1)
        }
        picos => {
            let cents = picos / 10_000_000_000;
            format!("${}.{:02}", grouped(cents / 100), cents % 100)
        }
    }
}

/// A number with its noun.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// Foreign text for one line: nothing in it moves the cursor, changes a colour or
/// turns the direction of writing.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if is_harmful(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Controls, and what reorders or hides text without being seen.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
            // Joins the parts of an emoji.
            && c != '\u{200d}'
}

fn truncated(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut left = columns.saturating_sub(1);
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::record;
    use llmtap::llm::call::{Failure, Value};

    fn look(width: Option<usize>) -> Look {
        Look {
            colour: false,
            width,
            zone: TimeZone::UTC,
        }
    }

    #[test]
    fn a_call_begins_and_ends_with_a_line() {
        let record = record(|_, _| {});
        assert_eq!(
            started(&record, 3, &look(None)),
            "08:53:21.000 → #3  python3(4242)    openai    gpt-4o-mini          chat stream"
        );
        assert_eq!(
            finished(&record, 3, None, &look(None)),
            "08:53:22.340 ✓ #3  python3(4242)    openai    gpt-4o-mini          chat \
             1.34s  ttft 210ms in 1,234  (cached 1,024) out 56   $–       stop"
        );
    }

    #[test]
    fn a_call_of_mcp_shows_what_is_asked() {
        let record = record(|call, _| {
            call.provider = "mcp".into();
            call.dialect = "mcp";
            call.operation = "execute_tool".into();
            call.request.model = None;
            call.response.model = None;
            for (name, value) in [
                ("mcp.method.name", "tools/call"),
                ("gen_ai.tool.name", "add"),
            ] {
                call.extra.push((name.into(), Value::String(value.into())));
            }
        });
        let line = started(&record, 3, &look(None));
        assert!(
            line.ends_with("mcp       tools/call add       execute_tool stream"),
            "{line}"
        );
    }

    #[test]
    fn narrow_lines_keep_what_matters() {
        let record = record(|_, _| {});
        let at = |width| finished(&record, 3, None, &look(Some(width)));
        assert_eq!(
            at(80),
            "✓ python3(4242) openai gpt-4o-mini 1.34s ttft 210ms in 1,234 out 56 stop"
        );
        assert_eq!(at(40), "✓ python3(4242) gpt-4o-mini 1.34s stop");
        assert_eq!(at(20), "✓ python3(4242) gpt…");
        for width in 1..140 {
            assert!(at(width).width() <= width, "{width}: {}", at(width));
        }
    }

    #[test]
    fn errors_say_why_and_are_cut_by_width() {
        let record = record(|call, _| {
            call.error = Some(Failure {
                kind: "429".into(),
                message: Some("Rate limit\nreached, 日本語 and more of it".into()),
            });
        });
        let line = finished(&record, 1, None, &look(None));
        assert!(line.ends_with("429: Rate limit reached, 日本語 and more of it"));
        for width in 40..140 {
            let line = finished(&record, 1, None, &look(Some(width)));
            assert!(line.width() <= width && line.contains("429"), "{line}");
        }
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        let record = record(|call, origin| {
            call.request.model = Some("m\x1b]0;x\x07\u{9b}31m\u{202e}".into());
            origin.comm = Some("a\x1b[2J\nb".into());
        });
        let line = finished(&record, 1, Some("\x1b[H"), &look(None));
        assert!(!line.chars().any(is_harmful), "{line:?}");
        assert!(line.contains("a\u{fffd}[2J b(4242)"), "{line}");
    }

    #[test]
    fn colour_changes_no_text() {
        let record = record(|_, _| {});
        let coloured = Look {
            colour: true,
            ..look(None)
        };
        let line = finished(&record, 1, None, &coloured);
        assert!(line.contains("\x1b[32mstop\x1b[0m"));
        let stripped = regex::Regex::new("\x1b\\[[0-9]+m").unwrap();
        let plain = finished(&record, 1, None, &look(None));
        assert_eq!(stripped.replace_all(&line, ""), plain);
    }

    #[test]
    fn a_known_cost_shows_where_there_is_room() {
        let record = super::super::samples::priced(141_900_000);
        let at = |width| finished(&record, 3, None, &look(width));
        assert!(at(None).ends_with("out 56   $0.00014 stop"), "{}", at(None));
        assert!(at(Some(100)).contains("$0.00014"), "{}", at(Some(100)));
        assert!(!at(Some(60)).contains('$'), "{}", at(Some(60)));
    }

    #[test]
    fn amounts() {
        for (dollars_, shown) in [
            (0.0, "$0"),
            (0.000_000_9, "<$0.000001"),
            (0.000_001, "$0.0000010"),
            (0.000_141_9, "$0.00014"),
            (0.01, "$0.010"),
            (0.099_99, "$0.100"),
            (0.5, "$0.50"),
            (1.0, "$1.00"),
            (12_345.678, "$12,345.67"),
        ] {
            assert_eq!(dollars(Usd::from_dollars(dollars_).unwrap()), shown);
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(span(Duration::from_micros(999)), "<1ms");
        assert_eq!(span(Duration::from_millis(999)), "999ms");
        assert_eq!(span(Duration::from_secs(125)), "2m05s");
        assert_eq!(span(Duration::from_secs(7260)), "2h01m");
    }
}
