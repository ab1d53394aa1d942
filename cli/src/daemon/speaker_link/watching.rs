//! When a speaker counts as frozen, and how soon a dead one is replaced. Pure.

use std::time::Duration;

use lb_vrrp::{GroupConfig, Moment, Readiness};

/// A speaker that has run its groups for so long has got up: whatever it died of, another one is worth starting at once, and
/// each one that goes on in time keeps the addresses where they are.
const GOT_UP: Duration = Duration::from_secs(1);

/// A speaker that lived so long is doubted no more.
const HEALTHY: Duration = Duration::from_secs(10);

/// Pauses before another start, after the first, second, ... in a row that did not get up; the first replacement comes at once.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// After so many deaths in a row, each of which may have moved the addresses, a speaker has to live on before this node takes them
/// from anyone.
const DOUBTED: usize = 4;

/// Between two looks at a heartbeat no more than this counts as time that a speaker ran: else that would be whatever a machine or a
/// daemon was frozen for.
const SEEN: Duration = Duration::from_millis(250);

/// Looks at a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    limit: Duration,
    period: Duration,
    /// A look that comes later than this after the one before is late.
    tolerance: Duration,
    last_look: Option<Moment>,
}

/// Counts for how long a speaker was awake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Its last heartbeat that counts.
    beat: Moment,
    ran: Duration,
}

/// Counts early deaths.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    /// Speakers in a row that did not get up.
    fallen: usize,
    /// Deaths in a row that may have moved the addresses.
    doubts: usize,
}

/// What is known of a speaker that has died.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    /// For how long its groups ran, as far as it was seen awake.
    pub(super) ran: Duration,
    /// It has given addresses up, be it that it came too late to go on with those of the one before it.
    pub(super) gave_up: bool,
}

impl Watch {
    /// The limit is 2.5 of the shortest interval, at least 25 ms: always less than the Active_Down_Interval of a peer,
    /// which is more than 3 intervals.
    pub(super) fn new(groups: &[GroupConfig]) -> Self {
        let members = groups.iter().flat_map(|group| &group.members);
        let shortest = members.map(|member| member.interval.get()).min().unwrap_or(Duration::from_secs(1));
        let limit = (shortest * 5 / 2).max(Duration::from_millis(25));
        let period = (limit / 10).clamp(Duration::from_millis(5), Duration::from_millis(50));
        let tolerance = (limit * 2 / 5).clamp(Duration::from_millis(10), Duration::from_millis(200));
        Self { limit, period, tolerance, last_look: None }
    }

    /// As patient as the more patient of both: which of them the speaker goes by is not known for a moment.
    pub(super) fn or_slower(self, other: Self) -> Self {
        Self { limit: self.limit.max(other.limit), ..self }
    }

    /// How often to look.
    pub(super) fn period(&self) -> Duration {
        self.period
    }

    /// Whether the speaker is frozen. A look that comes late itself says nothing: whatever held up the daemon may have
    /// held up the speaker as well, and it is first in line to notice.
    pub(super) fn is_frozen(&mut self, now: Moment, beat: Moment) -> bool {
        let on_time = self.last_look.is_some_and(|last| now.saturating_since(last) <= self.tolerance);
        self.last_look = Some(now);
        on_time && now.saturating_since(beat) > self.limit
    }
}

impl Run {
    pub(super) fn since(now: Moment) -> Self {
        Self { beat: now, ran: Duration::ZERO }
    }

    /// With its last heartbeat; to be called again and again while it runs. One that hangs does not run, and has no heartbeat.
    pub(super) fn look(&mut self, beat: Moment) -> Duration {
        self.ran += beat.saturating_since(self.beat).min(SEEN);
        self.beat = self.beat.max(beat);
        self.ran
    }

    pub(super) fn ran(&self) -> Duration {
        self.ran
    }
}

impl Patience {
    /// A speaker died: how long to wait before the next one.
    pub(super) fn pause(&mut self, life: Life) -> Duration {
        let got_up = life.ran >= GOT_UP;
        self.fallen = if got_up { 0 } else { self.fallen + 1 };
        self.doubts = match life.ran {
            ran if ran >= HEALTHY => 0,
            // It went on in time, and so may the next one: nothing has moved.
            _ if got_up && !life.gave_up => self.doubts,
            _ => self.doubts + 1,
        };
        let index = self.fallen.saturating_sub(1).min(PAUSES.len() - 1);
        PAUSES.get(index).copied().unwrap_or_default()
    }

