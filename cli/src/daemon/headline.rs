//! One line for `systemctl status`: what this daemon is about (STATUS= of sd_notify(3)).

use std::time::Duration;

use lb_vrrp::{Moment, State};

use super::{
    Daemon, Identity,
    group::Group,
    stop::{Stage, Stop},
    systemd,
};
use crate::{
    control::Ready,
    output::{age::age, text::printable},
};

/// Between two lines, however fast things change, and for systemd to hear first who is in charge after an upgrade.
const PAUSE: Duration = Duration::from_secs(2);

/// Characters of a line.
const LENGTH: usize = 300;

/// What systemd was told last, and when.
#[derive(Debug, Default)]
pub(super) struct Told(Option<(Moment, String)>);

impl Daemon {
    /// Tells systemd if it is another line than before.
    pub(super) fn tell_headline(&mut self, now: Moment) {
        let since = match &self.headline.0 {
            Some((at, _)) => Some(*at),
            None => self.up.map(|_| self.started.moment),
        };
        if self.stop.is_none() && since.is_some_and(|since| now < since + PAUSE) {
            return;
        }
        let line: String = printable(&self.headline(now)).chars().take(LENGTH).collect();
        if self.headline.0.as_ref().is_none_or(|(_, told)| *told != line) {
            systemd::notify(&format!("STATUS={line}"));
            self.headline.0 = Some((now, line));
        }
    }

    fn headline(&self, now: Moment) -> String {
        if let Some(stop) = &self.stop {
            return of_stop(stop, &self.vips_held());
        }
        if let Some(giving) = &self.giving {
            let ordered = giving.ordered();
            return format!("{} by {}: {} goes to another node", ordered.what, ordered.by, self.vips_held());
        }
        if let Identity::Waiting { reason, .. } = &self.identity {
            return format!("waiting: {reason}");
        }
        if let Some(drained) = &self.drained {
            return format!("drained by {}: out of the election until lbctl resume", drained.by);
        }
        if self.groups.is_empty() {
            return "serves, without a virtual address".to_owned();
        }
        let groups = self.groups.iter().map(|group| {
            let local = group.local(now, self.started.moment);
            of_group(&group.vips(), local.state, &local.ready)
        });
        groups.collect::<Vec<_>>().join("; ")
    }

    fn vips_held(&self) -> String {
        let held = self.groups.iter().filter(|group| group.state() == State::Active);
        held.map(Group::vips).collect::<Vec<_>>().join(", ")
    }
}

fn of_group(vips: &str, state: State, ready: &Ready) -> String {
    let ready = match ready {
        Ready::Yes => None,
        Ready::Degraded { reasons } => Some(format!("degraded: {}", reasons.join(", "))),
        Ready::Starting { reason } => Some(format!("not yet ready: {reason}")),
        Ready::Leaving { reason } => Some(format!("leaving: {reason}")),
        Ready::Fault { reason } => Some(format!("can't hold it: {reason}")),
    };
    match (state, ready) {
        (State::Active, None) => format!("holds {vips}"),
        (State::Active, Some(but)) => format!("holds {vips}, {but}"),
        (State::Backup, None) => format!("could take {vips} over"),
        (State::Backup | State::Initialize, Some(but)) => format!("does not hold {vips}, {but}"),
        (State::Initialize, None) => format!("does not hold {vips}"),
    }
}

fn of_stop(stop: &Stop, held: &str) -> String {
    match stop.stage {
        Stage::Draining => {
            let limit = age(stop.limit);
            let then = match held {
                "" => String::new(),
                held => format!("; then {held} goes to another node"),
            };
            format!("stopping: exchanges in flight have {limit} at most{then}")
        }
        Stage::Leaving { .. } | Stage::Resigning => "stopping: the addresses are on their way".to_owned(),
        Stage::Finishing => {
            format!("stopping: connections to this node's own addresses have {} at most", age(stop.limit))
        }
        Stage::Over if stop.outcomes.is_empty() => "stopped".to_owned(),
        Stage::Over => {
            let outcomes = stop.outcomes.iter().map(|given| format!("{}: {}", given.group, given.outcome));
            format!("stopped; {}", outcomes.collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stop::Whereabouts;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(milliseconds * 1_000_000)
    }

    #[test]
    fn a_node_says_what_it_holds_and_what_is_wrong_with_it() {
        let fault = Ready::Fault { reason: "eth1 has no carrier".to_owned() };
        let degraded = Ready::Degraded { reasons: vec!["a".to_owned(), "b".to_owned()] };
        for (state, ready, expected) in [
            (State::Active, &Ready::Yes, "holds web"),
            (State::Active, &degraded, "holds web, degraded: a, b"),
            (State::Backup, &Ready::Yes, "could take web over"),
            (State::Backup, &degraded, "does not hold web, degraded: a, b"),
            (State::Initialize, &fault, "does not hold web, can't hold it: eth1 has no carrier"),
        ] {
            assert_eq!(of_group("web", state, ready), expected);
        }
    }

    #[test]
    fn a_stop_says_how_far_it_is_and_in_the_end_who_has_the_addresses() {
        let held = vec!["default".to_owned()];
        let mut stop = Stop::new("stop by root".to_owned(), at(0), held, Duration::from_secs(5), None);
        assert_eq!(
            of_stop(&stop, "web"),
            "stopping: exchanges in flight have 5 s at most; then web goes to another node"
        );
        stop.drained(at(10), Duration::ZERO);
        assert_eq!(of_stop(&stop, "web"), "stopping: the addresses are on their way");
        assert!(stop.given_away(at(11), &[], |_| Whereabouts::Elsewhere));
        stop.stage = Stage::Finishing;
        assert_eq!(of_stop(&stop, ""), "stopping: connections to this node's own addresses have 5 s at most");
        stop.stage = Stage::Over;
        assert_eq!(of_stop(&stop, ""), "stopped; default: another node has taken it");
    }
}
