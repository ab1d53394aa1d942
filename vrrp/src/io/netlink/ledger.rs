//! Tells our own changes of addresses from others'. No sockets.
//!
//! The answer to a request and the event of the same change come on two sockets, in any order. Each successful removal
//! of ours makes exactly one event, so those are counted off; any other disappearance of an address that we hold is
//! somebody else's.
//!
//! A refresh puts an address back that went, and the event of its going may be lost: the kernel drops what its queue has no room for. So
//! an address that was made anew since we have asked for it was somebody else's to take away, too.

use std::collections::{BTreeMap, BTreeSet};

use super::{KernelAddress, Owner, Place, requests::Removal};

#[derive(Debug, Default)]
pub(in crate::io) struct Ledger {
    entries: BTreeMap<Place, Entry>,
    /// Foreign addresses that were told, until they are gone.
    foreign: BTreeSet<Place>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Asked for, and not given back.
    wanted: bool,
    /// The kernel acknowledged it.
    held: bool,
    /// A refresh is on its way.
    refreshing: bool,
    /// Removals without an answer yet.
    removals: u32,
    /// Those of them that were asked for before the address was asked for again: the kernel does one thing after the other,
    /// so their answers say nothing of what it has afterwards.
    overtaken: u32,
    /// Answered removals whose event has not come; below zero while events come before the answers.
    events: i32,
    /// [`KernelAddress::created`] of what the kernel made when it was asked for; `None` until that was seen.
    created: Option<u32>,
}

/// What an event means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::io) enum Meaning {
    Nothing,
    /// Somebody removed an address that we hold, be it that it is there again.
    Stolen,
    /// An address that we do not want is there, and not ours.
    Foreign,
    /// An address that we do not want is there, and ours: left by a late request.
    Leftover,
}

impl Entry {
    /// Was it there before, and away in between? Told once.
    fn is_made_anew(&mut self, address: &KernelAddress) -> bool {
        if self.removals > 0 || self.events != 0 {
            // It may be what we have removed ourselves before it was asked for again.
            return false;
        }
        let known = std::mem::replace(&mut self.created, address.created);
        self.held && known.is_some() && address.created.is_some() && known != address.created
    }
}

impl Ledger {
    pub(in crate::io) fn asked(&mut self, place: Place) {
        let entry = self.entries.entry(place).or_default();
        entry.wanted = true;
        entry.held = false;
        entry.created = None;
        entry.overtaken = entry.removals;
    }

    /// The kernel has it. `false` if it is not wanted any more.
    pub(in crate::io) fn added(&mut self, place: Place) -> bool {
        let Some(entry) = self.entries.get_mut(&place).filter(|entry| entry.wanted) else { return false };
        entry.held = true;
        true
    }

    /// A removal is being asked for.
    pub(in crate::io) fn removing(&mut self, place: Place) {
        let entry = self.entries.entry(place).or_default();
        entry.wanted = false;
        entry.held = false;
        entry.removals += 1;
    }

    /// A removal has ended. `false` if the address was asked for since: it is not the end of that.
    pub(in crate::io) fn removed(&mut self, place: Place, removal: &Removal) -> bool {
        let Some(entry) = self.entries.get_mut(&place) else { return true };
        entry.removals = entry.removals.saturating_sub(1);
        if *removal == Removal::Done {
            entry.events += 1;
        }
        if entry.removals == 0 {
            // An event that came in the meantime and was not ours: the end of a lease.
            entry.events = entry.events.max(0);
        }
        let is_overtaken = entry.overtaken > 0;
        entry.overtaken = entry.overtaken.saturating_sub(1);
        !is_overtaken
    }

    /// The addresses to refresh; each is out once at a time.
    pub(in crate::io) fn take_refreshes(&mut self) -> Vec<Place> {
        let due = |(place, entry): (&Place, &mut Entry)| {
            (entry.held && !entry.refreshing).then(|| {
                entry.refreshing = true;
                *place
            })
        };
        self.entries.iter_mut().filter_map(due).collect()
    }

    pub(in crate::io) fn refreshed(&mut self, place: Place) {
        if let Some(entry) = self.entries.get_mut(&place) {
            entry.refreshing = false;
        }
    }

