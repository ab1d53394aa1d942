//! What `[track.*]` looks at.

use super::{flag, number};
use crate::{
    control::{Status, Tracker},
    metrics::text::{Kind, Text},
};

pub(super) fn write(text: &mut Text, status: &Status) {
    let trackers = status.trackers.as_slice();
    let help = "1 while the tracker passes; absent before the first look.";
    let mut metric = text.metric("lbctl_tracker_up", Kind::Gauge, help);
    for tracker in trackers {
        if let Some(passes) = tracker.passes {
            metric.sample(&labels(tracker), flag(passes));
        }
    }
    let help = "When that was last another way, in seconds since 1970.";
    let mut metric = text.metric("lbctl_tracker_last_change_timestamp_seconds", Kind::Gauge, help);
    for tracker in trackers {
        if let Some(since) = tracker.since {
            metric.sample(&labels(tracker), since.unix_seconds());
        }
    }
    let help = "How often it has failed.";
    let mut metric = text.metric("lbctl_tracker_failures_total", Kind::Counter, help);
    trackers.iter().for_each(|tracker| metric.sample(&labels(tracker), number(tracker.failures_total)));
    let help = "How often it could not be looked at any more, which is no failure.";
    let mut metric = text.metric("lbctl_tracker_unknown_total", Kind::Counter, help);
    trackers.iter().for_each(|tracker| metric.sample(&labels(tracker), number(tracker.unknown_total)));
}

fn labels(tracker: &Tracker) -> [(&str, &str); 2] {
    [("tracker", &tracker.name), ("failure", &tracker.failure)]
}
