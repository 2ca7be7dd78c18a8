//! Which processes run into probes often and make no calls, and what to do about them.
//!
//! In: what processes did, with times. Out: [`Step`]s. Must not know: probes, clocks.
//!
//! Probes that nobody runs into cost nothing, so that only a busy process is worth it. A
//! process that ever made a call keeps its probes. So does one that meets new peers: each of
//! them may be a model, until it has been a peer for a while and no call came of it.

use std::collections::{HashMap, HashSet};

/// Calls of functions with probes, a second: what they cost is then a thousandth of a
/// processor or so.
const BUSY: u64 = 100;

/// Each release that came to an end doubles the time until the next one, so often.
const DOUBLINGS: u32 = 6;

const SECOND: u64 = 1_000_000_000;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// From now on be told whom the process connects to.
    Watch(u32),
    /// It is of no interest any more.
    Forget(u32),
    /// Take its probes away.
    Release(u32),
    /// Give them back.
    TakeBack(u32),
}

/// What is known of processes since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Processes that made calls to models.
    pub callers: HashSet<u32>,
    /// How often each process ran into probes as it moved bytes, over all its life.
    pub moves: HashMap<u32, u64>,
}

/// Times are in nanoseconds, of one clock.
#[derive(Debug)]
pub struct Idle {
    span: u64,
    processes: HashMap<u32, Process>,
    /// Time and counts of the last report.
    looked: u64,
    moves: HashMap<u32, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    phase: Phase,
    /// Releases that have ended, or could not be.
    ended: u32,
    /// Whether it ever was without probes: what it did before is known with a hole.
    has_hole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing new has come of it since, and it was busy then.
    Watched {
        since: u64,
        busy: u64,
    },
    Released,
    /// It made a call.
    Kept,
}

impl Idle {
    /// `span`: how long a process makes no call until it is released.
    pub fn new(span: u64, now: u64) -> Self {
        Self {
            span,
            processes: HashMap::new(),
            looked: now,
            moves: HashMap::new(),
        }
    }

    /// Looks at all processes.
    pub fn look(&mut self, now: u64, report: Report) -> Vec<Step> {
        let mut steps: Vec<_> = report
            .callers
            .iter()
            .filter_map(|p| self.called(*p))
            .collect();
        let elapsed = now.saturating_sub(self.looked);
        let before = std::mem::replace(&mut self.moves, report.moves);
        let mut busy = HashSet::new();
        for (pid, moves) in &self.moves {
            let more = moves.saturating_sub(before.get(pid).copied().unwrap_or(0));
            if more.saturating_mul(SECOND) > elapsed.saturating_mul(BUSY) {
                busy.insert(*pid);
            }
        }
        self.looked = now;
        for pid in &busy {
            steps.extend(self.is_busy(*pid, now));
        }
        steps.extend(self.calm(&busy, now));
        steps
    }

    /// A process connected to a peer that it had not connected to since it is watched.
    pub fn connected(&mut self, pid: u32, now: u64) -> Option<Step> {
        let process = self.processes.get_mut(&pid)?;
        match &mut process.phase {
            Phase::Watched { since, .. } => {
                *since = now;
                None
            }
            Phase::Released => {
                process.end(now);
                Some(Step::TakeBack(pid))
            }
            Phase::Kept => None,
        }
    }

    /// A process could not be released, or not for long.
    pub fn refused(&mut self, pid: u32, now: u64) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.end(now);
        }
    }

    /// A process has ended, or runs another program.
    pub fn gone(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.moves.remove(&pid);
    }

    fn called(&mut self, pid: u32) -> Option<Step> {
        let kept = Process {
            phase: Phase::Kept,
            ended: 0,
            has_hole: false,
        };
        let process = self.processes.entry(pid).or_insert(kept);
        match std::mem::replace(&mut process.phase, Phase::Kept) {
            Phase::Released => Some(Step::TakeBack(pid)),
            Phase::Watched { .. } if !process.has_hole => Some(Step::Forget(pid)),
            Phase::Watched { .. } | Phase::Kept => None,
        }
    }

    fn is_busy(&mut self, pid: u32, now: u64) -> Option<Step> {
        let Some(process) = self.processes.get_mut(&pid) else {
            let watched = Process {
                phase: Phase::Watched {
                    since: now,
                    busy: now,
                },
                ended: 0,
                has_hole: false,
            };
            self.processes.insert(pid, watched);
            return Some(Step::Watch(pid));
        };
        let Phase::Watched { since, busy } = &mut process.phase else {
            return None;
        };
        *busy = now;
        let span = self.span.saturating_mul(1 << process.ended.min(DOUBLINGS));
        if now.saturating_sub(*since) < span {
            return None;
        }
        process.phase = Phase::Released;
        process.has_hole = true;
        Some(Step::Release(pid))
    }

    /// Those that have not been busy for long are of no interest, but for those with a hole.
    fn calm(&mut self, busy: &HashSet<u32>, now: u64) -> Vec<Step> {
        let span = self.span;
        let is_calm = |pid: &u32, process: &mut Process| match process.phase {
            Phase::Watched { busy: at, .. } => {
                !process.has_hole && !busy.contains(pid) && now.saturating_sub(at) >= span
            }
            Phase::Released | Phase::Kept => false,
        };
        let calm = self.processes.extract_if(is_calm);
        calm.map(|(pid, _)| Step::Forget(pid)).collect()
    }
}

