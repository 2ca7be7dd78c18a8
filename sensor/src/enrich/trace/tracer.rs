//! Remembers what is going on, to tell what a call is made for.
//!
//! In: served requests, calls as they start and end. Out: the [`Trace`] of each.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Known, Seed, Trace};
use crate::engine::{Answered, Served};
use crate::enrich::Origins;
use crate::event::{ConnectionId, Origin, Role};
use crate::llm::call::TraceContext;
use crate::llm::{Call, CallId};
use crate::time::Timestamp;

/// Requests in hand at most; what comes beyond is no parent.
pub(super) const MAX_IN_HAND: usize = 1 << 16;

/// Of those, of one process. With so many none is the only one.
const MAX_OF_PROCESS: usize = 1 << 10;

/// Processes whose ways are remembered while they serve nothing.
const MAX_PROCESSES: usize = 1 << 12;

/// Workers of one process that are known to have several requests in hand.
const MAX_LOOPS: usize = 1 << 10;

/// Calls under way whose place is remembered; beyond it the oldest are forgotten.
pub(super) const MAX_CALLS: usize = 1 << 14;

/// Client's ends of calls that may have another end on this host.
pub(super) const MAX_ENDS: usize = 1 << 12;

/// Requests that a process has answered by the thread that read them while it had others in
/// hand, and none by another, before its threads are trusted to tell its requests apart.
const PROOF: u32 = 3;

/// See the module.
#[derive(Debug, Default)]
pub struct Tracer {
    seed: Seed,
    pub(super) in_hand: HashMap<CallId, InHand>,
    processes: HashMap<u32, Process>,
    /// Where calls under way stand, so that they stand there at their end.
    pub(super) calls: HashMap<CallId, Trace>,
    /// In the order they started; holds ended ones, too, for a while.
    pub(super) started: VecDeque<CallId>,
    pub(super) ends: VecDeque<End>,
    ambiguous: u64,
}

/// A request that a process has read and not answered.
#[derive(Debug)]
pub(super) struct InHand {
    served: Box<Served>,
    pid: u32,
    /// Decided when it is first asked for, and then for good.
    trace: Option<Trace>,
    /// It is a call, and comes out as one.
    is_call: bool,
    /// A call is made for it.
    is_parent: bool,
}

/// What is known of the way a process serves.
#[derive(Debug, Default)]
struct Process {
    in_hand: Vec<CallId>,
    /// Requests answered by the thread that read them, with others in hand: of one alone
    /// that says little, whatever moves work from thread to thread leaves it where it is.
    steady: u32,
    /// Some request was answered by another thread than the one that read it.
    hands_over: bool,
    /// Those that had several requests in hand at once.
    loops: HashSet<Worker>,
}

/// What reads a request and, mostly, does what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Thread(u32),
    Goroutine(u32),
}

/// The client's end of a call.
#[derive(Debug)]
pub(super) struct End {
    call: CallId,
    connection: ConnectionId,
    start: Timestamp,
    ended: Option<Timestamp>,
    model: Option<Box<str>>,
    trace: Trace,
}

impl Tracer {
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Process `pid` has read the head of a request.
    pub fn serving(&mut self, served: Box<Served>, pid: Option<u32>) {
        let Some(pid) = pid.filter(|_| self.in_hand.len() < MAX_IN_HAND) else {
            return;
        };
        if self.processes.len() >= MAX_PROCESSES {
            self.processes.retain(|_, p| !p.in_hand.is_empty());
        }
        let process = self.processes.entry(pid).or_default();
        if process.in_hand.len() >= MAX_OF_PROCESS {
            return;
        }
        if let Some(worker) = Worker::of(served.thread, served.goroutine)
            && process.loops.len() < MAX_LOOPS
            && process.is_busy(worker, &self.in_hand)
        {
            process.loops.insert(worker);
        }
        process.in_hand.push(served.id);
        let in_hand = InHand {
            pid,
            trace: None,
            is_call: false,
            is_parent: false,
            served,
        };
        self.in_hand.insert(in_hand.served.id, in_hand);
    }

