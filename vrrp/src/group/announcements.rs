//! When an Active announces its addresses.

use std::time::Duration;

use crate::Moment;

/// Rounds after the claim; the first, at 0 ms, is the announcement of each address as the kernel acknowledges it.
const CLAIM_ROUNDS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1)];

/// Rule 7: at most one round a second beyond those of the claim.
const SPACING: Duration = Duration::from_secs(1);

/// The rounds that are still to come. Owned by the Active state: a Backup announces nothing.
#[derive(Debug)]
pub(super) struct Announcements {
    /// When the last address was acknowledged; the rounds of the claim count from here. `None` before.
    claimed: Option<Moment>,
    /// Rounds of the claim that are done.
    rounds: usize,
    last: Moment,
    /// A round that somebody asked for (rule 7) and that the spacing put off.
    wanted: Option<Moment>,
    /// `None`: never on its own.
    refresh: Option<Duration>,
}

impl Announcements {
    /// None yet: no address is acknowledged. `refresh` of 0 s turns the refresh off.
    pub(super) fn new(now: Moment, refresh: Duration) -> Self {
        let mut announcements = Self { claimed: None, rounds: 0, last: now, wanted: None, refresh: None };
        announcements.set_refresh(refresh);
        announcements
    }

    /// From now on.
    pub(super) fn set_refresh(&mut self, refresh: Duration) {
        self.refresh = (!refresh.is_zero()).then_some(refresh);
    }

    /// All addresses are acknowledged and announced once.
    pub(super) fn claimed(&mut self, now: Moment) {
        if self.claimed.is_none() {
            self.claimed = Some(now);
            self.last = now;
        }
    }

    /// Rule 7: somebody may point to another node; a round now, or as soon as the spacing allows.
    pub(super) fn request(&mut self, now: Moment) {
        let earliest = self.last + SPACING;
        let at = if earliest > now { earliest } else { now };
        self.wanted = Some(self.wanted.map_or(at, |wanted| wanted.min(at)));
    }

    /// An operator wants one: now, and no spacing puts it off.
    pub(super) fn order(&mut self, now: Moment) {
        self.wanted = Some(now);
    }

    /// An address has come: one more round after the announcement that it gets when the kernel has acknowledged it.
    pub(super) fn follow_up(&mut self, now: Moment) {
        let at = now + SPACING;
        self.wanted = Some(self.wanted.map_or(at, |wanted| wanted.min(at)));
    }

    /// The next round; `None` before the claim is complete.
    pub(super) fn next(&self) -> Option<Moment> {
        let claimed = self.claimed?;
        let round = CLAIM_ROUNDS.get(self.rounds).map(|after| claimed + *after);
        let refresh = self.refresh.map(|refresh| self.last + refresh);
        [round, self.wanted, refresh].into_iter().flatten().min()
    }

    /// Whether a round is due; if so it counts as done. One round serves every reason that is due.
    pub(super) fn take_due(&mut self, now: Moment) -> bool {
        if self.next().is_none_or(|at| at > now) {
            return false;
        }
        if let Some(claimed) = self.claimed {
            while CLAIM_ROUNDS.get(self.rounds).is_some_and(|after| claimed + *after <= now) {
                self.rounds += 1;
            }
        }
        self.wanted = None;
        self.last = now;
        true
    }
}
