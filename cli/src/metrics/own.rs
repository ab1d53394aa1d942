//! Metrics under names of our own.

mod node;
mod notifiers;
mod proxies;
mod trackers;
mod vips;
mod vrrp;

use super::{Process, text::Text};
use crate::control::Status;

pub(super) fn write(text: &mut Text, status: &Status, process: &Process) {
    node::write(text, status, process);
    vrrp::write(text, status);
    vips::write(text, status);
    trackers::write(text, status);
    notifiers::write(text, status);
    proxies::frontends(text, &status.frontends);
    vips::frontends(text, status);
    proxies::backends(text, &status.backends);
    proxies::servers(text, &status.backends);
}

/// A number of JSON as one of Prometheus.
fn number(value: u64) -> f64 {
    value as f64
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
