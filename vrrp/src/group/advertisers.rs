//! Who advertises for a virtual router, each by its source: nodes of the file, and strangers.
//!
//! Sources can be forged, so there is room for a few strangers only, and whoever is heard again and again keeps his place: a flood of
//! sources that are new each time takes none from him. Hellos can be forged as well where there is no secret, so there is room for a few
//! sources that they alone name. No clock, no I/O.

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use crate::{
    Moment,
    status::{Advertiser, Said},
};

/// How many are kept that are no node of the file. Each is said to the daemon once a second.
const STRANGERS: usize = 8;

/// How many are kept as nodes because hellos name them: each of four other nodes has one source here, and another one where it changes.
const NAMED: usize = 8;

/// How many are remembered that made room. In a flood that is the eight of every three seconds, and one of them that sends as seldom as
/// VRRPv3 allows is back after 41 s.
const GONE: usize = 128;

/// Who was heard once counts as heard for so long at least, and at most.
const LEAST: Duration = Duration::from_secs(3);
const MOST: Duration = Duration::from_secs(60);

/// A stranger who was heard once in so long makes room for another one.
const ONCE: Duration = Duration::from_secs(3);

/// Whose a source is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Whose {
    /// It is an address of a node in the file.
    Node,
    /// Hellos say that a node of the file has it.
    Named,
    /// Nobody says so.
    Stranger,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Advertisers {
    known: Vec<Known>,
    /// Who was heard once and made room: his source, whether that was dropped, and when. The last one is at the end.
    gone: VecDeque<(IpAddr, bool, Moment)>,
}

#[derive(Debug)]
struct Known {
    /// If it is a node, it makes room for nobody.
    advertiser: Advertiser,
    whose: Whose,
    was_heard_again: bool,
}

impl Known {
    fn may_go(&self, now: Moment, once: Duration) -> bool {
        let is_over = self.advertiser.until <= now;
        let was_single = !self.was_heard_again && now.saturating_since(self.advertiser.said.at()) >= once;
        !self.advertiser.is_node && (is_over || was_single)
    }
}

impl Advertisers {
    /// Takes down what came `now`. `interval` is what its sender says, where that can be read. False: there is no room for it.
    pub(super) fn note(&mut self, now: Moment, said: Said, interval: Option<Duration>, whose: Whose) -> bool {
        let until = |gap: Duration| now + (3 * interval.unwrap_or_default().max(gap)).clamp(LEAST, MOST);
        let is_it = |known: &Known| {
            // What somebody sends in a node's name and is dropped does not take the place of what the node says.
            known.advertiser.said.source() == said.source()
                && known.advertiser.said.is_rejected() == said.is_rejected()
        };
        if let Some(index) = self.known.iter().position(is_it) {
            let is_node = self.has_room_as_node(whose, Some(index));
            let Some(known) = self.known.get_mut(index) else { return false };
            let gap = now.saturating_since(known.advertiser.said.at());
            if known.advertiser.until <= now {
                known.advertiser.since = now;
            }
            known.was_heard_again = gap <= MOST;
            known.whose = whose;
            known.advertiser.is_node = is_node;
            known.advertiser.until = until(if known.was_heard_again { gap } else { Duration::ZERO });
            known.advertiser.said = said;
            return true;
        }
        let is_node = self.has_room_as_node(whose, None);
        let before = self.take_gone(now, &said);
        // Who is back has been heard again, and is worth more than any who was heard once.
        let once = if before.is_some() { Duration::ZERO } else { ONCE };
        if !is_node && self.strangers() >= STRANGERS {
            let Some(oldest) = self.oldest(|known| known.may_go(now, once)) else {
                if before.is_some() {
                    self.remember(&said);
                }
                return false;
            };
            let Known { advertiser, was_heard_again, .. } = self.known.remove(oldest);
            if !was_heard_again {
                self.remember(&advertiser.said);
            }
        }
        let gap = before.map_or(Duration::ZERO, |at| now.saturating_since(at));
        let advertiser = Advertiser { said, since: before.unwrap_or(now), until: until(gap), is_node };
        self.known.push(Known { advertiser, whose, was_heard_again: before.is_some() });
        true
    }

    fn strangers(&self) -> usize {
        self.known.iter().filter(|known| !known.advertiser.is_node).count()
    }