    /// What a speaker that has `lived` so long is told of the node. Without this, one that dies again and again would take the
    /// addresses from a degraded Active each time that it starts, and lose them with its death.
    pub(super) fn tempered(&self, lived: Duration, readiness: Readiness) -> Readiness {
        match readiness {
            Readiness::Ready | Readiness::Degraded { .. } | Readiness::Starting { .. }
                if self.doubts >= DOUBTED && lived < HEALTHY =>
            {
                let reason = format!("its speaker has died {} times in a row", self.doubts);
                Readiness::Leaving { reason }
            }
            as_it_is => as_it_is,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_vrrp::{Moment, Readiness};

    use super::{GOT_UP, HEALTHY, Life, Patience, Run, Watch};

    fn watch_of_100_ms() -> Watch {
        Watch {
            limit: Duration::from_millis(250),
            period: Duration::from_millis(50),
            tolerance: Duration::from_millis(100),
            last_look: None,
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_speaker_is_frozen_once_its_heartbeat_is_older_than_the_limit() {
        let mut watch = watch_of_100_ms();
        assert!(!watch.is_frozen(at(1000), at(990)));
        for now in [1050, 1100, 1150, 1200] {
            assert!(!watch.is_frozen(at(now), at(990)));
        }
        assert!(!watch.is_frozen(at(1240), at(990)));
        assert!(watch.is_frozen(at(1241), at(990)));
    }

    #[test]
    fn a_speaker_that_is_told_of_another_interval_has_the_time_of_the_longer_one() {
        let slow = Watch {
            limit: Duration::from_millis(2_500),
            period: Duration::from_millis(100),
            tolerance: Duration::from_millis(200),
            last_look: None,
        };
        for mut watch in
            [watch_of_100_ms().or_slower(slow), Watch { period: watch_of_100_ms().period, ..slow }]
        {
            assert!(!watch.is_frozen(at(1000), at(990)));
            assert!(!watch.is_frozen(at(1050), at(0)), "1.05 s");
            assert!((1100..=3000).step_by(50).any(|now| watch.is_frozen(at(now), at(0))));
        }
    }

    #[test]
    fn a_late_look_says_nothing() {
        let mut watch = watch_of_100_ms();
        assert!(!watch.is_frozen(at(1000), at(990)));
        assert!(!watch.is_frozen(at(9000), at(990)), "both were stopped for 8 s");
        assert!(!watch.is_frozen(at(9050), at(9010)));
        assert!(!watch.is_frozen(at(9100), at(9010)));
    }

    /// Started at 1 s.
    fn seen(beats: impl IntoIterator<Item = u64>) -> Duration {
        let mut run = Run::since(at(1000));
        beats.into_iter().for_each(|beat| {
            let _ = run.look(at(beat));
        });
        run.ran()
    }

    #[test]
    fn a_speaker_has_run_for_as_long_as_it_was_seen_awake() {
        assert_eq!(seen((1000..=4000).step_by(100)), Duration::from_secs(3));
        // One beat before it said that it runs, and none that is new.
        assert_eq!(seen([990, 1200, 1200]), Duration::from_millis(200));
    }

    #[test]
    fn a_speaker_that_hangs_at_its_start_has_not_got_up_however_long_that_takes_to_be_seen() {
        // 2.5 intervals of 4 s pass before it is killed.
        let ran = seen(std::iter::repeat_n(1030, 200));
        assert_eq!(ran, Duration::from_millis(30));
        let mut patience = Patience::default();
        let hung = Life { ran, gave_up: false };
        assert_eq!([patience.pause(hung), patience.pause(hung)].map(|pause| pause.as_millis()), [0, 100]);
    }

    #[test]
    fn what_a_machine_or_a_daemon_stands_still_is_no_time_that_a_speaker_ran() {
        // An hour, and the first heartbeat after that is the last.
        assert!(seen([1050, 3_600_000]) < GOT_UP);
        assert!(seen([1050, 3_600_000, 7_200_000, 7_200_100]) < GOT_UP);
        assert!(seen((1000..=10_900).step_by(100).chain([3_600_000])) >= HEALTHY);
    }

    const EARLY: Life = Life { ran: Duration::from_millis(30), gave_up: false };

    #[test]
    fn the_first_replacement_comes_at_once_and_those_of_speakers_that_do_not_get_up_wait() {
        let mut patience = Patience::default();
        let pauses: Vec<_> = (0..7).map(|_| patience.pause(EARLY).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 500, 2000, 5000, 5000, 5000]);
        assert_eq!(patience.pause(Life { ran: GOT_UP, gave_up: false }), Duration::ZERO);
        assert_eq!(patience.pause(EARLY), Duration::ZERO);
        assert_eq!(patience.pause(Life { ran: GOT_UP - Duration::from_millis(1), ..EARLY }).as_millis(), 100);
    }

    #[test]
    fn a_speaker_that_has_got_up_is_replaced_at_once_however_often_and_is_not_doubted_while_nothing_moves() {
        let mut patience = Patience::default();
        for _ in 0..100 {
            let every_two_seconds = Life { ran: Duration::from_millis(1_900), gave_up: false };
            assert_eq!(patience.pause(every_two_seconds), Duration::ZERO);
            assert_eq!(patience.tempered(Duration::ZERO, Readiness::Ready), Readiness::Ready);
        }
    }

    #[test]
    fn a_speaker_that_keeps_dying_leaves_the_addresses_to_others_until_it_lives_on() {
        let leaving = |times: usize| Readiness::Leaving {
            reason: format!("its speaker has died {times} times in a row"),
        };
        // It does not get up; or does, and has lost what the one before it had.
        for life in [EARLY, Life { ran: Duration::from_secs(3), gave_up: true }] {
            let mut patience = Patience::default();
            for _ in 0..3 {
                patience.pause(life);
                assert_eq!(patience.tempered(Duration::ZERO, Readiness::Ready), Readiness::Ready);
            }
            patience.pause(life);
            assert_eq!(patience.tempered(Duration::ZERO, Readiness::Ready), leaving(4));
            let degraded = Readiness::Degraded { reasons: vec!["app".to_owned()] };
            assert_eq!(patience.tempered(Duration::from_secs(9), degraded), leaving(4));
            let fault = Readiness::Fault { reason: "no link".to_owned() };
            assert_eq!(patience.tempered(Duration::ZERO, fault.clone()), fault);
            assert_eq!(patience.tempered(HEALTHY, Readiness::Ready), Readiness::Ready);
            // One that goes on in time takes no doubt away, and adds none.
            patience.pause(Life { ran: Duration::from_secs(2), gave_up: false });
            assert_eq!(patience.tempered(Duration::ZERO, Readiness::Ready), leaving(4));
            patience.pause(Life { ran: HEALTHY, gave_up: true });
            assert_eq!(patience.tempered(Duration::ZERO, Readiness::Ready), Readiness::Ready);
        }
    }
}
