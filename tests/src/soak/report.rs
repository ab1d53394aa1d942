//! What a soak has shown.

use std::{collections::BTreeMap, fmt};

use lb_vrrp::Moment;
use lbctl::lab::{Outcome, Sample};
use serde_json::{Value, json};

use super::WARM;

/// From a fault until it has had its effect on requests: its server gets none any more, or the other node has the address.
#[derive(Clone, Debug)]
pub struct Window {
    /// The fault.
    pub what: String,
    /// Just before.
    pub from: Moment,
    /// What began before this is the fault's.
    pub to: Moment,
    /// A warning with one of these in it is the fault's until the pair is well again.
    pub words: &'static [&'static str],
}

/// By process.
pub type Usages = BTreeMap<String, Usage>;

/// Of all of them together.
pub(super) fn all(usages: &Usages) -> Usage {
    let sum = |of: fn(&Usage) -> u64| usages.values().map(of).sum();
    Usage { resident: sum(|one| one.resident), descriptors: sum(|one| one.descriptors) }
}

/// Of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Bytes.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Report {
    /// How long it ran.
    pub minutes: u64,
    /// Of both nodes at once.
    pub reloads: usize,
    /// The faults.
    pub windows: Vec<Window>,
    /// Every request.
    pub samples: Vec<Sample>,
    /// How many were answered, of each kind.
    pub answered: BTreeMap<&'static str, usize>,
    /// At the end of each minute.
    pub usage: Vec<Usages>,
    /// That no fault explains.
    pub warnings: Vec<String>,
}

impl Window {
    /// How long it was.
    #[must_use]
    pub fn millis(&self) -> u128 {
        self.to.saturating_since(self.from).as_millis()
    }

    fn explains(&self, sample: &Sample) -> bool {
        sample.end() >= self.from && sample.at <= self.to
    }
}

impl Report {
    /// Requests of that kind.
    pub(super) fn take(&mut self, kind: &'static str, samples: impl IntoIterator<Item = Sample>) {
        let answered = self.answered.entry(kind).or_default();
        self.samples.extend(samples.into_iter().inspect(|sample| {
            *answered += usize::from(matches!(sample.outcome, Outcome::Ok(_)));
        }));
    }

    fn failed(&self) -> impl Iterator<Item = (&Sample, &str)> {
        self.samples.iter().filter_map(|sample| match &sample.outcome {
            Outcome::Failed(why) => Some((sample, why.as_str())),
            Outcome::Ok(_) => None,
        })
    }