    /// Of these the one that was heard least lately.
    fn oldest(&self, is_one: impl Fn(&Known) -> bool) -> Option<usize> {
        let all = self.known.iter().enumerate().filter(|(_, known)| is_one(known));
        all.min_by_key(|(_, known)| known.advertiser.said.at()).map(|(index, _)| index)
    }

    /// Whether one of these is kept as a node; `index` is where it is already.
    fn has_room_as_node(&self, whose: Whose, index: Option<usize>) -> bool {
        let named = self.known.iter().enumerate().filter(|(other, known)| {
            Some(*other) != index && known.advertiser.is_node && known.whose == Whose::Named
        });
        match whose {
            Whose::Node => true,
            Whose::Named => named.count() < NAMED,
            Whose::Stranger => false,
        }
    }

    /// When he was heard who made room and is back within a minute.
    fn take_gone(&mut self, now: Moment, said: &Said) -> Option<Moment> {
        let kind = (said.source(), said.is_rejected());
        let index = self.gone.iter().position(|(source, rejected, _)| (*source, *rejected) == kind)?;
        let (_, _, at) = self.gone.remove(index)?;
        (now.saturating_since(at) <= MOST).then_some(at)
    }

    /// There is no room for whoever said this.
    fn remember(&mut self, said: &Said) {
        if self.gone.len() == GONE {
            self.gone.pop_front();
        }
        self.gone.push_back((said.source(), said.is_rejected(), said.at()));
    }