    /// An address is there, by an event or a dump.
    pub(in crate::io) fn seen(&mut self, address: &KernelAddress) -> Meaning {
        let mut nothing = Entry::default();
        let entry = self.entries.get_mut(&address.place).unwrap_or(&mut nothing);
        if entry.wanted {
            return if entry.is_made_anew(address) { Meaning::Stolen } else { Meaning::Nothing };
        }
        if entry.removals > 0 || entry.events != 0 {
            // Our own, on its way out. Kernels before 5.18 keep no tags, so its owner does not count here.
            return Meaning::Nothing;
        }
        match address.owner {
            Owner::Ours | Owner::Leased => Meaning::Leftover,
            Owner::Static | Owner::Kernel | Owner::Protocol(_) => {
                if self.foreign.insert(address.place) {
                    Meaning::Foreign
                } else {
                    Meaning::Nothing
                }
            }
        }
    }

    /// An address went.
    pub(in crate::io) fn gone(&mut self, place: Place) -> Meaning {
        self.foreign.remove(&place);
        let Some(entry) = self.entries.get_mut(&place) else { return Meaning::Nothing };
        if entry.events > 0 || entry.removals > 0 {
            entry.events -= 1;
            return Meaning::Nothing;
        }
        if std::mem::take(&mut entry.held) { Meaning::Stolen } else { Meaning::Nothing }
    }

    /// Compares with a dump after events were lost: what we hold and the kernel has not, or not any more as it was.
    pub(in crate::io) fn missing(&mut self, there: &[KernelAddress]) -> Vec<Place> {
        self.foreign.retain(|place| there.iter().any(|known| known.place == *place));
        for entry in self.entries.values_mut() {
            entry.events = 0;
        }
        let mut missing = Vec::new();
        for (place, entry) in &mut self.entries {
            let known = there.iter().find(|known| known.place == *place);
            if entry.held && known.is_none_or(|known| entry.is_made_anew(known)) {
                missing.push(*place);
            }
        }
        missing
    }

