//! Which calls are printed.

use std::time::Duration;

use clap::Args;
use llmtap::event::Origin;
use llmtap::redact::Record;

/// A call is printed where each kind of filter that is given has a value that fits.
#[derive(Clone, Debug, Default, Args)]
pub struct Filter {
    /// Only calls of this process; may be repeated
    #[arg(long)]
    pid: Vec<u32>,
    /// Only processes whose name contains TEXT; may be repeated
    #[arg(long, value_name = "TEXT")]
    comm: Vec<String>,
    /// Only providers whose name contains TEXT; may be repeated
    #[arg(long, value_name = "TEXT")]
    provider: Vec<String>,
    /// Only models whose name contains TEXT; may be repeated
    #[arg(long, value_name = "TEXT")]
    model: Vec<String>,
    /// Only calls that failed
    #[arg(long)]
    errors: bool,
    /// Only calls that took longer, as 500ms, 10s or 2m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    slower_than: Option<Duration>,
}

impl Filter {
    /// The only processes to look at.
    pub fn pids(&self) -> Option<&[u32]> {
        (!self.pid.is_empty()).then_some(&self.pid)
    }

    /// Whether the end of a call must be known to decide.
    pub fn needs_end(&self) -> bool {
        self.errors || self.slower_than.is_some()
    }

    /// Whether what is known at the start of a call fits.
    pub fn fits_start(&self, record: &Record) -> bool {
        let call = record.call();
        let models = [&call.request.model, &call.response.model];
        self.fits_process(record.origin())
            && contains(&self.provider, [Some(&*call.provider)])
            && contains(&self.model, models.map(|model| model.as_deref()))
    }

    /// Whether the process fits, whatever it calls.
    pub fn fits_process(&self, origin: &Origin) -> bool {
        let pid = self.pid.is_empty() || origin.pid.is_some_and(|pid| self.pid.contains(&pid));
        pid && contains(&self.comm, [origin.comm.as_deref()])
    }

    /// Whether a finished call fits.
    pub fn fits(&self, record: &Record) -> bool {
        let call = record.call();
        let took = call.timing.end.since(call.timing.start);
        let slow = self.slower_than.is_none_or(|limit| took > limit);
        let failed = !self.errors || call.error.is_some();
        slow && failed && self.fits_start(record)
    }
}

fn contains<const N: usize>(wanted: &[String], names: [Option<&str>; N]) -> bool {
    wanted.is_empty()
        || names.into_iter().flatten().any(|name| {
            let name = name.to_lowercase();
            wanted.iter().any(|w| name.contains(&w.to_lowercase()))
        })
}

/// A time span, as 500ms, 10s, 2m or 1h.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("the unit is ms, s, m or h".into()),
    };
    let number: f64 = number.parse().map_err(|_| "no number")?;
    Duration::try_from_secs_f64(number * scale).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::record;

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "1d", "-1s", "1.2.3s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_kind_of_filter_must_fit() {
        let record = record(|_, _| {});
        let fits = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.fits(&record)
        };
        assert!(fits(|_| {}));
        assert!(fits(|f| f.comm = vec!["PYTHON".into(), "x".into()]));
        assert!(fits(|f| f.model = vec!["4o-mini".into()]));
        assert!(fits(|f| f.pid = vec![4242]));
        assert!(fits(|f| f.slower_than = Some(Duration::from_secs(1))));
        assert!(!fits(|f| f.slower_than = Some(Duration::from_secs(2))));
        assert!(!fits(|f| f.errors = true));
        assert!(!fits(|f| f.provider = vec!["anthropic".into()]));
        assert!(!fits(|f| {
            f.pid = vec![4242];
            f.comm = vec!["node".into()];
        }));
    }
}