impl Process {
    /// Its release has ended.
    fn end(&mut self, now: u64) {
        self.phase = Phase::Watched {
            since: now,
            busy: now,
        };
        self.ended = self.ended.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: u64 = 60 * SECOND;

    /// Processes that are looked at every ten seconds.
    struct Host {
        idle: Idle,
        now: u64,
        moves: HashMap<u32, u64>,
    }

    impl Host {
        fn new() -> Self {
            Self {
                idle: Idle::new(SPAN, 0),
                now: 0,
                moves: HashMap::new(),
            }
        }

        /// Ten seconds in which `pid` moves bytes so many times a second.
        fn pass(&mut self, pid: u32, rate: u64) -> Vec<Step> {
            self.pass_with(pid, rate, &[])
        }

        fn pass_with(&mut self, pid: u32, rate: u64, callers: &[u32]) -> Vec<Step> {
            self.now += 10 * SECOND;
            *self.moves.entry(pid).or_default() += rate * 10;
            let report = Report {
                callers: callers.iter().copied().collect(),
                moves: self.moves.clone(),
            };
            self.idle.look(self.now, report)
        }

        /// Looks until something is to be done, and how many that took.
        fn until_step(&mut self, pid: u32, rate: u64) -> (usize, Vec<Step>) {
            let mut looks = 0;
            loop {
                looks += 1;
                let steps = self.pass(pid, rate);
                if !steps.is_empty() || looks > 1000 {
                    return (looks, steps);
                }
            }
        }
    }

    #[test]
    fn a_busy_process_without_calls_is_released_after_the_span() {
        let mut host = Host::new();
        assert_eq!(host.pass(40, 1000), [Step::Watch(40)]);
        assert_eq!(host.until_step(40, 1000), (6, vec![Step::Release(40)]));
        assert_eq!(host.until_step(40, 0), (1001, vec![]), "and that is that");
    }

    #[test]
    fn one_that_is_not_busy_is_left_alone() {
        let mut host = Host::new();
        assert_eq!(host.until_step(40, BUSY), (1001, vec![]));
        assert_eq!(host.pass(40, 1000), [Step::Watch(40)]);
        assert_eq!(host.until_step(40, 1), (6, vec![Step::Forget(40)]));
        assert_eq!(host.pass(40, 1000), [Step::Watch(40)], "it starts anew");
    }

    #[test]
    fn one_that_ever_made_a_call_keeps_its_probes() {
        let mut host = Host::new();
        assert_eq!(host.pass(40, 1000), [Step::Watch(40)]);
        assert_eq!(host.pass_with(40, 1000, &[40]), [Step::Forget(40)]);
        assert_eq!(host.until_step(40, 1000), (1001, vec![]));
        assert_eq!(host.pass_with(41, 0, &[41]), []);
        assert_eq!(host.until_step(41, 1000), (1001, vec![]));
    }

    #[test]
    fn a_new_peer_is_waited_for_and_takes_a_released_process_back() {
        let mut host = Host::new();
        host.pass(40, 1000);
        (0..5).for_each(|_| assert_eq!(host.pass(40, 1000), []));
        assert_eq!(host.idle.connected(40, host.now), None);
        assert_eq!(host.until_step(40, 1000), (6, vec![Step::Release(40)]));
        assert_eq!(host.idle.connected(40, host.now), Some(Step::TakeBack(40)));
        assert_eq!(host.idle.connected(40, host.now), None, "once");
        // It took its time for nothing, so that next time it is given more.
        assert_eq!(host.until_step(40, 1000), (12, vec![Step::Release(40)]));
        assert_eq!(host.idle.connected(41, host.now), None, "of no interest");
    }

    #[test]
    fn a_call_takes_a_released_process_back_for_good() {
        let mut host = Host::new();
        host.pass(40, 1000);
        assert_eq!(host.until_step(40, 1000).1, [Step::Release(40)]);
        assert_eq!(host.pass_with(40, 1000, &[40]), [Step::TakeBack(40)]);
        assert_eq!(host.until_step(40, 1000), (1001, vec![]));
        assert_eq!(host.idle.connected(40, host.now), None);
    }

    #[test]
    fn what_has_a_hole_is_not_forgotten() {
        let mut host = Host::new();
        host.pass(40, 1000);
        host.until_step(40, 1000);
        host.idle.connected(40, host.now);
        assert_eq!(host.until_step(40, 0), (1001, vec![]));
        assert_eq!(host.pass_with(40, 0, &[40]), []);
    }

    #[test]
    fn a_release_that_fails_is_tried_again_later() {
        let mut host = Host::new();
        host.pass(40, 1000);
        let mut looks = vec![];
        for _ in 0..9 {
            let (after, steps) = host.until_step(40, 1000);
            assert_eq!(steps, [Step::Release(40)]);
            host.idle.refused(40, host.now);
            looks.push(after);
        }
        assert_eq!(looks, [6, 12, 24, 48, 96, 192, 384, 384, 384]);
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let mut host = Host::new();
        assert_eq!(host.pass_with(40, 1000, &[40]), []);
        host.idle.gone(40);
        host.moves.remove(&40);
        assert_eq!(host.pass(40, 1000), [Step::Watch(40)]);
    }
}