    /// The interface is gone, and all that was on it.
    pub(in crate::io) fn forget(&mut self, index: u32) {
        self.entries.retain(|place, _| place.index != index);
        self.foreign.retain(|place| place.index != index);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{
        super::{KernelAddress, Owner, Place, requests::Removal},
        Ledger, Meaning,
    };
    use crate::VirtualAddress;

    const PLACE: Place = Place {
        index: 2,
        address: VirtualAddress { address: std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100)), prefix: 32 },
    };

    fn there(owner: Owner) -> KernelAddress {
        KernelAddress { place: PLACE, owner, unfit: false, created: None }
    }

    fn holding() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.asked(PLACE);
        assert!(ledger.added(PLACE));
        ledger
    }

    #[test]
    fn an_address_that_goes_while_held_is_stolen_once() {
        let mut ledger = holding();
        assert_eq!(ledger.gone(PLACE), Meaning::Stolen);
        assert_eq!(ledger.gone(PLACE), Meaning::Nothing);
    }

    #[test]
    fn our_own_removal_is_no_theft_even_if_its_event_comes_after_the_next_claim() {
        let mut ledger = holding();
        ledger.removing(PLACE);
        ledger.removed(PLACE, &Removal::Done);
        ledger.asked(PLACE);
        assert!(ledger.added(PLACE));
        assert_eq!(ledger.seen(&made(500)), Meaning::Nothing, "a refresh of before");
        assert_eq!(ledger.gone(PLACE), Meaning::Nothing);
        assert_eq!(ledger.seen(&made(731)), Meaning::Nothing, "made after that");
        assert_eq!(ledger.gone(PLACE), Meaning::Stolen);
    }

    #[test]
    fn our_own_removal_is_no_theft_if_its_event_comes_before_the_answer() {
        let mut ledger = holding();
        ledger.removing(PLACE);
        assert_eq!(ledger.gone(PLACE), Meaning::Nothing);
        ledger.removed(PLACE, &Removal::Done);
        ledger.asked(PLACE);
        assert!(ledger.added(PLACE));
        assert_eq!(ledger.gone(PLACE), Meaning::Stolen);
    }

    #[test]
    fn the_answer_to_a_removal_is_not_the_end_of_a_later_claim() {
        let mut ledger = holding();
        // A slow kernel was asked twice.
        ledger.removing(PLACE);
        ledger.removing(PLACE);
        assert!(ledger.removed(PLACE, &Removal::Done));
        ledger.asked(PLACE);
        ledger.removing(PLACE);
        assert!(
            !ledger.removed(PLACE, &Removal::Absent),
            "of before the claim, whose address is not there yet"
        );
        assert!(ledger.removed(PLACE, &Removal::Done));
    }

    #[test]
    fn a_removal_of_what_was_not_there_makes_no_event() {
        let mut ledger = holding();
        ledger.removing(PLACE);
        ledger.removed(PLACE, &Removal::Absent);
        ledger.asked(PLACE);
        assert!(ledger.added(PLACE));
        assert_eq!(ledger.gone(PLACE), Meaning::Stolen);
    }

    #[test]
    fn an_acknowledgement_that_comes_after_the_removal_was_asked_for_counts_for_nothing() {
        let mut ledger = Ledger::default();
        ledger.asked(PLACE);
        ledger.removing(PLACE);
        assert!(!ledger.added(PLACE));
        assert_eq!(ledger.take_refreshes(), []);
    }

    #[test]
    fn a_foreign_address_is_told_once_per_appearance() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.seen(&there(Owner::Static)), Meaning::Foreign);
        assert_eq!(ledger.seen(&there(Owner::Static)), Meaning::Nothing);
        assert_eq!(ledger.gone(PLACE), Meaning::Nothing);
        assert_eq!(ledger.seen(&there(Owner::Protocol(18))), Meaning::Foreign);
    }

    #[test]
    fn an_address_with_our_tag_that_nobody_wants_is_a_leftover_unless_it_is_going() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.seen(&there(Owner::Ours)), Meaning::Leftover);
        assert_eq!(ledger.seen(&there(Owner::Leased)), Meaning::Leftover, "a kernel that keeps no tags");
        let mut ledger = holding();
        assert_eq!(ledger.seen(&there(Owner::Ours)), Meaning::Nothing);
        ledger.removing(PLACE);
        assert_eq!(ledger.seen(&there(Owner::Ours)), Meaning::Nothing);
        ledger.removed(PLACE, &Removal::Done);
        assert_eq!(ledger.seen(&there(Owner::Ours)), Meaning::Nothing);
        assert_eq!(ledger.gone(PLACE), Meaning::Nothing);
        assert_eq!(ledger.seen(&there(Owner::Ours)), Meaning::Leftover);
    }

    #[test]
    fn a_refresh_is_on_its_way_once_and_never_for_an_address_given_up() {
        let mut ledger = holding();
        assert_eq!(ledger.take_refreshes(), [PLACE]);
        assert_eq!(ledger.take_refreshes(), []);
        ledger.refreshed(PLACE);
        assert_eq!(ledger.take_refreshes(), [PLACE]);
        ledger.refreshed(PLACE);
        ledger.removing(PLACE);
        assert_eq!(ledger.take_refreshes(), []);
    }

    #[test]
    fn after_lost_events_what_is_held_and_not_there_is_missing() {
        let mut ledger = holding();
        assert_eq!(ledger.missing(&[there(Owner::Ours)]), []);
        assert_eq!(ledger.missing(&[]), [PLACE]);
    }

    fn made(created: u32) -> KernelAddress {
        KernelAddress { created: Some(created), ..there(Owner::Ours) }
    }

    #[test]
    fn an_address_that_a_refresh_has_put_back_was_stolen_even_if_its_going_was_lost() {
        // By an event, and by the dump that follows lost ones: whichever is first tells it, and none after that.
        let ways: [fn(&mut Ledger, u32) -> bool; 2] = [
            |ledger, created| ledger.seen(&made(created)) == Meaning::Stolen,
            |ledger, created| ledger.missing(&[made(created)]) == [PLACE],
        ];
        for (first, second) in [(0, 1), (1, 0)] {
            let mut ledger = holding();
            assert!(!ways[first](&mut ledger, 500) && !ways[second](&mut ledger, 500), "refreshed");
            assert!(ways[first](&mut ledger, 731));
            assert!(!ways[second](&mut ledger, 731), "told");
            // It is asked for again, as for what went: the kernel keeps what is there.
            ledger.asked(PLACE);
            assert!(ledger.added(PLACE));
            assert!(!ways[first](&mut ledger, 731));
        }
    }
}
