//! Who is told of what happens.

use super::{flag, number};
use crate::{
    control::{Notifier, Status},
    metrics::text::{Kind, Text},
};

pub(super) fn write(text: &mut Text, status: &Status) {
    let notifiers = status.notifiers.as_slice();
    let help = "1 unless the last event could not be told.";
    let mut metric = text.metric("lbctl_notify_up", Kind::Gauge, help);
    notifiers.iter().for_each(|one| metric.sample(&labels(one), flag(one.problem.is_none())));
    let help = "Events whose turn has not come.";
    let mut metric = text.metric("lbctl_notify_waiting", Kind::Gauge, help);
    notifiers.iter().for_each(|one| metric.sample(&labels(one), number(one.waiting)));
    let help = "Events that were told.";
    let mut metric = text.metric("lbctl_notify_told_total", Kind::Counter, help);
    notifiers.iter().for_each(|one| metric.sample(&labels(one), number(one.told_total)));
    let help = "Events that could not be told.";
    let mut metric = text.metric("lbctl_notify_failures_total", Kind::Counter, help);
    notifiers.iter().for_each(|one| metric.sample(&labels(one), number(one.failed_total)));
    let help = "Events that came faster than they could be told.";
    let mut metric = text.metric("lbctl_notify_lost_total", Kind::Counter, help);
    notifiers.iter().for_each(|one| metric.sample(&labels(one), number(one.lost_total)));
}

fn labels(notifier: &Notifier) -> [(&str, &str); 1] {
    [("notify", &notifier.name)]
}