    /// The file has other nodes now, or hellos name other sources.
    pub(super) fn nodes_changed(&mut self, whose: impl Fn(IpAddr) -> Whose) {
        for index in 0..self.known.len() {
            let Some(source) = self.known.get(index).map(|known| known.advertiser.said.source()) else {
                return;
            };
            let whose = whose(source);
            let is_node = self.has_room_as_node(whose, Some(index));
            if let Some(known) = self.known.get_mut(index) {
                known.whose = whose;
                known.advertiser.is_node = is_node;
            }
        }
        // Who is none any more is a stranger, of whom there are no more than before.
        while self.strangers() > STRANGERS
            && let Some(oldest) = self.oldest(|known| !known.advertiser.is_node)
        {
            self.known.remove(oldest);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Advertiser> {
        self.known.iter().map(|known| &known.advertiser)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::status::{PeerHeard, Rejected};

    const TRUTH: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(1_000_000 * millis)
    }

    fn forged(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    fn ours(source: IpAddr, now: u64) -> Said {
        Said::Ours(PeerHeard::new(source, 100, at(now)))
    }

    fn rejected(source: IpAddr, now: u64) -> Said {
        Said::Rejected(Rejected { source, why: "the password is not ours".to_owned(), at: at(now) })
    }

    /// One second between two of it.
    const SECOND: Option<Duration> = Some(Duration::from_secs(1));

    /// Who counts as heard.
    fn heard(advertisers: &Advertisers, now: u64) -> Vec<IpAddr> {
        advertisers.all().filter(|one| one.is_heard(at(now))).map(|one| one.said.source()).collect()
    }

    #[test]
    fn each_source_is_kept_with_its_last_word_since_its_first() {
        let mut advertisers = Advertisers::default();
        for tenth in 0..50 {
            advertisers.note(at(100 * tenth), ours(forged(1), 100 * tenth), SECOND, Whose::Node);
            if tenth % 10 == 5 {
                advertisers.note(at(100 * tenth), ours(TRUTH, 100 * tenth), SECOND, Whose::Stranger);
            }
        }
        let all: Vec<_> =
            advertisers.all().map(|one| (one.said.source(), one.since, one.said.at())).collect();
        assert_eq!(all, [(forged(1), at(0), at(4_900)), (TRUTH, at(500), at(4_500))]);
    }

    #[test]
    fn whoever_stops_is_heard_for_three_intervals_more_as_said_or_seen() {
        for (interval, every, until) in [
            (SECOND, 1_000, 3_000),
            (Some(Duration::from_millis(10)), 10, 3_000),
            (Some(Duration::from_secs(10)), 10_000, 30_000),
            (Some(Duration::from_millis(40_950)), 10_000, 60_000),
            // Of another version nobody knows what it says.
            (None, 10_000, 30_000),
            (None, 50_000, 60_000),
        ] {
            let mut advertisers = Advertisers::default();
            for packet in 0..3 {
                advertisers.note(
                    at(every * packet),
                    rejected(TRUTH, every * packet),
                    interval,
                    Whose::Stranger,
                );
            }
            let last = 2 * every;
            assert_eq!(heard(&advertisers, last + until - 1), [TRUTH], "{interval:?} {every}");
            assert!(heard(&advertisers, last + until).is_empty(), "{interval:?} {every}");
        }
    }

    #[test]
    fn one_that_comes_back_after_a_while_begins_anew() {
        let mut advertisers = Advertisers::default();
        advertisers.note(at(0), ours(TRUTH, 0), SECOND, Whose::Stranger);
        advertisers.note(at(1_000_000), ours(TRUTH, 1_000_000), SECOND, Whose::Stranger);
        let one = advertisers.all().next().unwrap();
        assert_eq!((one.since, one.until), (at(1_000_000), at(1_003_000)));
    }

    /// Ten thousand a second, each from another source: the one that speaks all the time stays, and memory does not grow.
    #[test]
    fn a_flood_of_forged_sources_takes_no_place_from_whoever_is_heard_again_and_again() {
        let mut advertisers = Advertisers::default();
        let (node, mut number, mut refused) = (forged(0), 0, 0);
        advertisers.note(at(0), ours(node, 0), SECOND, Whose::Node);
        advertisers.note(at(0), ours(TRUTH, 0), SECOND, Whose::Stranger);
        for millis in 1..30_000 {
            if millis % 1_000 == 0 {
                assert!(advertisers.note(at(millis), ours(TRUTH, millis), SECOND, Whose::Stranger));
            }
            // With the longest interval there is.
            let longest = Some(Duration::from_millis(40_950));
            for _ in 0..10 {
                number += 1;
                let is_kept =
                    advertisers.note(at(millis), ours(forged(number), millis), longest, Whose::Stranger);
                refused += u64::from(!is_kept);
            }
            assert!(advertisers.known.len() <= 1 + STRANGERS);
            if millis > 1_000 {
                assert!(heard(&advertisers, millis).contains(&TRUTH), "after {millis} ms");
            }
        }
        assert!(refused > 299_000, "{refused}");
        assert!(advertisers.all().any(|one| one.said.source() == node), "a node of the file stays");
        // One that begins to speak when the flood is over is there at once, as soon as the last of it is old.
        let late = IpAddr::from([192, 0, 2, 78]);
        assert!(advertisers.note(at(33_000), ours(late, 33_000), SECOND, Whose::Stranger));
    }

    /// A flood that began before it keeps a stranger out, and not after its end; nor does one whose sources are heard again.
    #[test]
    fn after_a_flood_there_is_room_again() {
        let mut advertisers = Advertisers::default();
        for number in 0..100 {
            for packet in 0..2 {
                advertisers.note(at(packet), ours(forged(number), packet), SECOND, Whose::Stranger);
            }
        }
        assert!(!advertisers.note(at(1_000), ours(TRUTH, 1_000), SECOND, Whose::Stranger));
        assert!(advertisers.note(at(3_001), ours(TRUTH, 3_001), SECOND, Whose::Stranger));
        assert_eq!(heard(&advertisers, 3_001), [TRUTH]);
    }

    /// A hello says where a node advertises from whose `interface` is in the file: it has its place however many others have one.
    #[test]
    fn a_node_that_hellos_name_is_kept_beside_as_many_strangers_as_there_are() {
        let mut advertisers = Advertisers::default();
        for number in 0..8 {
            for packet in 0..2 {
                assert!(advertisers.note(at(packet), ours(forged(number), packet), SECOND, Whose::Stranger));
            }
        }
        assert!(!advertisers.note(at(10), ours(TRUTH, 10), SECOND, Whose::Stranger), "no hello yet");
        assert!(advertisers.note(at(20), ours(TRUTH, 20), SECOND, Whose::Named));
        assert_eq!(heard(&advertisers, 20).len(), 9);
        // One of the eight turns out to be a node as well, and makes room for another stranger.
        let whose = |source| if source == forged(3) { Whose::Named } else { Whose::Stranger };
        advertisers.nodes_changed(whose);
        let nodes: Vec<_> =
            advertisers.all().filter(|one| one.is_node).map(|one| one.said.source()).collect();
        assert_eq!(nodes, [forged(3)]);
    }

    /// A hello without a secret can be forged, and its sender can advertise from all that it names.
    #[test]
    fn of_the_sources_that_hellos_name_a_few_are_kept_as_nodes() {
        let mut advertisers = Advertisers::default();
        for now in 0..2 {
            for number in 0..1_000 {
                advertisers.note(at(now), ours(forged(number), now), SECOND, Whose::Named);
            }
        }
        assert_eq!(advertisers.known.len(), NAMED + STRANGERS);
        assert_eq!(advertisers.all().filter(|one| one.is_node).count(), NAMED);
        assert!(advertisers.note(at(2), ours(TRUTH, 2), SECOND, Whose::Node), "the file goes before");
        advertisers.nodes_changed(|_| Whose::Named);
        assert_eq!(advertisers.all().filter(|one| one.is_node).count(), NAMED);
    }

    /// Whoever sends one forged hello after the other has others named each time, and advertises from all of them.
    #[test]
    fn however_often_hellos_name_others_no_more_are_kept() {
        let mut advertisers = Advertisers::default();
        for round in 0..1_000_u32 {
            let whose = |source| {
                if (0..8).any(|one| source == forged(8 * round + one)) {
                    Whose::Named
                } else {
                    Whose::Stranger
                }
            };
            advertisers.nodes_changed(whose);
            for packet in 0..2 {
                for one in 0..8 {
                    let (now, source) = (u64::from(10 * round + packet), forged(8 * round + one));
                    advertisers.note(
                        at(now),
                        ours(source, now),
                        Some(Duration::from_millis(40_950)),
                        Whose::Named,
                    );
                }
            }
            assert!(advertisers.known.len() <= NAMED + STRANGERS, "{}", advertisers.known.len());
        }
    }

    /// The eight places change hands every three seconds, and he sends every ten, or as seldom as VRRPv3 allows.
    #[test]
    fn who_sends_seldom_and_had_a_place_is_known_again_in_a_flood_as_soon_as_he_is_back() {
        for interval in [10_000, 40_950] {
            let mut advertisers = Advertisers::default();
            let every = Some(Duration::from_millis(interval));
            advertisers.note(at(0), ours(TRUTH, 0), every, Whose::Stranger);
            let (mut number, mut was_away) = (0, false);
            for millis in 1..=3 * interval {
                if millis % interval == 0 {
                    assert!(
                        advertisers.note(at(millis), ours(TRUTH, millis), every, Whose::Stranger),
                        "{millis}"
                    );
                }
                number += 1;
                advertisers.note(at(millis), ours(forged(number), millis), every, Whose::Stranger);
                let is_known = heard(&advertisers, millis).contains(&TRUTH);
                was_away |= !is_known;
                assert!(is_known || millis < interval, "after {millis} ms");
                assert!(advertisers.known.len() <= STRANGERS && advertisers.gone.len() <= GONE);
            }
            assert!(was_away, "who was heard once makes room");
        }
    }

    #[test]
    fn what_is_dropped_in_a_node_s_name_hides_nothing_of_the_node() {
        let mut advertisers = Advertisers::default();
        advertisers.note(at(0), ours(TRUTH, 0), SECOND, Whose::Node);
        advertisers.note(at(10), rejected(TRUTH, 10), None, Whose::Node);
        let kinds: Vec<_> = advertisers.all().map(|one| (one.said.is_rejected(), one.said.at())).collect();
        assert_eq!(kinds, [(false, at(0)), (true, at(10))]);
    }

    #[test]
    fn a_node_that_left_the_file_makes_room() {
        let mut advertisers = Advertisers::default();
        advertisers.note(at(0), ours(TRUTH, 0), SECOND, Whose::Node);
        advertisers.nodes_changed(|_| Whose::Stranger);
        for number in 0..8 {
            advertisers.note(at(60_000), ours(forged(number), 60_000), SECOND, Whose::Stranger);
        }
        assert!(!heard(&advertisers, 60_000).contains(&TRUTH));
        assert_eq!(advertisers.known.len(), STRANGERS);
        // Two of them at once, and there are as many strangers already.
        for node in [TRUTH, IpAddr::from([192, 0, 2, 78])] {
            advertisers.note(at(60_000), ours(node, 60_000), SECOND, Whose::Node);
        }
        advertisers.nodes_changed(|_| Whose::Stranger);
        advertisers.note(at(120_000), ours(forged(9), 120_000), SECOND, Whose::Stranger);
        assert_eq!(advertisers.known.len(), STRANGERS);
    }
}
