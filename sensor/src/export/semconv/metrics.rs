//! Names of metrics, their units and their buckets.

/// What is counted of calls and of llmtap itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub unit: &'static str,
    pub about: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
    /// Only grows.
    Counter,
    /// Comes and goes, and adds up over series.
    UpDown,
    /// Comes and goes.
    Gauge,
}

impl Eq for Kind {}

const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const SECONDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const PER_TOKEN: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];
const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
const MCP: &[f64] = &[
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

const fn histogram(
    name: &'static str,
    unit: &'static str,
    about: &'static str,
    bounds: &'static [f64],
) -> Metric {
    Metric {
        name,
        unit,
        about,
        kind: Kind::Histogram(bounds),
    }
}

const fn counter(name: &'static str, unit: &'static str, about: &'static str) -> Metric {
    Metric {
        name,
        unit,
        about,
        kind: Kind::Counter,
    }
}

const fn gauge(name: &'static str, unit: &'static str, about: &'static str) -> Metric {
    Metric {
        name,
        unit,
        about,
        kind: Kind::Gauge,
    }
}

pub const TOKEN_USAGE: Metric = histogram(
    "gen_ai.client.token.usage",
    "{token}",
    "Tokens that a call took in or gave out.",
    TOKENS,
);
pub const OPERATION_DURATION: Metric = histogram(
    "gen_ai.client.operation.duration",
    "s",
    "Time from the first byte of a request to the last one of its response.",
    SECONDS,
);
pub const TIME_TO_FIRST_CHUNK: Metric = histogram(
    "gen_ai.client.operation.time_to_first_chunk",
    "s",
    "Time from the first byte of a request to the first event of its streamed response.",
    SECONDS,
);
pub const TIME_PER_OUTPUT_CHUNK: Metric = histogram(
    "gen_ai.client.operation.time_per_output_chunk",
    "s",
    "Time between two events with content of a streamed response.",
    SECONDS,
);
pub const SERVER_DURATION: Metric = histogram(
    "gen_ai.server.request.duration",
    "s",
    "Time that a model server of this host took for a request.",
    SECONDS,
);
pub const SERVER_FIRST_TOKEN: Metric = histogram(
    "gen_ai.server.time_to_first_token",
    "s",
    "Time until a model server of this host gave its first token.",
    FIRST_TOKEN,
);
pub const SERVER_PER_TOKEN: Metric = histogram(
    "gen_ai.server.time_per_output_token",
    "s",
    "Time that a model server of this host took for each token after the first.",
    PER_TOKEN,
);
pub const MCP_CLIENT_DURATION: Metric = histogram(
    "mcp.client.operation.duration",
    "s",
    "Time until a request of the Model Context Protocol was answered, seen by who asked.",
    MCP,
);
pub const MCP_SERVER_DURATION: Metric = histogram(
    "mcp.server.operation.duration",
    "s",
    "Time until a request of the Model Context Protocol was answered, seen by who answered.",
    MCP,
);
pub const COST: Metric = counter(
    "llmtap.client.cost.usd",
    "{USD}",
    "What calls cost, in US dollars, where it is known.",
);
pub const UNPRICED: Metric = counter(
    "llmtap.client.unpriced",
    "{call}",
    "Calls that should have a cost and have none.",
);
pub const IN_FLIGHT: Metric = Metric {
    name: "llmtap.calls.in_flight",
    unit: "{call}",
    about: "Calls that have begun and not ended.",
    kind: Kind::UpDown,
};
pub const OVERFLOW: Metric = counter(
    "llmtap.metrics.overflow",
    "{measurement}",
    "Measurements whose attribute had too many values, by attribute.",
);

pub const EVENTS: Metric = counter("llmtap.events", "{event}", "Events read from the probes.");
pub const BYTES: Metric = counter(
    "llmtap.bytes",
    "By",
    "Bytes of traffic, by what became of them.",
);
pub const LOST: Metric = counter("llmtap.lost", "By", "Bytes of traffic that were lost.");
pub const CALLS: Metric = counter("llmtap.calls", "{call}", "Calls that have ended.");
pub const EXCHANGES: Metric = counter("llmtap.exchanges", "{exchange}", "HTTP exchanges followed.");
pub const FAULTS: Metric = counter(
    "llmtap.faults",
    "{fault}",
    "What traffic did against the rules or could not be told of it, by the room that met it.",
);
pub const CONNECTIONS: Metric = gauge(
    "llmtap.connections",
    "{connection}",
    "Connections followed at this moment.",
);
pub const IMAGES: Metric = gauge(
    "llmtap.images",
    "{file}",
    "Files whose TLS functions are probed.",
);
pub const PROBES: Metric = gauge(
    "llmtap.probes",
    "{probe}",
    "Probes in place, and those that could not be set.",
);
pub const HOOKED: Metric = gauge(
    "llmtap.images.judged",
    "{file}",
    "Files whose probes showed plaintext, and those that lost them because they did not.",
);
pub const RELEASED: Metric = gauge(
    "llmtap.processes.released",
    "{process}",
    "Processes without probes, because they were busy and made no calls.",
);
pub const RELEASES: Metric = counter(
    "llmtap.process.releases",
    "{process}",
    "Processes that lost their probes because they made no calls, and those that got them back.",
);
pub const RECORD_LOSS: Metric = counter(
    "llmtap.kernel.loss",
    "{record}",
    "Records that the kernel half could not deliver, by reason.",
);
pub const QUEUED: Metric = gauge(
    "llmtap.export.queued",
    "{record}",
    "Records and messages that wait, by way out.",
);
pub const WAITING: Metric = gauge(
    "llmtap.export.waiting",
    "By",
    "Bytes of messages that wait for a collector, by way out.",
);
pub const DROPPED: Metric = counter(
    "llmtap.export.dropped",
    "{record}",
    "Records and messages that were given up, by way out and reason.",
);
pub const SENT: Metric = counter(
    "llmtap.export.sent",
    "{message}",
    "Messages that a collector has taken, by way out.",
);
pub const FAILURES: Metric = counter(
    "llmtap.export.failures",
    "{attempt}",
    "Attempts that failed and are made again, by way out.",
);
pub const MEMORY: Metric = gauge("llmtap.memory", "By", "Resident memory of llmtap.");
pub const CPU: Metric = counter("llmtap.cpu", "s", "Processor time that llmtap used.");
