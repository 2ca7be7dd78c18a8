//! What is told to those who release processes, and what they tell.
//!
//! In: calls to models, releases. Out: [`Report`]s, now and then. Must not know: probes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::idle::Report;
use super::status::{Change, Released};

/// Between two reports, at most, in nanoseconds.
const PERIOD: u64 = 10_000_000_000;
/// Reports in the time that a process must be idle for.
const SHARES: u32 = 4;

/// Of one sensor.
#[derive(Debug)]
pub struct Habits {
    /// Between two reports; `None`: nobody is released.
    period: Option<u64>,
    /// Time of the last one.
    reported: u64,
    /// Since then.
    callers: HashSet<u32>,
    released: HashSet<u32>,
    releases: u64,
    taken_back: u64,
    /// What nobody has asked for yet.
    changes: Vec<Change>,
}

/// Changes that wait to be asked for; what is beyond is counted, and not told.
const WAITING: usize = 1 << 10;

impl Habits {
    /// `span`: how long a process must be idle for.
    pub fn new(span: Option<Duration>, now: u64) -> Self {
        let period = |span: Duration| {
            let share = span.checked_div(SHARES).unwrap_or_default();
            u64::try_from(share.as_nanos()).map_or(PERIOD, |share| share.min(PERIOD))
        };
        Self {
            period: span.map(period),
            reported: now,
            callers: HashSet::new(),
            released: HashSet::new(),
            releases: 0,
            taken_back: 0,
            changes: Vec::new(),
        }
    }

    /// A process made a call, if it is known which.
    pub fn called(&mut self, pid: Option<u32>) {
        if self.period.is_some() {
            self.callers.extend(pid);
        }
    }

    /// Whether a report is due.
    pub fn is_time(&self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.reported);
        self.period.is_some_and(|period| elapsed >= period)
    }

    /// `moves`: see [`Report`].
    pub fn report(&mut self, now: u64, moves: HashMap<u32, u64>) -> Report {
        self.reported = now;
        Report {
            callers: std::mem::take(&mut self.callers),
            moves,
        }
    }

    /// Nobody took a report: who called is told with the next.
    pub fn keep(&mut self, report: Report) {
        self.callers.extend(report.callers);
    }

    pub fn was_released(&mut self, pid: u32) {
        self.releases = self.releases.saturating_add(1);
        self.released.insert(pid);
        self.tell(Change::Released(pid));
    }

    pub fn was_taken_back(&mut self, pid: u32) {
        self.taken_back = self.taken_back.saturating_add(1);
        self.released.remove(&pid);
        self.tell(Change::TakenBack(pid));
    }

    fn tell(&mut self, change: Change) {
        if self.changes.len() < WAITING {
            self.changes.push(change);
        }
    }

    /// Who was released or taken back since the last time.
    pub fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// A process has ended, or runs another program.
    pub fn gone(&mut self, pid: u32) {
        self.callers.remove(&pid);
        self.released.remove(&pid);
    }

    pub fn is_released(&self, pid: u32) -> bool {
        self.released.contains(&pid)
    }

    pub fn released(&self) -> Released {
        Released {
            now: self.released.len(),
            ever: self.releases,
            taken_back: self.taken_back,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_in_time_and_lose_no_caller() {
        let mut habits = Habits::new(Some(Duration::from_secs(8)), 0);
        assert!(!habits.is_time(1_999_999_999));
        assert!(habits.is_time(2_000_000_000));
        habits.called(Some(40));
        habits.called(None);
        habits.called(Some(41));
        let report = habits.report(2_000_000_000, HashMap::from([(40, 7)]));
        assert_eq!(report.callers, HashSet::from([40, 41]));
        assert_eq!(report.moves, HashMap::from([(40, 7)]));
        assert!(!habits.is_time(2_000_000_000));
        habits.keep(report);
        habits.gone(41);
        let report = habits.report(4_000_000_000, HashMap::new());
        assert_eq!(report.callers, HashSet::from([40]));
        assert_eq!(
            habits.report(6_000_000_000, HashMap::new()),
            Report::default()
        );
    }

    #[test]
    fn nobody_is_told_where_nobody_is_released() {
        let mut habits = Habits::new(None, 0);
        habits.called(Some(40));
        assert!(!habits.is_time(u64::MAX));
        assert!(habits.report(0, HashMap::new()).callers.is_empty());
    }

    #[test]
    fn releases_are_counted() {
        let mut habits = Habits::new(Some(Duration::from_secs(600)), 0);
        assert!(habits.is_time(PERIOD), "ten seconds are long enough");
        (40..43).for_each(|pid| habits.was_released(pid));
        habits.was_taken_back(40);
        habits.gone(41);
        assert!(!habits.is_released(40) && !habits.is_released(41) && habits.is_released(42));
        let Released {
            now,
            ever,
            taken_back,
        } = habits.released();
        assert_eq!((now, ever, taken_back), (1, 3, 1));
        let changes = habits.changes();
        let released = (40..43).map(Change::Released);
        assert_eq!(
            changes,
            released.chain([Change::TakenBack(40)]).collect::<Vec<_>>()
        );
        assert_eq!(habits.changes(), []);
    }
}
