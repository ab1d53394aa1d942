//! Faults that the machine itself finds: an address that can't be installed, an address that is not ours.

use std::time::Duration;

use crate::{MemberId, Moment, VirtualAddress};

/// After an address could not be installed, the node tries again after this long, doubled each time. Short at first: the
/// other node may be gone, and the reason may be a busy kernel that did not acknowledge in time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(600);

/// A foreign address that comes back within this time is a fault; without one for this long the fault is over.
const FOREIGN_WINDOW: Duration = Duration::from_secs(60);

/// While somebody keeps putting an address back, it is removed this often.
const FOREIGN_SPACING: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Faults {
    installing: Option<Installing>,
    /// How long the next fault of an address that can't be installed lasts; `None` after a success.
    retry: Option<Duration>,
    foreign: Vec<Foreign>,
}

#[derive(Debug)]
struct Installing {
    reason: String,
    until: Moment,
}

#[derive(Debug)]
struct Foreign {
    member: MemberId,
    address: VirtualAddress,
    tag: String,
    seen: Moment,
    removed: Moment,
    /// A removal that the spacing put off.
    due: Option<Moment>,
    /// It came back.
    again: bool,
}

impl Faults {
    /// An address could not be installed.
    pub(super) fn installing_failed(&mut self, now: Moment, reason: String) {
        let lasts = self.retry.unwrap_or(FIRST_RETRY);
        self.retry = Some((2 * lasts).min(LAST_RETRY));
        self.installing = Some(Installing { reason, until: now + lasts });
    }

    /// All addresses are installed.
    pub(super) fn installed(&mut self) {
        self.retry = None;
    }

    /// The link changed: whatever kept an address from being installed may have gone with it.
    pub(super) fn link_changed(&mut self) {
        self.installing = None;
    }

    /// The configuration has other addresses: what was found about those that it had is over.
    pub(super) fn addresses_changed(&mut self, has: impl Fn(MemberId, VirtualAddress) -> bool) {
        self.installing = None;
        self.foreign.retain(|foreign| has(foreign.member, foreign.address));
    }

    /// An address that is not ours was seen. `true` if it is to be removed now.
    pub(super) fn foreign_seen(
        &mut self,
        now: Moment,
        member: MemberId,
        address: VirtualAddress,
        tag: &str,
    ) -> bool {
        self.foreign.retain(|foreign| now.saturating_since(foreign.seen) < FOREIGN_WINDOW);
        let known = self.foreign.iter_mut().find(|known| known.member == member && known.address == address);
        let Some(known) = known else {
            let tag = tag.to_owned();
            let foreign = Foreign { member, address, tag, seen: now, removed: now, due: None, again: false };
            self.foreign.push(foreign);
            return true;
        };
        known.seen = now;
        known.again = true;
        tag.clone_into(&mut known.tag);
        let earliest = known.removed + FOREIGN_SPACING;
        if earliest > now {
            known.due = Some(earliest);
            return false;
        }
        known.removed = now;
        known.due = None;
        true
    }

    /// Removals that the spacing had put off and that are due.
    pub(super) fn take_removals(&mut self, now: Moment) -> Vec<(MemberId, VirtualAddress)> {
        let mut due = Vec::new();
        for foreign in &mut self.foreign {
            if foreign.due.is_some_and(|at| at <= now) {
                foreign.due = None;
                foreign.removed = now;
                due.push((foreign.member, foreign.address));
            }
        }
        due
    }

    /// Drops what is over; `true` if anything was.
    pub(super) fn expire(&mut self, now: Moment) -> bool {
        let before = (self.installing.is_some(), self.foreign.len());
        if self.installing.as_ref().is_some_and(|installing| installing.until <= now) {
            self.installing = None;
        }
        self.foreign.retain(|foreign| foreign.seen + FOREIGN_WINDOW > now);
        before != (self.installing.is_some(), self.foreign.len())
    }

    /// The fault in words, if there is one.
    pub(super) fn reason(&self) -> Option<String> {
        if let Some(installing) = &self.installing {
            return Some(installing.reason.clone());
        }
        let foreign = self.foreign.iter().find(|foreign| foreign.again)?;
        Some(format!(
            "{} came back to the interface within a minute without being ours ({}): take it out of the system's network \
             configuration, lbctl installs it",
            foreign.address.address, foreign.tag
        ))
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Moment> {
        let installing = self.installing.iter().map(|installing| installing.until);
        let due = self.foreign.iter().filter_map(|foreign| foreign.due);
        let over = self.foreign.iter().map(|foreign| foreign.seen + FOREIGN_WINDOW);
        installing.chain(due).chain(over).min()
    }
}