    /// A request is answered. Gives it back with its place where it is the parent of a call
    /// and no call itself: nobody else will tell of it.
    pub fn answered(&mut self, answer: &Answered) -> Option<(Box<Served>, Trace)> {
        let in_hand = self.in_hand.remove(&answer.id)?;
        if let Some(process) = self.processes.get_mut(&in_hand.pid) {
            process.in_hand.retain(|id| *id != answer.id);
            if let Some(worker @ Worker::Goroutine(_)) = in_hand.worker()
                && !process.is_busy(worker, &self.in_hand)
            {
                // Another one may get its name.
                process.loops.remove(&worker);
            }
            match (in_hand.served.thread, answer.thread) {
                (Some(read), Some(wrote)) if read == wrote => {
                    let is_proof = u32::from(!process.in_hand.is_empty());
                    process.steady = process.steady.saturating_add(is_proof);
                }
                (Some(_), Some(_)) => process.hands_over = true,
                _ => {}
            }
        }
        let trace = in_hand.trace.filter(|_| in_hand.is_parent)?;
        (!in_hand.is_call).then_some((in_hand.served, trace))
    }

    /// Where `call` stands, as far as it can be told by now. What it was once put below, it
    /// stays below.
    pub fn place(&mut self, call: &Call, origins: &Origins) -> Trace {
        if let Some(trace) = self.calls.get(&call.id) {
            return trace.clone();
        }
        let trace = match call.role {
            Role::Client => self.client(call, origins),
            Role::Server => self.server(call, origins),
        };
        // A served call whose other end did not show may find it later.
        let is_final = call.role == Role::Client || is_below_peer(&trace);
        if is_final {
            self.remember(call.id, trace.clone());
        }
        trace
    }

    /// The call is over and was placed.
    pub fn finished(&mut self, call: &Call) {
        self.calls.remove(&call.id);
        if let Some(end) = self.ends.iter_mut().rfind(|end| end.call == call.id) {
            end.ended = Some(call.timing.end);
        }
    }

    /// Calls that were made while several requests were in hand, so that it could not be
    /// told for which.
    pub fn ambiguous(&self) -> u64 {
        self.ambiguous
    }

    /// A call that the process makes.
    fn client(&mut self, call: &Call, origins: &Origins) -> Trace {
        let own = self.seed.place(call);
        let parent = self.parent(call, &origins.of(call.connection));
        let parent = parent.and_then(|(id, known)| Some((self.adopt(id)?, known)));
        let trace = match parent {
            Some((parent, known)) => own.below(&parent, known),
            None => own,
        };
        if self.ends.len() >= MAX_ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(End {
            call: call.id,
            connection: call.connection,
            start: call.timing.start,
            ended: None,
            model: call.request.model.clone(),
            trace: trace.clone(),
        });
        trace
    }

    /// A call that the process serves.
    fn server(&mut self, call: &Call, origins: &Origins) -> Trace {
        let settled = self.in_hand.get_mut(&call.id).and_then(|in_hand| {
            in_hand.is_call = true;
            in_hand.trace.clone()
        });
        let trace = settled.unwrap_or_else(|| self.below_peer(call, origins));
        if let Some(in_hand) = self
            .in_hand
            .get_mut(&call.id)
            .filter(|_| is_below_peer(&trace))
        {
            in_hand.trace = Some(trace.clone());
        }
        trace
    }

    /// The request in hand that `call` of `origin`'s process is made for, where that is known.
    fn parent(&mut self, call: &Call, origin: &Origin) -> Option<(CallId, Known)> {
        let process = self.processes.get(&origin.pid?)?;
        let in_hand = || {
            let all = process.in_hand.iter().filter_map(|id| self.in_hand.get(id));
            all.filter(|h| h.served.began <= call.timing.start)
        };
        if let Some(context) = &call.context {
            let same = |h: &&InHand| {
                h.served
                    .context
                    .as_ref()
                    .is_some_and(|c| is_same(c, context))
            };
            let forwarded = only(in_hand().filter(same))?;
            return Some((forwarded.served.id, Known::Forwarded));
        }
        let worker = Worker::of(call.thread, call.goroutine);
        let own = |h: &&InHand| h.worker() == worker;
        if let Some(worker) = worker
            && let Some(known) = process.is_told_by(worker, origin)
            && let Some(mine) = only(in_hand().filter(own))
        {
            return Some((mine.served.id, known));
        }
        let sole = only(in_hand()).map(|sole| (sole.served.id, Known::Sole));
        if sole.is_none() && in_hand().next().is_some() {
            self.ambiguous = self.ambiguous.saturating_add(1);
        }
        sole
    }

