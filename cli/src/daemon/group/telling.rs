//! What the log says of transitions. Whoever can send into the network of the nodes can forge as many as he likes, and must not
//! fill a disk with them.

use std::time::Duration;

use lb_proxy::{Fact, LogEvent, config::Severity};
use lb_vrrp::{Moment, Transition};

/// Those that may come at once.
const AT_ONCE: u32 = 32;

/// After how long there may be one more.
const GAP: Duration = Duration::from_secs(1);

/// Which of many are told.
#[derive(Debug)]
pub(in crate::daemon) struct Telling {
    left: u32,
    /// When there was one more.
    since: Option<Moment>,
    untold: u64,
    has_told: bool,
}

impl Default for Telling {
    fn default() -> Self {
        Self { left: AT_ONCE, since: None, untold: 0, has_told: true }
    }
}

impl Telling {
    /// Is what happens now told? Else it is counted.
    pub(in crate::daemon) fn tells(&mut self, now: Moment) -> bool {
        self.gain(now);
        self.has_told = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.untold += u64::from(!self.has_told);
        self.has_told
    }

    /// May something be told that is not counted? It is one of them then.
    pub(super) fn may_tell(&mut self, now: Moment) -> bool {
        self.gain(now);
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }

    /// Was the last one told?
    pub(super) fn has_told(&self) -> bool {
        self.has_told
    }

    /// How many were not, once that may be said; from then on they are told.
    pub(super) fn untold(&mut self, now: Moment) -> Option<u64> {
        self.gain(now);
        if self.untold == 0 || self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.untold))
    }

    fn gain(&mut self, now: Moment) {
        let since = *self.since.get_or_insert(now);
        let gaps = now.saturating_since(since).as_nanos() / GAP.as_nanos();
        if gaps > 0 {
            self.left = self.left.saturating_add(u32::try_from(gaps).unwrap_or(AT_ONCE)).min(AT_ONCE);
            self.since = Some(now);
        }
    }
}

/// One line with the reason, and each step of the move in milliseconds from the moment its cause was seen.
pub(in crate::daemon) fn log_transition(group: &str, vips: &str, transition: &Transition) {
    let moments = transition.moments;
    tracing::info!(
        group,
        vips,
        from = %transition.from,
        to = %transition.to,
        reason = transition.reason,
        changed = after(transition, Some(transition.at)),
        heard = after(transition, moments.heard),
        removed = after(transition, moments.removed),
        resigned = after(transition, moments.resigned),
        added = after(transition, moments.added),
        announced = after(transition, moments.announced),
        "transition"
    );
}

/// The same for the log of `[global]`.
pub(in crate::daemon) fn transition_event<'a>(
    group: &'a str,
    vips: &'a str,
    transition: &'a Transition,
) -> LogEvent<'a> {
    let Transition { from, to, reason, moments, detected, .. } = transition;
    let steps = [
        ("changed", Some(transition.at)),
        ("heard", moments.heard),
        ("removed", moments.removed),
        ("resigned", moments.resigned),
        ("added", moments.added),
        ("announced", moments.announced),
    ];
    let steps = steps.into_iter().filter_map(|(name, step)| {
        let microseconds = step?.saturating_since(*detected).as_micros();
        Some((name, Fact::Number(u64::try_from(microseconds).unwrap_or(u64::MAX))))
    });
    LogEvent {
        level: Severity::Notice,
        source: "vrrp",
        kind: "transition",
        message: format!("VRRP group {group} ({vips}) is {to}, was {from}: {reason}").into(),
        facts: vec![
            ("group", Fact::text(group)),
            ("vips", Fact::text(vips)),
            ("from", Fact::text(from.to_string())),
            ("to", Fact::text(to.to_string())),
            ("reason", Fact::text(reason)),
            ("us", Fact::Object(steps.collect())),
        ],
    }
}

/// A step of a move, counted from the moment that its cause was seen.
pub(super) fn after(transition: &Transition, step: Option<Moment>) -> Option<String> {
    step.map(|step| format!("+{:.1} ms", step.saturating_since(transition.detected).as_secs_f64() * 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(milliseconds * 1_000_000)
    }

    #[test]
    fn of_a_flood_a_few_are_told_and_all_are_counted() {
        let mut telling = Telling::default();
        let told = |telling: &mut Telling, from: u64, to: u64| {
            (from..to).filter(|milliseconds| telling.tells(at(*milliseconds))).count()
        };
        assert_eq!(told(&mut telling, 0, 1), 1);
        assert_eq!(telling.untold(at(1)), None, "all were told");
        assert_eq!(told(&mut telling, 1, 1_000), 31);
        assert!(!telling.has_told());
        assert_eq!(telling.untold(at(1_000)), Some(968));
        assert_eq!(told(&mut telling, 1_000, 10_000), 8, "one a second");
        // Over: the next one is told again.
        assert_eq!(telling.untold(at(20_000)), Some(8_992));
        assert_eq!(telling.untold(at(60_000)), None);
        assert_eq!(told(&mut telling, 60_000, 61_000), 32);
    }
}
