//! What the runs of a cell have shown.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{bars::Of, cases::Case, files::System};

/// What one run has shown.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Run {
    /// The longest time without an answer that the prober saw.
    pub(crate) prober: Duration,
    /// The same of the client that opens a connection for each request.
    pub(crate) http: Duration,
    /// Of its requests, those that failed, and all.
    pub(crate) failed: usize,
    pub(crate) total: usize,
    /// Of 100 clients that keep their connections, in an orderly stop.
    pub(crate) failed_kept: usize,
    /// SYNs that were repeated.
    pub(crate) repeated_syns: u64,
    /// From the harm until the other node had the address; `None`: it never had.
    pub(crate) claim: Option<Duration>,
    /// From the harm until the old holder had lost it; `None`: it kept it.
    pub(crate) gone: Option<Duration>,
    /// How long both had it.
    pub(crate) two_owners: Duration,
    /// How often the address was added anywhere.
    pub(crate) claims: usize,
}

/// A case, an interval and a pair, and what came of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Cell {
    pub(crate) case: Case,
    /// In milliseconds.
    pub(crate) interval: u32,
    pub(crate) pair: System,
    /// What measured it, and where: versions, kernel, load.
    pub(crate) place: Place,
    pub(crate) runs: Vec<Run>,
}

/// Where a cell was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Place {
    /// `2026-11-28`.
    pub(crate) day: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Of what is measured.
    pub(crate) versions: String,
    /// Processes that wanted a processor, in the mean over the minute before and the last minute.
    pub(crate) load: (f64, f64),
}

/// Median and worst of something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Figure {
    pub(crate) median: Duration,
    pub(crate) worst: Duration,
}

impl Figure {
    /// Of all runs; `None` where one has none: it takes for ever.
    pub(crate) fn of(values: impl Iterator<Item = Option<Duration>>) -> Option<Self> {
        let mut values: Vec<_> = values.collect::<Option<_>>()?;
        values.sort_unstable();
        Some(Self { median: *values.get(values.len() / 2)?, worst: *values.last()? })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", short(self.median), short(self.worst))
    }
}

/// In milliseconds, as exact as it is worth.
pub(crate) fn short(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    if milliseconds < 10.0 { format!("{milliseconds:.1}") } else { format!("{milliseconds:.0}") }
}

impl Cell {
    pub(crate) fn is(&self, case: Case, interval: u32, pair: System) -> bool {
        (self.case, self.interval, self.pair) == (case, interval, pair)
    }

    /// Claims in all runs.
    pub(crate) fn claims(&self) -> usize {
        self.runs.iter().map(|run| run.claims).sum()
    }

    pub(crate) fn figure(&self, of: Of) -> Option<Figure> {
        let value = |run: &Run| match of {
            Of::Prober => Some(run.prober),
            Of::Http => Some(run.http),
            Of::Claim => run.claim,
            Of::Gone => run.gone,
            Of::Claims => Some(Duration::ZERO),
        };
        Figure::of(self.runs.iter().map(value))
    }

    /// The longest time that two nodes had the address in any run.
    pub(crate) fn two_owners(&self) -> Duration {
        self.runs.iter().map(|run| run.two_owners).max().unwrap_or_default()
    }

    /// In a line.
    pub(crate) fn summary(&self) -> String {
        let figure = |of| self.figure(of).map_or_else(|| "never".to_owned(), |figure| figure.to_string());
        let sum = |count: fn(&Run) -> usize| self.runs.iter().map(count).sum::<usize>();
        format!(
            "{} runs, ms (median / worst): prober {}, HTTP {}, claimed {}, gone {}, two owners {}; {} claims, \
             {} of {} requests failed, {} SYNs repeated",
            self.runs.len(),
            figure(Of::Prober),
            figure(Of::Http),
            figure(Of::Claim),
            figure(Of::Gone),
            short(self.two_owners()),
            self.claims(),
            sum(|run| run.failed + run.failed_kept),
            sum(|run| run.total),
            self.runs.iter().map(|run| run.repeated_syns).sum::<u64>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_that_never_ends_leaves_no_figure() {
        let ms = |number| Some(Duration::from_millis(number));
        let figure = Figure::of([ms(7), ms(3), ms(400)].into_iter()).unwrap();
        assert_eq!(figure.to_string(), "7.0 / 400");
        assert_eq!(Figure::of([ms(7), None].into_iter()), None);
        assert_eq!(Figure::of(std::iter::empty()), None);
    }
}