    /// What no fault explains, one sentence each.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let is_explained = |sample: &Sample| self.windows.iter().any(|window| window.explains(sample));
        let mut wrong: Vec<String> = self
            .failed()
            .filter(|(sample, _)| !is_explained(sample))
            .map(|(sample, why)| format!("a request failed at {:?} without a fault: {why}", sample.at))
            .collect();
        wrong.extend(self.warnings.iter().map(|line| format!("a warning without a fault: {line}")));
        if let Some((warm, last)) = self.compared() {
            // Of all together: which node holds the address, and how old its daemon is, changes with the faults.
            let (before, after) = (all(warm), all(last));
            let grew = |what: &str, before: u64, after: u64| {
                (after * 100 > before * 105).then(|| format!("{what} grew from {before} to {after}"))
            };
            wrong.extend(grew("resident memory", before.resident, after.resident));
            wrong.extend(grew("the number of descriptors", before.descriptors, after.descriptors));
        }
        wrong
    }

    /// Minute 10 and the last one, if that is a later one.
    fn compared(&self) -> Option<(&Usages, &Usages)> {
        let warm = self.usage.get(usize::try_from(WARM - 1).ok()?)?;
        let last = self.usage.last().filter(|_| self.usage.len() as u64 > WARM)?;
        Some((warm, last))
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let usage = |usage: &Usage| json!({"resident": usage.resident, "descriptors": usage.descriptors});
        let usages = |usages: &Usages| -> Value {
            usages.iter().map(|(process, one)| (process.clone(), usage(one))).collect()
        };
        json!({
            "minutes": self.minutes,
            "requests": self.samples.len(),
            "failed": self.failed().count(),
            "reloads": self.reloads,
            "faults": self.windows.iter().map(|window| &window.what).collect::<Vec<_>>(),
            "usage": self.usage.iter().map(usages).collect::<Vec<_>>(),
            "wrong": self.wrong(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, failed) = (self.samples.len(), self.failed().count());
        writeln!(
            f,
            "{} minutes: {requests} requests, {failed} failed, {} faults, {} reloads of both nodes",
            self.minutes,
            self.windows.len(),
            self.reloads
        )?;
        match self.compared() {
            Some((warm, last)) => {
                for (process, after) in last {
                    let before = warm.get(process).copied().unwrap_or_default();
                    writeln!(f, "{process}: minute {WARM}: {before}; the last one: {after}")?;
                }
            }
            None => writeln!(
                f,
                "too short to compare memory: that of minute {WARM} is compared with the last one's"
            )?,
        }
        let wrong = self.wrong();
        wrong.iter().try_for_each(|line| writeln!(f, "! {line}"))?;
        write!(
            f,
            "{}",
            if wrong.is_empty() { "a fault explains each of them" } else { "not all of it is explained" }
        )
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB resident, {} descriptors", self.resident as f64 / 1_048_576.0, self.descriptors)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: u64) -> Moment {
        Moment::from_nanos(second * 1_000_000_000)
    }

    fn failed(second: u64, wait: u64) -> Sample {
        let outcome = Outcome::Failed("reset".to_owned());
        Sample { at: at(second), wait: Duration::from_secs(wait), outcome }
    }

    fn report(samples: Vec<Sample>) -> Report {
        let window = Window { what: "web1 killed".to_owned(), from: at(100), to: at(110), words: &[] };
        Report { minutes: 1, windows: vec![window], samples, ..Report::default() }
    }

    #[test]
    fn request_is_explained_by_the_fault_that_it_met() {
        assert!(report(vec![failed(99, 1), failed(105, 0), failed(110, 3)]).wrong().is_empty());
        assert_eq!(report(vec![failed(98, 1)]).wrong().len(), 1, "it was over before");
        assert_eq!(report(vec![failed(111, 0)]).wrong().len(), 1, "all was well again");
    }

    #[test]
    fn warning_without_a_fault_is_wrong() {
        let mut report = report(Vec::new());
        report.warnings.push("lb1: WARN a thing".to_owned());
        assert_eq!(report.wrong(), ["a warning without a fault: lb1: WARN a thing"]);
    }

    #[test]
    fn memory_and_descriptors_may_grow_by_a_twentieth_from_minute_ten_on() {
        let usage = |resident, descriptors| {
            let one = Usage { resident, descriptors };
            // Whichever has more: who holds the address changes.
            let other = Usage { resident: 2000 - resident / 2, descriptors: 200 - descriptors / 2 };
            let third = Usage { resident: resident / 2, descriptors: descriptors / 2 };
            Usages::from([
                ("daemon of lb1".to_owned(), one),
                ("daemon of lb2".to_owned(), other),
                ("speaker of lb1".to_owned(), third),
            ])
        };
        let mut report = report(Vec::new());
        report.usage = vec![usage(800, 80); 9];
        report.usage.extend([usage(1000, 100), usage(1150, 114)]);
        assert_eq!(report.wrong(), [""; 0]);
        report.usage.push(usage(1152, 118));
        let wrong = report.wrong();
        assert_eq!(
            wrong,
            ["resident memory grew from 3000 to 3152", "the number of descriptors grew from 300 to 318"]
        );
        report.usage.truncate(10);
        assert!(report.wrong().is_empty());
        assert!(report.to_string().contains("too short to compare memory"));
    }
}
