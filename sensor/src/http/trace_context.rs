//! The trace that a request says it belongs to.
//!
//! In: fields of a request's head. Out: a [`TraceContext`], whichever of the usual
//! formats it came in. What breaks its format is as good as absent.

use super::head::Fields;

/// The span that sent a request, and what is passed on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Never 0.
    pub trace: u128,
    /// Never 0.
    pub span: u64,
    /// Whether the sender records the trace; `None` where it leaves that open.
    pub sampled: Option<bool>,
    /// The members of `tracestate`, as sent (W3C Trace Context, 3.3).
    pub state: Option<Box<str>>,
}

/// Longest `tracestate` that is kept, in bytes; W3C asks for no more (3.3.1.5).
const MAX_STATE: usize = 512;

impl TraceContext {
    /// Reads W3C Trace Context, else B3, else Datadog's fields, else X-Ray's.
    pub fn of(fields: &Fields) -> Option<Self> {
        w3c(fields)
            .or_else(|| b3(fields))
            .or_else(|| datadog(fields))
            .or_else(|| x_ray(fields))
    }

    /// Reads the value of a `traceparent` (W3C Trace Context, 3.2).
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut members = traceparent.trim_ascii().split('-');
        let mut member = |digits| members.next().filter(|m| is_hex(m, digits));
        let (version, trace, span, flags) = (member(2)?, member(32)?, member(16)?, member(2)?);
        // Later versions may say more; this one does not, and `ff` is none.
        if version == "ff" || (version == "00" && members.next().is_some()) {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Self::new(hex_u128(trace)?, hex_u64(span)?, Some(flags & 1 == 1))
    }

    fn new(trace: u128, span: u64, sampled: Option<bool>) -> Option<Self> {
        (trace != 0 && span != 0).then_some(Self {
            trace,
            span,
            sampled,
            state: None,
        })
    }

    /// With the members of a `tracestate`, if they are not too many.
    #[must_use]
    pub fn with_state(mut self, tracestate: &str) -> Self {
        let fits = (1..=MAX_STATE).contains(&tracestate.len());
        self.state = fits.then(|| tracestate.into());
        self
    }
}

fn w3c(fields: &Fields) -> Option<TraceContext> {
    let mut parents = fields.all("traceparent");
    let context = TraceContext::parse(parents.next()?)?;
    // Of two that contradict each other neither can be believed (4.2).
    if parents.next().is_some() {
        return None;
    }
    let state: Vec<&str> = fields.list("tracestate").collect();
    Some(context.with_state(&state.join(",")))
}

/// One field (`trace-span-sampled-parent`), or one field each.
fn b3(fields: &Fields) -> Option<TraceContext> {
    if let Some(value) = fields.first("b3") {
        let mut members = value.split('-');
        let (trace, span) = (members.next()?, members.next()?);
        return b3_context(trace, span, members.next().and_then(b3_sampled));
    }
    let debug = fields.first("x-b3-flags") == Some("1");
    let sampled = fields.first("x-b3-sampled").and_then(b3_sampled);
    b3_context(
        fields.first("x-b3-traceid")?,
        fields.first("x-b3-spanid")?,
        if debug { Some(true) } else { sampled },
    )
}

fn b3_context(trace: &str, span: &str, sampled: Option<bool>) -> Option<TraceContext> {
    let is_long = trace.len() == 32;
    let trace = is_hex(trace, if is_long { 32 } else { 16 }).then(|| hex_u128(trace))??;
    let span = is_hex(span, 16).then(|| hex_u64(span))??;
    TraceContext::new(trace, span, sampled)
}