    /// Makes a request in hand a parent, and says where it stands.
    fn adopt(&mut self, id: CallId) -> Option<Trace> {
        let in_hand = self.in_hand.get_mut(&id)?;
        in_hand.is_parent = true;
        let served = &in_hand.served;
        let trace = in_hand.trace.get_or_insert_with(|| {
            let own = self.seed.root(served.connection, id, served.began);
            match &served.context {
                Some(context) => own.in_context(context),
                None => own,
            }
        });
        Some(trace.clone())
    }

    /// A served call below its client's end, where that is on this host.
    fn below_peer(&mut self, call: &Call, origins: &Origins) -> Trace {
        let own = self.seed.place(call);
        let origin = origins.of(call.connection);
        let (Some(local), Some(peer)) = (origin.local, origin.peer) else {
            return own;
        };
        let (start, model) = (call.timing.start, &call.request.model);
        // Requests of one connection arrive in the order they were sent.
        let is_open =
            |end: &End| end.start <= start && end.ended.is_none_or(|ended| ended >= start);
        let is_alike = |end: &End| end.model.is_none() || model.is_none() || end.model == *model;
        let is_other_side = |end: &End| {
            let other = origins.of(end.connection);
            other.local == Some(peer) && other.peer == Some(local)
        };
        let end = self
            .ends
            .iter()
            .position(|end| is_open(end) && is_alike(end) && is_other_side(end));
        match end.and_then(|at| self.ends.remove(at)) {
            Some(end) => own.below(&end.trace, Known::Peer),
            None => own,
        }
    }

    fn remember(&mut self, call: CallId, trace: Trace) {
        self.calls.insert(call, trace);
        self.started.push_back(call);
        if self.started.len() > MAX_CALLS
            && let Some(oldest) = self.started.pop_front()
        {
            self.calls.remove(&oldest);
        }
    }
}

impl Process {
    /// Whether `worker` has read a request that is not answered.
    fn is_busy(&self, worker: Worker, in_hand: &HashMap<CallId, InHand>) -> bool {
        let mut all = self.in_hand.iter().filter_map(|id| in_hand.get(id));
        all.any(|in_hand| in_hand.worker() == Some(worker))
    }

    /// Whether what `worker` does is done for the request that it has read, and how that is
    /// known.
    fn is_told_by(&self, worker: Worker, origin: &Origin) -> Option<Known> {
        let known = match worker {
            // One is started for each connection, and runs what serves it.
            Worker::Goroutine(_) => Known::Goroutine,
            // Go runs whatever is ready on whichever thread is free.
            Worker::Thread(_) if origin.language.as_deref() == Some("go") => return None,
            Worker::Thread(_) if self.steady < PROOF || self.hands_over => return None,
            Worker::Thread(_) => Known::Thread,
        };
        (!self.loops.contains(&worker)).then_some(known)
    }
}

impl Worker {
    /// Where a goroutine is known, its thread says nothing.
    fn of(thread: Option<u32>, goroutine: Option<u32>) -> Option<Self> {
        let goroutine = goroutine.map(Self::Goroutine);
        goroutine.or(thread.map(Self::Thread))
    }
}

impl InHand {
    /// What read it.
    fn worker(&self) -> Option<Worker> {
        Worker::of(self.served.thread, self.served.goroutine)
    }
}

fn is_below_peer(trace: &Trace) -> bool {
    trace
        .parent
        .is_some_and(|parent| parent.known == Known::Peer)
}

fn is_same(a: &TraceContext, b: &TraceContext) -> bool {
    (a.trace, a.span) == (b.trace, b.span)
}

/// The one item, if there is one alone.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}