fn b3_sampled(value: &str) -> Option<bool> {
    match value {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// Numbers are decimal; the upper half of the trace's stands among the tags, in hex.
fn datadog(fields: &Fields) -> Option<TraceContext> {
    let number = |name| fields.first(name)?.parse::<u64>().ok();
    let lower = number("x-datadog-trace-id").filter(|id| *id != 0)?;
    let upper = fields
        .list("x-datadog-tags")
        .find_map(|tag| tag.strip_prefix("_dd.p.tid="))
        .filter(|upper| is_hex(upper, 16))
        .and_then(hex_u64)
        .unwrap_or(0);
    let priority = fields.first("x-datadog-sampling-priority");
    let sampled = priority.and_then(|p| p.parse::<i8>().ok()).map(|p| p > 0);
    let trace = u128::from(upper) << 64 | u128::from(lower);
    TraceContext::new(trace, number("x-datadog-parent-id")?, sampled)
}

/// `Root=1-SECONDS-RANDOM;Parent=SPAN;Sampled=1`, in any order.
fn x_ray(fields: &Fields) -> Option<TraceContext> {
    let value = fields.first("x-amzn-trace-id")?;
    let member = |name: &str| {
        value
            .split(';')
            .filter_map(|member| member.trim_ascii().split_once('='))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    };
    let (seconds, random) = member("root")?.strip_prefix("1-")?.split_once('-')?;
    let (seconds, random) = (
        is_hex(seconds, 8).then(|| hex_u128(seconds))??,
        is_hex(random, 24).then(|| hex_u128(random))??,
    );
    let parent = member("parent").filter(|parent| is_hex(parent, 16))?;
    let sampled = match member("sampled") {
        Some("1") => Some(true),
        Some("0") => Some(false),
        _ => None,
    };
    TraceContext::new(seconds << 96 | random, hex_u64(parent)?, sampled)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn hex_u64(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn hex_u128(text: &str) -> Option<u128> {
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    const SPAN: u64 = 0xb7ad_6b71_6920_3331;

    fn of(fields: &[(&str, &str)]) -> Option<(u128, u64, Option<bool>)> {
        context(fields).map(|c| (c.trace, c.span, c.sampled))
    }

    fn context(list: &[(&str, &str)]) -> Option<TraceContext> {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.push(name, value);
        }
        TraceContext::of(&fields)
    }

    const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn every_format_says_the_same() {
        for fields in [
            &[("Traceparent", W3C)][..],
            &[(
                "b3",
                "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-00f067aa0ba902b7",
            )],
            &[
                ("X-B3-TraceId", "0af7651916cd43dd8448eb211c80319c"),
                ("X-B3-SpanId", "b7ad6b7169203331"),
                ("X-B3-Sampled", "1"),
            ],
            &[
                ("x-datadog-trace-id", "9532127138774266268"),
                ("x-datadog-parent-id", "13235353014750950193"),
                ("x-datadog-tags", "_dd.p.dm=-4,_dd.p.tid=0af7651916cd43dd"),
                ("x-datadog-sampling-priority", "2"),
            ],
            &[(
                "X-Amzn-Trace-Id",
                "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1",
            )],
        ] {
            assert_eq!(of(fields), Some((TRACE, SPAN, Some(true))), "{fields:?}");
        }
    }

    #[test]
    fn short_ids_and_open_decisions() {
        let short = of(&[("b3", "8448eb211c80319c-b7ad6b7169203331")]);
        assert_eq!(short, Some((0x8448_eb21_1c80_319c, SPAN, None)));
        let flags = of(&[
            ("x-b3-traceid", "8448eb211c80319c"),
            ("x-b3-spanid", "b7ad6b7169203331"),
            ("x-b3-sampled", "0"),
            ("x-b3-flags", "1"),
        ]);
        assert_eq!(flags.unwrap().2, Some(true));
        let refused = W3C.replace("-01", "-00");
        assert_eq!(of(&[("traceparent", &refused)]).unwrap().2, Some(false));
        let later = format!("cc{}-what-comes", &W3C[2..]);
        assert!(of(&[("traceparent", &later)]).is_some());
    }

    #[test]
    fn state_comes_along_and_w3c_comes_first() {
        let found = context(&[
            ("b3", "1111111111111111-2222222222222222-1"),
            ("traceparent", W3C),
            ("tracestate", "a=1, b=2"),
            ("tracestate", "c=3"),
        ]);
        let found = found.unwrap();
        assert_eq!(
            (found.trace, found.state.as_deref()),
            (TRACE, Some("a=1,b=2,c=3"))
        );
        let long = "x".repeat(MAX_STATE + 1);
        let found = context(&[("traceparent", W3C), ("tracestate", &long)]);
        assert_eq!(found.unwrap().state, None);
    }

    #[test]
    fn what_breaks_its_format_is_none() {
        for value in [
            "",
            "00",
            "00-0-0-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-é0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(of(&[("traceparent", value)]), None, "{value}");
        }
        assert_eq!(of(&[("traceparent", W3C), ("traceparent", W3C)]), None);
        for (name, value) in [
            ("b3", "0"),
            ("b3", "1-2-1"),
            ("x-datadog-trace-id", "7"),
            ("x-datadog-trace-id", "-7"),
            (
                "x-amzn-trace-id",
                "Root=1-0af76519-16cd43dd8448eb211c80319c",
            ),
            ("x-amzn-trace-id", "Root=2-0-0;Parent=b7ad6b7169203331"),
        ] {
            assert_eq!(of(&[(name, value)]), None, "{name}: {value}");
        }
    }
}
